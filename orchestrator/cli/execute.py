"""`run` and `submit`: the ways to start a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import common_options, complain, emit, emit_data, output_option, session, talk
from orchestrator.cli.targets import check_id, find_definition, parse_inputs, plan_of, timeout_option, unknown_workflow
from orchestrator.errors import NotFound, OrchestratorError, StoreUnavailable, WaitTimeout

if TYPE_CHECKING:
    from orchestrator.cli.connect import Connection
    from orchestrator.client import Client, RunHandle
    from orchestrator.run.models import RunStatus
    from orchestrator.workflow.plan import Plan

DEFAULT_CONCURRENCY, MOST_CONCURRENCY = 4, 16
_REASONS: Mapping[type[BaseException], str] = {
    WaitTimeout: "the time limit of the command",
    StoreUnavailable: "nobody works on it",
}
_CANCEL_PATIENCE = 1.0
"""Seconds beyond the engine's grace period in which a cancelled run has to end."""

input_option = click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="KEY=VALUE",
    help="An input: KEY=TEXT, KEY=@FILE (its text; the value of a .json file), KEY=@- (standard input), KEY:=JSON or "
    "KEY:=@FILE. Repeatable.",
)


sequential_option = click.option("--sequential", is_flag=True, help="One step after another, groups too.")


@click.command()
@click.argument("workflow")
@input_option
@click.option("--output", metavar="DIR", help="Write artifacts, each step's output and run.json below DIR.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Local worker processes.")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), help="Steps at a time per local worker. [default: 4 to 16, by plan]"
)
@sequential_option
@timeout_option("Cancel the run after that.")
@output_option
@common_options
def run(
    workflow: str,
    inputs: tuple[str, ...],
    output: str | None,
    workers: int,
    concurrency: int | None,
    sequential: bool,
    timeout: float,
    form: str,
) -> int:
    """Run WORKFLOW (a file or a name) and wait for its end.

    Uses ORCHESTRATOR_BROKER_URL and ORCHESTRATOR_STORE_URL with their running workers if they are set, else a local
    stack for as long as the run takes. Ctrl-C cancels the run. Exit status 1 if the run fails.
    """
    from orchestrator.cli import connect, files
    from orchestrator.environment import Environment

    path, values, environment = find_definition(workflow), parse_inputs(inputs), Environment.load()
    if path is None and environment.is_embedded:
        raise unknown_workflow(workflow)
    folder = files.prepare_folder(output) if output is not None else None
    plan = plan_of(path) if path is not None else None
    children = concurrency or _children(plan)
    with connect.with_workers(environment, workers=workers, concurrency=children, on_event=_tell) as connection:
        handle, plan, status = _execute(connection, plan, workflow, values, timeout, sequential)
        _report(handle, status, plan, form)
        if folder is not None:
            _write(handle, status, folder)
    return _exit_status(status)


def _children(plan: Plan | None) -> int:
    widest = max((len(group.steps) for group in plan.groups), default=1) if plan is not None else 1
    return min(MOST_CONCURRENCY, max(DEFAULT_CONCURRENCY, widest))


def _execute(
    connection: Connection, plan: Plan | None, name: str, values: Mapping[str, Any], timeout: float, sequential: bool
) -> tuple[RunHandle, Plan, RunStatus]:
    """Submit and wait for the end; whoever does not wait for it any longer cancels the run."""
    from orchestrator.cli import connect
    from orchestrator.cli.follow import follow
    from orchestrator.cli.interrupts import held_back, noticed
    from orchestrator.cli.stalled import Stalled

    client, stack = connection.client, connection.stack
    known = plan if plan is not None else registered_plan(client, name)
    if stack is not None:
        connect.serve_queues(client, known)
    handle: RunHandle | None = None
    try:
        with noticed() as look_again:
            with held_back():
                handle = client.submit(known.workflow, values, sequential=sequential or None)
            talk(f"run {handle.id}")

            def check() -> None:
                look_again()
                if stack is not None:
                    stack.check()

            status = follow(handle, timeout=timeout, check=check, look=Stalled(client, known))
    except (KeyboardInterrupt, WaitTimeout, StoreUnavailable) as reason:
        if handle is not None:
            why = _REASONS.get(type(reason), "interrupted")
            talk(f"cancelling run {handle.id}: {why}; Ctrl-C leaves at once")
            _cancel(handle, why, client.settings.engine.cancel_grace + _CANCEL_PATIENCE)
        raise
    return handle, known, status


