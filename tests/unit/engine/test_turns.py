"""Until when a process goes on with the steps of a run."""

from __future__ import annotations

import os

import pytest

from orchestrator.engine import turns
from orchestrator.engine.app import create_app
from orchestrator.engine.runtime import Runtime, runtime_of
from orchestrator.engine.turns import Turn, current, onward
from orchestrator.run.models import RunState
from orchestrator.run.replies import Begun, Claimed, Moved
from orchestrator.settings import EngineSettings
from orchestrator.settings import Runtime as Engine

STORE, ELSEWHERE = "redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0"
NEXT = Claimed(1, {"id": "b", "queue": "writers"}, 0.0, RunState.RUNNING)


def turn(seconds: float = 60.0, broker: str = STORE) -> Turn:
    """One that carries out a step."""
    settings = EngineSettings(engine=Engine(run_on_seconds=seconds))
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
    found.moved(Moved("running", begun=Begun("run", NEXT)))
    assert (found.goes_on, found.onward()) == (True, None), "the one that was begun is not taken up"
    assert found.take_up() is NEXT
    assert found.given("b") is NEXT
    assert found.given("b") is None
    assert found.take_up() is None


class Asked:
    """What a process hears that asks for a step: after so many seconds by its clock, this one."""

    def __init__(self, patch: pytest.MonkeyPatch, seconds: float) -> None:
        self.clock, self.seconds, self.left = 100.0, seconds, 0
        patch.setattr(turns, "monotonic", lambda: self.clock)
        patch.setattr(Runtime, "in_child", True)
        patch.setattr(Runtime, "waiters", self)

    def look(self, by: object, seconds: float | None) -> str:
        return "waits"

    def given(self, seconds: float) -> Begun:
        self.clock += self.seconds
        return Begun("other", NEXT)

    def leave(self, by: object) -> None:
        self.left += 1


@pytest.mark.parametrize(("seconds", "taken"), [(0.1, True), (5.1, False)])
def test_what_was_given_to_a_process_that_stood_still_is_lost_by_now(
    monkeypatch: pytest.MonkeyPatch, seconds: float, taken: bool
) -> None:
    asked, found = Asked(monkeypatch, seconds), turn()
    found._began = found._entered = asked.clock
    found.look()
    assert (found.goes_on, asked.left) == (taken, 0 if taken else 1)
    found.take_up()
    assert found.run_id == ("other" if taken else "run")


def test_a_process_goes_back_to_celery_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is to do: only so are its tasks counted, and its memory looked at."""
    asked, found = Asked(monkeypatch, 0.1), turn()
    found._began = found._entered = asked.clock
    told = found.onward()
    assert told is not None
    assert (found.may_look, told["any"]) == (True, True)
    asked.clock += turns.MOST_SECONDS
    found._entered = asked.clock
    assert not found.may_look
    assert "any" not in (found.onward() or {"any": "nothing was told"})
