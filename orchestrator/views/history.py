"""What happened to a run, from its events: the attempts of its steps, the decisions of its barriers, the waits for
locks.

Everything a transition does is in the run's stream of events, so nothing has to be kept twice, and reading on from the
last event that was taken in gives the next state of the history.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from orchestrator.messages.models import Event
from orchestrator.run.models import StepState
from orchestrator.views.models import Attempt, AttemptState, Decision, LockWait

NEVER = "0-0"
"""Stands for the id of an event before the first one."""


class History(Struct):
    """The events of one run up to `cursor`, taken in. Keys are ids of steps, and of groups."""

    cursor: str = NEVER
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    decisions: dict[str, list[Decision]] = field(default_factory=dict)
    lock_waits: list[LockWait] = field(default_factory=list)

    def take(self, events: Iterable[Event]) -> None:
        """Take in the events behind `cursor`, oldest first."""
        for event in events:
            self.cursor = event.id
            if event.type == "step" and event.step:
                self._step(self.attempts.setdefault(event.step, []), event)
            elif event.type == "barrier" and event.step:
                self.decisions.setdefault(event.step.removeprefix("@"), []).append(_decision(event))
            elif event.type == "lock" and event.step:
                self.lock_waits.append(_lock_wait(event))

    def copy(self) -> History:
        """What it is now; taking in more events does not change it."""
        attempts = {step: list(found) for step, found in self.attempts.items()}
        decisions = {group: list(found) for group, found in self.decisions.items()}
        return History(self.cursor, attempts, decisions, list(self.lock_waits))

    def _step(self, attempts: list[Attempt], event: Event) -> None:
        last = attempts[-1] if attempts else None
        if last is None or last.ended_at is not None:
            if event.state not in ("ready", "queued", "running"):
                return
            last = Attempt(attempt=1 if last is None else last.attempt + 1, state="held")
            attempts.append(last)
        attempts[-1] = _after(last, event)


def _after(attempt: Attempt, event: Event) -> Attempt:
    at, error = event.at, event.detail.get("message") or None
    if event.state == StepState.READY:
        return _changed(attempt, state="held", held_at=attempt.held_at or at)
    if event.state == StepState.QUEUED:
        return _changed(attempt, state="queued", queued_at=attempt.queued_at or at)
    if event.state == StepState.RUNNING:
        number = event.attempt or attempt.attempt
        return _changed(attempt, state="running", attempt=number, started_at=at, worker=error)
    return _changed(attempt, state=_ending(event.state), ended_at=at, error=error)


def _ending(state: str) -> AttemptState:
    if state == StepState.PENDING:
        return "taken_back"
    known: dict[str, AttemptState] = {
        "success": "success", "cached": "cached", "timed_out": "timed_out", "cancelled": "cancelled"
    }  # fmt: skip
    return known.get(state, "failed")


def _changed(before: Attempt, /, **changes: object) -> Attempt:
    return before.model_copy(update=changes)


def _decision(event: Event) -> Decision:
    detail = event.detail
    return Decision(
        at=event.at,
        state=event.state,
        action=str(detail.get("action", "")),
        reason=str(detail.get("message", "")),
        deadline=_number(detail.get("deadline")),
        seconds=_number(detail.get("seconds")),
    )


def _lock_wait(event: Event) -> LockWait:
    detail = event.detail
    return LockWait(
        at=event.at,
        step=event.step or "",
        attempt=event.attempt,
        section=str(detail.get("section", "")),
        mode=str(detail.get("mode", "")),
        seconds=_number(detail.get("seconds")) or 0.0,
        granted=event.state == "granted",
    )


def _number(text: object) -> float | None:
    return float(str(text)) if text else None
