"""`dlq ls|show|retry|drop`: steps that killed every process that tried them, and messages that nobody could run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import common_options, emit, emit_data, output_option, session, table, talk
from orchestrator.cli.targets import check_id
from orchestrator.errors import NotFound

if TYPE_CHECKING:
    import redis

    from orchestrator.run.dead_letters import DeadMessage, DeadStep


@click.group()
@common_options
def dlq() -> None:
    """The dead-letter list: steps whose attempts all ended with their process, and messages that no worker could run.

    An entry is a step (RUN STEP) or a message (its id). It is there as long as its run, or until it is dropped.
    """


@dlq.command("ls")
@output_option
@common_options
def ls(form: str) -> None:
    """List what is parked, newest first. With --quiet what to name it by only."""
    from orchestrator.cli.standing import moment
    from orchestrator.run import dead_letters

    with _client() as client:
        steps, messages = dead_letters.steps(client), dead_letters.messages(client)
    if session.quiet and form == "table":
        for name in [*(f"{one.run_id} {one.step}" for one in steps), *(one.id for one in messages)]:
            emit(name)
        return
    rows = [(f"{one.run_id} {one.step}", f"agent {one.agent}", one.reason, one.attempts, moment(one.at),
             _short(one.error)) for one in steps]  # fmt: skip
    rows += [(one.id, one.task or "message", one.reason, 1, moment(one.at), _short(one.error)) for one in messages]
    document = {
        "steps": [one.model_dump(mode="json") for one in steps],
        "messages": [one.model_dump(mode="json") for one in messages],
    }
    emit_data(document, form, lambda: table(("entry", "what", "reason", "attempts", "at", "last error"), rows))


@dlq.command("show")
@click.argument("entry")
@click.argument("step", required=False)
@output_option
@common_options
def show(entry: str, step: str | None, form: str) -> None:
    """Show the step STEP of run ENTRY, or the message ENTRY, with what to type next."""
    from orchestrator.run import dead_letters

    with _client() as client:
        if step is None:
            message = {one.id: one for one in dead_letters.messages(client)}.get(entry)
            if message is None:
                raise NotFound(f"no message '{entry[:80]}' is in the dead-letter list; a step is named by RUN STEP")
            emit_data(message.model_dump(mode="json"), form, lambda: "\n".join(_message(message)))
            return
        found = _find(dead_letters.steps(client), entry, step)
    emit_data(found.model_dump(mode="json"), form, lambda: "\n".join(_step(found)))


@dlq.command("retry")
@click.argument("run")
@click.argument("step")
@output_option
@common_options
def retry(run: str, step: str, form: str) -> None:
    """Retry the parked STEP of RUN, and what comes after it."""
    from orchestrator.cli.connect import store_only
    from orchestrator.environment import Environment
    from orchestrator.run import dead_letters

    check_id(run, "run")
    with store_only(Environment.load()) as client:
        _find(dead_letters.steps(client.redis), run, step)
        state = str(client.get(run).retry(step))
    emit_data({"run_id": run, "step": step, "state": state}, form, lambda: state)
    talk(f"orchestrator watch {run}")


@dlq.command("drop")
@click.argument("entry")
@click.argument("step", required=False)
@common_options
def drop(entry: str, step: str | None) -> None:
    """Take the step STEP of run ENTRY, or the message ENTRY, off the list. The step stays failed."""
    from orchestrator.run import dead_letters

    with _client() as client:
        if step is None:
            dead_letters.drop_message(client, entry)
        else:
            dead_letters.drop(client, check_id(entry, "run"), check_id(step, "step"))


@contextmanager
def _client() -> Iterator[redis.Redis]:
    from orchestrator.cli.connect import store_url
    from orchestrator.connection import connect
    from orchestrator.environment import Environment

    with store_url(Environment.load()) as url:
        yield connect(url)


def _find(found: Sequence[DeadStep], run: str, step: str) -> DeadStep:
    for one in found:
        if (one.run_id, one.step) == (run, step):
            return one
    raise NotFound(f"step '{step[:80]}' of run {run[:80]} is not in the dead-letter list")


def _step(found: DeadStep) -> Iterator[str]:
    from orchestrator.cli.standing import moment

    yield f"step {found.step} (agent {found.agent}) of run {found.run_id} ({found.workflow}): {found.reason}"
    yield f"given up at {moment(found.at)} after {found.attempts} attempts, the last one on {found.worker or 'nobody'}"
    yield f"last error: {found.error}"
    yield f"its log:         orchestrator logs {found.run_id} {found.step}"
    yield f"try it again:    orchestrator dlq retry {found.run_id} {found.step}"
    yield f"leave it failed: orchestrator dlq drop {found.run_id} {found.step}"


def _message(found: DeadMessage) -> Iterator[str]:
    from orchestrator.cli.standing import moment

    yield f"message {found.id}: {found.reason}, taken from {found.queue or 'a queue'} at {moment(found.at)}"
    yield f"task: {found.task or 'none'}; worker: {found.worker or 'unknown'}"
    yield f"error: {found.error}"
    for name, value in found.headers.items():
        yield f"  {name}: {value}"
    yield "body:"
    yield found.body
    yield f"forget it: orchestrator dlq drop {found.id}"


def _short(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= 100 else shown[:99] + "…"