def registered_plan(client: Client, name: str) -> Plan:
    """The plan of a workflow that the workers have registered. Raises NotFound with the names that are known."""
    from orchestrator import keys
    from orchestrator.connection import guarded

    try:
        check_id(name, "workflow")
        return client.plan(name)
    except NotFound:
        with guarded():
            known: Any = client.redis.hkeys(keys.WORKFLOWS)
        raise unknown_workflow(name, (key.decode() for key in known)) from None


def _cancel(handle: RunHandle, why: str, patience: float) -> None:
    try:
        handle.cancel(why)
        handle.wait(patience)
    except OrchestratorError as error:
        complain(f"run {handle.id} is not cancelled yet: {error}")


def _report(handle: RunHandle, status: RunStatus, plan: Plan, form: str) -> None:
    from orchestrator.cli import report

    needs = {name: plan.steps[name].needs for name in plan.order}
    emit_data(report.run_document(status), form, lambda: report.summary(status, needs))
    for step in report.stopped_at(status):
        complain(f"step {step.id}: {step.error or step.state} (orchestrator logs {handle.id} {step.id})")


def _write(handle: RunHandle, status: RunStatus, folder: Path) -> None:
    from orchestrator.cli import files, report

    artifacts = handle.artifacts()
    files.write_results(folder, report.run_document(status), handle.result(), artifacts)
    talk(f"{len(artifacts)} artifacts and {len(handle.result())} outputs are in {folder}")


def _exit_status(status: RunStatus) -> int:
    from orchestrator.run.models import GOOD_RUN_STATES

    return 0 if status.state in GOOD_RUN_STATES else 1


def _tell(event: Mapping[str, Any]) -> None:
    if event["event"] == "exited" and event["ready"]:
        talk(f"{event['member']} has ended (status {event['status']}) and is started again")
    elif event["event"] == "started" and session.debug:
        talk(f"{event['member']} is process {event['pid']}")


@click.command()
@click.argument("workflow")
@input_option
@click.option(
    "--idempotency-key", metavar="KEY", help="The same key gives the same run, however often it is submitted."
)
@sequential_option
@click.option("--wait", is_flag=True, help="Wait for the end; the exit status is then the run's.")
@timeout_option("Stop waiting after that; the run goes on.")
@output_option
@common_options
def submit(
    workflow: str,
    inputs: tuple[str, ...],
    idempotency_key: str | None,
    sequential: bool,
    wait: bool,
    timeout: float,
    form: str,
) -> int:
    """Hand WORKFLOW (a file or a registered name) to running workers and print the run's id.

    Needs ORCHESTRATOR_BROKER_URL and ORCHESTRATOR_STORE_URL, or `orchestrator up` in the same folder.
    """
    from orchestrator.cli.connect import running_urls
    from orchestrator.client import Client
    from orchestrator.environment import Environment

    path, values, environment = find_definition(workflow), parse_inputs(inputs), Environment.load()
    plan = plan_of(path) if path is not None else None
    broker, store = running_urls(environment)
    with Client(store, broker_url=broker, environment=environment) as client:
        known = plan if plan is not None else registered_plan(client, workflow)
        handle = client.submit(known.workflow, values, idempotency_key=idempotency_key, sequential=sequential or None)
        if not wait:
            emit_data({"run_id": handle.id}, form, lambda: handle.id)
            return 0
        return _wait(handle, timeout, form)


def _wait(handle: RunHandle, timeout: float, form: str) -> int:
    from orchestrator.cli import report
    from orchestrator.cli.follow import follow

    if form == "table":
        emit(handle.id)
    status = follow(handle, timeout=timeout)
    emit_data(report.run_document(status), form, lambda: f"{report.step_table(status)}\n{status.state}")
    return _exit_status(status)
