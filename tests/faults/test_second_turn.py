"""A worker dies while members of a group have their second turn: whoever comes next carries it on."""

from __future__ import annotations

from pathlib import Path

from orchestrator import Client, RunHandle
from orchestrator.run.models import RunState, StepState
from tests.conftest import Store
from tests.engine.test_barriers import decisions, group, in_turn, member
from tests.workers import Worker, eventually

SECONDS = 40
APP = "tests.engine.barrier_app"


def second_turn(run: RunHandle) -> bool:
    """Whether b works again, its first two attempts having failed."""
    step = run.status().steps["b"]
    return step.state is StepState.RUNNING and step.attempts == 3


def test_the_second_turn_goes_on_after_its_worker_was_killed(store: Store, tmp_path: Path) -> None:
    twice = {"retry": {"maximum_attempts": 2, "initial_interval": 0.05}}
    failing = [member("b", twice, fails=2, moves=1), member("c", twice, fails=2)]
    with Worker(store.url, tmp_path, app=APP) as first, Client(store.url) as client:
        run = client.submit(group(member("a"), *failing))
        eventually(lambda: second_turn(run), within=SECONDS, what="b has its second turn")
        first.kill()
        with Worker(store.url, tmp_path, name="w2", app=APP):
            status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, status
    assert {name: status.steps[name].attempts for name in "abc"} == {"a": 1, "b": 4, "c": 3}
    assert in_turn(status, "b", "c", "after")
    assert decisions(run) == ["abort_and_fallback", "release"]
