"""`ls`, `show`, `logs` and `watch`: runs that exist."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import common_options, emit, emit_data, output_option, session, table
from orchestrator.cli.targets import check_id, timeout_option

if TYPE_CHECKING:
    from orchestrator.run.models import LogLine, RunStatus, RunSummary
    from orchestrator.run.reader import RunReader

_LOG_EVERY = 0.5
_STATES = [
    "pending",
    "running",
    "paused",
    "awaiting_input",
    "cancelling",
    "success",
    "partial",
    "failed",
    "cancelled",
    "timed_out",
]


@click.command()
@click.option("--state", type=click.Choice(_STATES), help="Only runs in that state.")
@click.option("--workflow", metavar="NAME", help="Only runs of that workflow.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@output_option
@common_options
def ls(state: str | None, workflow: str | None, limit: int, form: str) -> None:
    """List runs, newest first. With --quiet their ids only."""
    from orchestrator.cli.connect import reading
    from orchestrator.environment import Environment

    with reading(Environment.load()) as reader:
        found = reader.list(state=state, workflow=workflow, limit=limit)
    if session.quiet and form == "table":
        for run in found:
            emit(run.run_id)
        return
    emit_data([run.model_dump(mode="json") for run in found], form, lambda: _listed(found))


def _listed(found: list[RunSummary]) -> str:
    from orchestrator.cli.follow import COLOURS
    from orchestrator.cli.standing import length, moment

    rows = [
        (run.run_id, run.workflow, run.state, moment(run.created_at), length(run.created_at, run.finished_at))
        for run in found
    ]
    return table(("run", "workflow", "state", "created", "took"), rows, COLOURS)


@click.command()
@click.argument("run")
@click.option("--all", "every", is_flag=True, help="All steps of a large run.")
@output_option
@common_options
def show(run: str, every: bool, form: str) -> None:
    """Show one RUN: where it stands or stopped, why, what can be retried, and the command to type next."""
    from orchestrator.cli import report
    from orchestrator.cli.connect import reading
    from orchestrator.environment import Environment

    check_id(run, "run")
    with reading(Environment.load()) as reader:
        status = reader.status(run)
        page = "" if form != "table" else _screen(reader, status, every=every)
    emit_data(report.run_document(status), form, lambda: page)


def _screen(reader: RunReader, status: RunStatus, *, every: bool = False) -> str:
    from orchestrator.cli import pools, report, standing
    from orchestrator.run.models import StepState

    behind = {step.id: reader.behind(status.run_id, step.id) for step in report.stopped_at(status)[: standing.STOPS]}
    waiting = any(step.state is StepState.READY for step in status.steps.values())
    waits = list(pools.waits(pools.pools_of(reader.client), status.run_id)) if waiting else []
    return standing.screen(status, behind, workers=status.ended or bool(reader.workers()), every=every, waits=waits)


@click.command()
@click.argument("run")
@click.argument("step", required=False)
@click.option("--attempt", type=click.IntRange(1), help="Only that attempt, counted from 1.")
@click.option("--follow", "follows", is_flag=True, help="Go on until the run ends.")
@timeout_option("Stop following after that.")
@output_option
@common_options
def logs(run: str, step: str | None, attempt: int | None, follows: bool, timeout: float, form: str) -> None:
    """Print what the steps of RUN (or one STEP) logged, in the order of time."""
    from orchestrator.cli.connect import reading
    from orchestrator.cli.narrate import unknown_step
    from orchestrator.environment import Environment
    from orchestrator.run.models import FINAL_RUN_STATES

    check_id(run, "run")
    if follows and form != "table":
        raise click.UsageError("--follow prints lines; it does not go with -o")
    with reading(Environment.load()) as reader:
        steps = list(reader.status(run).steps)
        if step is not None and step not in steps:
            raise unknown_step(step, steps, f"run {run}")

        seen = dict.fromkeys([step] if step is not None else steps, 0)

        def look() -> list[tuple[str, LogLine]]:
            found = []
            for name, after in seen.items():
                tail = reader.log_tail(run, name, after)
                seen[name] = tail.cursor
                found += [(name, line) for line in tail.lines if attempt in (None, line.attempt)]
            return sorted(found, key=lambda item: item[1].at)

        lines = look()
        emit_data([{"step": name, **line.model_dump(mode="json")} for name, line in lines], form, lambda: _page(lines))
        if follows:
            _go_on(look, lambda: reader.state(run) in FINAL_RUN_STATES, timeout)


def _go_on(look: Callable[[], list[tuple[str, LogLine]]], ended: Callable[[], bool], timeout: float) -> None:
    """Print what `look` finds each time until the run has ended. Raises WaitTimeout."""
    from orchestrator.cli.patience import until
    from orchestrator.errors import WaitTimeout

    deadline, over = time.monotonic() + timeout, False
    while not over:
        over = until(ended, _LOG_EVERY)
        lines = look()
        if lines:
            emit(_page(lines))
        if not over and time.monotonic() > deadline:
            raise WaitTimeout("the run has not ended in time")


def _page(lines: list[tuple[str, LogLine]]) -> str:
    return "\n".join(
        f"{datetime.fromtimestamp(line.at, UTC).astimezone():%H:%M:%S.%f}"[:12]
        + f"  {step}#{line.attempt}  {line.level.lower()}  {line.text}"
        for step, line in lines
    )


@click.command()
@click.argument("run")
@timeout_option("Stop watching after that; the run goes on.")
@output_option
@common_options
def watch(run: str, timeout: float, form: str) -> int:
    """Follow RUN until it ends: its graph and its timeline on a terminal, a line per ended step elsewhere. The exit
    status is the run's."""
    from orchestrator.cli import connect, report
    from orchestrator.cli.chart import Chart
    from orchestrator.cli.follow import follow
    from orchestrator.environment import Environment
    from orchestrator.run.models import GOOD_RUN_STATES
    from orchestrator.views.reader import RunViews

    check_id(run, "run")
    with connect.store_only(Environment.load()) as client:
        handle = client.get(run)
        if not handle.status().ended:
            connect.need_worker(client)
        views = RunViews(client)
        status = follow(handle, timeout=timeout, draw=lambda: Chart(lambda: views.view(run, values=False)))
        page = "" if form != "table" else _screen(client.reader, status)
    emit_data(report.run_document(status), form, lambda: page)
    return 0 if status.state in GOOD_RUN_STATES else 1
