"""Attempts, decisions and waits, told from events alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from orchestrator.messages.models import EVENTS, Event
from orchestrator.views.history import History
from orchestrator.views.models import Attempt, Decision, LockWait


def history(*rows: tuple[Any, ...]) -> History:
    """From (time, kind, node, state, attempt, detail) each."""
    found = History()
    found.take(events(rows))
    return found


def events(rows: Iterable[tuple[Any, ...]]) -> Iterator[Event]:
    for at, kind, node, state, attempt, detail in rows:
        told = {"id": f"{at}-0", "at": at, "type": kind, "step": node, "state": state, "attempt": attempt}
        yield EVENTS.validate_python({**told, "detail": detail})


def step(at: int, state: str, attempt: int | None = None, message: str = "") -> tuple[Any, ...]:
    return at, "step", "a", state, attempt, {"message": message} if message else {}


def test_waiting_is_told_apart_from_running() -> None:
    found = history(step(10, "queued", 0), step(13, "running", 1, "w1@host"), step(20, "success", 1))
    assert found.attempts["a"] == [
        Attempt(attempt=1, state="success", queued_at=10, started_at=13, ended_at=20, worker="w1@host")
    ]
    assert found.cursor == "20-0"


def test_each_attempt_has_times_and_an_error_of_its_own() -> None:
    found = history(
        step(1, "queued"), step(2, "running", 1, "w1"), step(3, "retrying", 1, "ValueError: no"),
        step(5, "queued", 1), step(6, "running", 2, "w2"), step(9, "failed", 2, "ValueError: again"),
    )  # fmt: skip
    assert [(one.attempt, one.state, one.queued_at, one.started_at, one.ended_at, one.worker, one.error)
            for one in found.attempts["a"]] == [
        (1, "failed", 1, 2, 3, "w1", "ValueError: no"),
        (2, "failed", 5, 6, 9, "w2", "ValueError: again"),
    ]  # fmt: skip


def test_a_message_that_is_sent_again_does_not_shorten_the_wait() -> None:
    (attempt,) = history(step(1, "queued"), step(8, "queued"), step(9, "running", 1, "w")).attempts["a"]
    assert (attempt.queued_at, attempt.started_at, attempt.state) == (1, 9, "running")


def test_what_is_held_back_by_locks_or_a_pause_is_told() -> None:
    (attempt,) = history(step(1, "ready"), step(4, "queued"), step(5, "running", 1, "w")).attempts["a"]
    assert (attempt.held_at, attempt.queued_at, attempt.started_at) == (1, 4, 5)


def test_a_step_that_never_ran_has_no_attempt_and_one_that_only_waited_has_one() -> None:
    assert history(step(1, "upstream_failed")).attempts["a"] == []
    (attempt,) = history(step(1, "queued"), step(4, "cancelled")).attempts["a"]
    assert (attempt.state, attempt.started_at, attempt.ended_at) == ("cancelled", None, 4)


def test_what_was_under_way_when_its_step_was_retried_is_taken_back() -> None:
    found = history(
        step(1, "queued"), step(2, "running", 1, "w"), step(3, "pending", 1),
        step(4, "queued", 1), step(5, "running", 2, "w"), step(6, "success", 2), step(7, "pending", 2),
    )  # fmt: skip
    assert [(one.attempt, one.state, one.ended_at) for one in found.attempts["a"]] == [
        (1, "taken_back", 3), (2, "success", 6),
    ]  # fmt: skip


def test_decisions_of_a_barrier_and_waits_for_locks() -> None:
    extended = {"message": "1 of 2", "action": "extend_timeout", "deadline": "50.5", "seconds": "30"}
    found = history(
        (40, "barrier", "@g", "extended", None, extended),
        (60, "barrier", "@g", "success", None, {"action": "release"}),
        (61, "lock", "a", "granted", 2, {"section": "board", "mode": "write", "seconds": "1.250"}),
    )
    assert found.decisions == {
        "g": [
            Decision(at=40, state="extended", action="extend_timeout", reason="1 of 2", deadline=50.5, seconds=30),
            Decision(at=60, state="success", action="release"),
        ]
    }
    assert found.lock_waits == [
        LockWait(at=61, step="a", attempt=2, section="board", mode="write", seconds=1.25, granted=True)
    ]


@pytest.mark.parametrize("cut", range(7))
def test_reading_on_is_the_same_as_reading_once(cut: int) -> None:
    rows = [step(1, "queued"), step(2, "running", 1, "w"), step(3, "retrying", 1, "x"), step(5, "queued", 1),
            step(6, "running", 2, "w"), step(7, "success", 2)]  # fmt: skip
    whole, first = history(*rows), history(*rows[:cut])
    before = first.copy()
    first.take(events(rows[cut:]))
    assert first == whole
    assert before == history(*rows[:cut]), "a copy does not change when its original goes on"
