"""Until when a process goes on with the steps of a run."""

from __future__ import annotations

import os

import pytest

from orchestrator.engine.app import create_app
from orchestrator.engine.runtime import runtime_of
from orchestrator.engine.turns import Turn, current, onward
from orchestrator.run.models import RunState
from orchestrator.run.replies import Claimed, Moved
from orchestrator.settings import EngineSettings, Runtime

STORE, ELSEWHERE = "redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0"
NEXT = Claimed(1, {"id": "b", "queue": "writers"}, 0.0, RunState.RUNNING)


def turn(seconds: float = 60.0, broker: str = STORE) -> Turn:
    """One that carries out a step."""
    settings = EngineSettings(engine=Runtime(run_on_seconds=seconds))
    found = Turn(create_app(broker, STORE, settings, set_as_current=False), "run", "a")
    found.carries_out_a_step()
    return found


def test_it_says_who_goes_on_and_for_whom() -> None:
    with turn() as found:
        told = onward("run")
        assert told is not None
        runtime = runtime_of(found._app)
        assert (told["head"], told["seconds"]) == ("run.a", 60.0)
        assert (told["owner"], told["pid"], told["lease"]) == (runtime.owner, os.getpid(), 5.0)
        assert onward("another") is None, "whatever else is moved in between"
    assert current("run") is None


@pytest.mark.parametrize("found", [turn(seconds=0.0), turn(broker=ELSEWHERE)], ids=["switched off", "queues elsewhere"])
def test_nobody_goes_on(found: Turn) -> None:
    assert found.onward() is None


@pytest.mark.parametrize("notice", ["stopping", "drained", "behind", "off"])
def test_a_worker_that_is_to_begin_nothing_begins_nothing(notice: str) -> None:
    found = turn()
    notices = runtime_of(found._app).notices
    setattr(notices, notice, True)
    assert found.onward() is None
    setattr(notices, notice, False)
    assert found.onward() is not None


def test_nothing_follows_what_failed() -> None:
    found = turn()
    found.over()
    assert found.onward() is None


def test_one_step_at_a_time() -> None:
    found = turn()
    found.moved(Moved("running", begun=NEXT))
    assert (found.goes_on, found.onward()) == (True, None), "the one that was begun is not taken up"
    assert found.take_up() is NEXT
    assert found.given("b") is NEXT
    assert found.given("b") is None
    assert found.take_up() is None
