"""Smart barriers on real workers, with processes and with threads: more time, defaults, a second turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Client, RunHandle, keys
from orchestrator.cli import main
from orchestrator.connection import connect
from orchestrator.metrics.alerts import alerts
from orchestrator.run.models import RunState, RunStatus
from tests.conftest import Store
from tests.workers import Worker, eventually, time_is_over

SECONDS = 40
ONCE = {"maximum_attempts": 1}


@pytest.fixture(scope="module", params=["prefork", "threads"])
def barriers(
    request: pytest.FixtureRequest, module_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A client of a worker with four slots for the agents of `barrier_app`."""
    directory = tmp_path_factory.mktemp("barriers")
    with (
        Worker(module_store.url, directory, pool=request.param, app="tests.engine.barrier_app"),
        Client(module_store.url) as client,
    ):
        yield client


def member(name: str, keys: dict[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    return {"id": name, "agent": "worker", "with": parameters, "retry": ONCE} | (keys or {})


def group(*members: dict[str, Any], **barrier: Any) -> dict[str, Any]:
    """A group and a step behind its barrier."""
    return {
        "name": "grouped",
        "steps": [{"id": "after", "agent": "worker", "needs": [one["id"] for one in members]}],
        "execution_groups": {"g": {"agents": list(members), "parallel_capable": True, "barrier": barrier}},
    }


def finished(client: Client, document: dict[str, Any]) -> tuple[RunHandle, RunStatus]:
    run = client.submit(document)
    return run, run.wait(SECONDS)


def told(run: RunHandle) -> str:
    """Everything that happened, for a failure's message."""
    return "\n".join(f"{event.at:.3f} {event.type} {event.step} {event.state}" for event in run.events(follow=False))


def decisions(run: RunHandle) -> list[str]:
    """What its barrier did, in order."""
    return [event.detail.get("action", event.state) for event in run.events(follow=False) if event.type == "barrier"]


def in_turn(status: RunStatus, *names: str) -> bool:
    """Whether the last attempts of these steps ran one after another."""
    steps = [status.steps[name] for name in names]
    return all((a.finished_at or 0) <= (b.started_at or 0) for a, b in pairwise(steps))


def test_members_that_failed_run_again_one_after_another_and_somebody_is_told(
    barriers: Client, module_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, status = finished(barriers, group(member("a"), member("b", fails=1), member("c", fails=1)))
    assert status.state is RunState.SUCCESS, told(run)
    assert {name: step.attempts for name, step in status.steps.items()} == {"after": 1, "a": 1, "b": 2, "c": 2}
    assert in_turn(status, "b", "c", "after")
    assert {run.result()[name]["attempt"] for name in "bc"} == {2}
    assert decisions(run) == ["abort_and_fallback", "release"]
    client = connect(module_store.url)
    eventually(lambda: any(one.run_id == run.id for one in alerts(client)), within=SECONDS, what="somebody is told")
    (alert,) = [one for one in alerts(client) if one.run_id == run.id]
    assert (alert.kind, alert.severity, alert.workflow, alert.subject) == ("barrier_fallback", "error", "grouped", "g")
    monkeypatch.setenv("ORCHESTRATOR_STORE_URL", module_store.url)
    assert main(["alerts", "-o", "json"]) == 0
    listed = [one for one in json.loads(capsys.readouterr().out) if one["run_id"] == run.id]
    assert [one["message"] for one in listed] == [alert.message]


def test_members_that_succeed_need_no_judge(barriers: Client, module_store: Store) -> None:
    run, status = finished(barriers, group(member("a"), member("b")))
    assert status.state is RunState.SUCCESS, told(run)
    assert decisions(run) == ["release"]
    barrier: Any = connect(module_store.url).hmget(keys.run_key(run.id, "s:@g"), "joined_at", "decided_at")
    assert None not in barrier
    assert barrier[0] == barrier[1], "it is decided in the script in which its last member ends"


def overdue(client: Client, *later: dict[str, Any], message: str = "", **barrier: Any) -> RunHandle:
    """The run of a group of `a` and these members, whose time is over when `a` has ended and the others run."""
    run = client.submit(group(member("a"), *later, timeout=600, **barrier))
    expected = {"a": ("success", ""), "after": ("pending", "")} | {one["id"]: ("running", message) for one in later}

    def waits() -> bool:
        return {name: (step.state, step.message) for name, step in run.status().steps.items()} == expected

    eventually(waits, within=SECONDS, what="only a has ended")
    time_is_over(client, run.id, "barrier:@g")
    return run


def test_what_stands_still_at_the_deadline_is_ended_and_has_a_second_turn(barriers: Client) -> None:
    run = overdue(barriers, member("b", hangs=1), member("c", hangs=1))
    status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, told(run)
    assert {name: step.attempts for name, step in status.steps.items()} == {"after": 1, "a": 1, "b": 2, "c": 2}
    assert in_turn(status, "b", "c", "after")
    assert decisions(run) == ["abort_and_fallback", "release"]
    decided = next(event for event in run.events(follow=False) if event.type == "barrier")
    assert decided.at >= float(decided.detail["deadline"]), "the deadline and the moment of the decision are both told"
    assert (status.groups["g"].fallback_at, status.groups["g"].lateness_seconds) == (decided.at, None)


def test_there_is_one_second_turn(barriers: Client) -> None:
    run, status = finished(barriers, group(member("a"), member("b", fails=9)))
    assert status.state is RunState.FAILED
    assert (status.steps["b"].attempts, status.steps["after"].state) == (2, "upstream_failed")
    assert decisions(run) == ["abort_and_fallback", "fail"]


def test_progress_earns_more_time(barriers: Client, tmp_path: Path) -> None:
    run = overdue(barriers, member("b", until=str(tmp_path / "go")), message="moving", extension=600)
    eventually(lambda: decisions(run) == ["extend_timeout"], within=SECONDS, what="it has more time")
    (tmp_path / "go").touch()
    status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, told(run)
    assert decisions(run) == ["extend_timeout", "release"]
    assert (status.steps["b"].attempts, status.groups["g"].extensions) == (1, 1)


def test_defaults_stand_for_what_is_missing_at_the_deadline(barriers: Client) -> None:
    """Empty ones say that a member may be missing, and that nothing is made up for it."""
    late, silent = member("b", {"defaults": {"attempt": 0}}, hangs=9), member("c", {"defaults": {}}, hangs=9)
    run = overdue(barriers, late, silent)
    status = run.wait(SECONDS)
    assert status.state is RunState.PARTIAL
    assert [run.result()[name] for name in "bc"] == [{"attempt": 0}, {}]
    assert decisions(run) == ["continue_with_partial"]
    barrier, missing = status.groups["g"], status.steps["b"]
    assert (missing.state, missing.quality_impact, status.steps["a"].quality_impact) == ("timed_out", "medium", None)
    assert (barrier.action, barrier.filled, barrier.quality_impact) == ("continue_with_partial", ("b", "c"), "medium")
    assert barrier.lateness_seconds is not None
    assert run.marks() == {"b.attempt": "filled:medium", "c": "filled:medium"}


def test_a_sequential_run_does_one_step_after_another_and_its_barriers_still_judge(barriers: Client) -> None:
    document = group(member("a"), member("b", {"defaults": {"attempt": 0}}, fails=9), member("c"))
    run = barriers.submit(document, sequential=True)
    status = run.wait(SECONDS)
    assert status.state is RunState.PARTIAL, told(run)
    order = sorted(status.steps, key=lambda name: status.steps[name].started_at or 0)
    assert in_turn(status, *order)
    assert decisions(run) == ["continue_with_partial"]
    assert run.result()["b"] == {"attempt": 0}


def test_what_failed_in_a_sequential_run_is_retried_one_after_another(barriers: Client) -> None:
    document = group(member("a"), member("b"))
    document["steps"] = [
        member("after", {"needs": ["a", "b"]}, fails=1),
        member("beside", fails=1),
        member("last", {"needs": ["after", "beside"]}),
    ]
    run = barriers.submit(document, sequential=True)
    before = run.wait(SECONDS)
    assert before.state is RunState.FAILED, told(run)
    run.retry(failed=True)
    status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, told(run)
    again = [name for name, step in status.steps.items() if step != before.steps[name]]
    assert sorted(again) == ["after", "beside", "last"], "what was good stays as it was"
    assert in_turn(status, *sorted(again, key=lambda name: status.steps[name].started_at or 0))
