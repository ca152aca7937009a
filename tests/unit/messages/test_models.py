"""Events are told apart by their type, and one of a kind that we do not know disturbs nobody."""

from __future__ import annotations

import pytest

from orchestrator.messages.models import EVENTS, BarrierEvent, Event, MessageEvent, parse_events
from orchestrator.states import RunState, StepState


def parsed(**fields: str) -> Event:
    (event,) = parse_events([(b"1700000000500-3", {name.encode(): text.encode() for name, text in fields.items()})])
    return event


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        ({"t": "run", "s": "success", "at": "5.5"}, "RunEvent",
         {"state": RunState.SUCCESS, "ends_run": True, "at": 5.5}),
        ({"t": "step", "n": "a", "s": "running", "a": "2", "d": "w1"}, "StepEvent",
         {"state": StepState.RUNNING, "attempt": 2, "step": "a", "message": "w1", "at": 1700000000.5}),
        ({"t": "progress", "n": "a", "s": "0.25"}, "ProgressEvent", {"fraction": 0.25}),
        ({"t": "barrier", "n": "@g", "s": "success", "deadline": "7.5", "action": "extend_timeout"}, "BarrierEvent",
         {"group": "g", "deadline": 7.5, "decided_at": None, "action": "extend_timeout"}),
        ({"t": "conflict", "n": "a", "s": "early", "field": "board.x", "with": "b"}, "ConflictEvent",
         {"field": "board.x", "other": "b"}),
        ({"t": "lock", "n": "a", "s": "granted"}, "LockEvent", {"state": "granted"}),
        ({"t": "quality", "n": "g", "s": "high", "d": "no"}, "QualityEvent", {"message": "no"}),
        ({"t": "message", "s": "news", "n": "a", "j": '{"x": [1]}', "to": "b", "o": "90", "at": "3"}, "MessageEvent",
         {"topic": "news", "data": {"x": [1]}, "to": "b", "step": "a"}),
        ({"kind": "fallback", "message": "look", "severity": "error", "subject": "g"}, "AlertEvent",
         {"state": "error", "message": "look", "step": "g"}),
        ({"t": "of tomorrow", "s": "x", "new": "y"}, "OtherEvent", {"type": "of tomorrow", "detail": {"new": "y"}}),
        ({"t": "step", "n": "a", "s": "state of tomorrow"}, "OtherEvent",
         {"type": "other", "state": "state of tomorrow", "detail": {"type": "step"}}),
    ],
)  # fmt: skip
def test_each_kind_says_what_it_is_about(fields: dict[str, str], kind: str, says: dict[str, object]) -> None:
    event = parsed(**fields)
    assert (type(event).__name__, event.id) == (kind, "1700000000500-3")
    assert {name: getattr(event, name) for name in says} == says
    again = EVENTS.validate_json(EVENTS.dump_json(event))
    assert again == event, "what is handed on as JSON can be read again"
    assert type(again) is type(event)


def test_the_union_reads_what_it_dumped_and_refuses_what_is_wrong() -> None:
    message = MessageEvent(id="1-0", at=1, topic="t", data=None)
    assert EVENTS.validate_python(message.model_dump()) == message
    with pytest.raises(ValueError, match="state"):
        EVENTS.validate_python({"type": "run", "id": "1-0", "at": 1, "state": "unheard of"})
    assert isinstance(EVENTS.validate_python({"type": "barrier", "id": "1-0", "at": 1, "step": "@g"}), BarrierEvent)
