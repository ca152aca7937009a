"""The events of streams, told apart by `type`. An event wakes whoever watches; what holds is in the store."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter
from pydantic_core import from_json

from orchestrator.fields import Frozen
from orchestrator.states import FINAL_RUN_STATES, RunState, StepState


class Told(Frozen):
    """What all events have: `id`, from which a reader can go on, and `at`, in seconds since the epoch by Redis' clock.
    `run` is its run, where events of all runs are told; `step` is the step, or the barrier `@<group>`, that it is
    about; `detail` is what it says beside its own fields, with a sentence for people as `message`."""

    id: str
    at: float
    type: str
    state: str = ""
    run: str | None = None
    step: str | None = None
    attempt: int | None = None
    detail: Mapping[str, str] = Field(default_factory=dict)

    @property
    def message(self) -> str:
        return self.detail.get("message", "")

    @property
    def ends_run(self) -> bool:
        """Whether the run ended with it; a retry may have opened it again."""
        return self.type == "run" and self.state in FINAL_RUN_STATES

    def _number(self, name: str) -> float | None:
        text = self.detail.get(name)
        return float(text) if text else None


class RunEvent(Told):
    """The run is in another state."""

    type: Literal["run"] = "run"
    state: RunState


class StepEvent(Told):
    """A step is in another state."""

    type: Literal["step"] = "step"
    state: StepState
    step: str


class ProgressEvent(Told):
    """An attempt says how far it is: `fraction`, from 0 to 1."""

    type: Literal["progress"] = "progress"
    step: str

    @property
    def fraction(self) -> float:
        return float(self.state or 0)


class BarrierEvent(Told):
    """A barrier has decided, or given its members more time. `deadline` and `decided_at` are points in time."""

    type: Literal["barrier"] = "barrier"
    step: str

    @property
    def group(self) -> str:
        return self.step.removeprefix("@")

    @property
    def action(self) -> str:
        return self.detail.get("action", "")

    @property
    def deadline(self) -> float | None:
        return self._number("deadline")

    @property
    def decided_at(self) -> float | None:
        return self._number("decided_at")


class ConflictEvent(Told):
    """Two wrote the same: `early`, before a barrier has to merge it, or `recorded`, `open`, `resolved`."""

    type: Literal["conflict"] = "conflict"

    @property
    def field(self) -> str:
        """The field of the context, where it is told early."""
        return self.detail.get("field", "")

    @property
    def other(self) -> str:
        """The other step, where it is told early."""
        return self.detail.get("with", "")


class LockEvent(Told):
    """A lock that was waited for was granted, or was not."""

    type: Literal["lock"] = "lock"
    step: str


class QualityEvent(Told):
    """Something in the result is not as it should be; `state` is low, medium or high."""

    type: Literal["quality"] = "quality"


class MessageEvent(Told):
    """What an agent (`step`) or a service (no step) says to others on a `topic`: any JSON value as `data`. `to` names
    the step that it is meant for; empty: whoever listens."""

    type: Literal["message"] = "message"
    topic: str
    data: Any = None
    to: str = ""


class LogEvent(Told):
    """A step has logged something; those who follow logs are told, and nobody else."""

    type: Literal["log"] = "log"
    step: str

    @property
    def lines(self) -> int:
        """How many lines it has logged so far."""
        return int(self.state or 0)


class AlertEvent(Told):
    """What the people who run the deployment should know of; `state` is its severity, `detail` the rest of it."""

    type: Literal["alert"] = "alert"


class MissedEvent(Told):
    """Told to one reader only: events before `id` are gone that it has not seen. It reads the state anew."""

    type: Literal["missed"] = "missed"


class OtherEvent(Told):
    """Of a kind, or in a state, that only newer versions know."""


_KINDS: Mapping[str, type[Told]] = {
    kind.model_fields["type"].default: kind
    for kind in (
        RunEvent, StepEvent, ProgressEvent, BarrierEvent, ConflictEvent, LockEvent, QualityEvent, MessageEvent,
        LogEvent, AlertEvent, MissedEvent,
    )
}  # fmt: skip


def _kind(value: Any) -> str:
    found = value.get("type", "") if isinstance(value, Mapping) else getattr(value, "type", "")
    return found if found in _KINDS else "other"


Event: TypeAlias = Annotated[
    Annotated[RunEvent, Tag("run")]
    | Annotated[StepEvent, Tag("step")]
    | Annotated[ProgressEvent, Tag("progress")]
    | Annotated[BarrierEvent, Tag("barrier")]
    | Annotated[ConflictEvent, Tag("conflict")]
    | Annotated[LockEvent, Tag("lock")]
    | Annotated[QualityEvent, Tag("quality")]
    | Annotated[MessageEvent, Tag("message")]
    | Annotated[LogEvent, Tag("log")]
    | Annotated[AlertEvent, Tag("alert")]
    | Annotated[MissedEvent, Tag("missed")]
    | Annotated[OtherEvent, Tag("other")],
    Discriminator(_kind),
]
EVENTS: TypeAdapter[Event] = TypeAdapter(Event, config=ConfigDict(defer_build=True))
"""Reads any event from JSON, as `model_dump` wrote it."""

Entries: TypeAlias = Iterable[tuple[bytes, Mapping[bytes, bytes]]]
_OWN = frozenset(("t", "r", "n", "s", "a", "d", "at", "j", "o"))


def parse_events(entries: Entries) -> Iterator[Event]:
    """Events from the entries of a stream. One that this version cannot read is an `OtherEvent`."""
    for entry, fields in entries:
        if fields.get(b"t") == b"message":
            yield _message(entry, fields)
            continue
        text = {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
        if "kind" in text:
            yield _alert(entry.decode(), text)
            continue
        values: dict[str, Any] = {
            "id": entry.decode(),
            "at": float(text.get("at") or _time_of(entry.decode())),
            "type": text.get("t", ""),
            "run": text.get("r"),
            "step": text.get("n") or None,
            "state": text.get("s", ""),
            "attempt": int(text["a"]) if text.get("a") else None,
        }
        yield _checked(values | {"detail": _detail(text)})


def _message(entry: bytes, fields: Mapping[bytes, bytes]) -> MessageEvent:
    """The most frequent kind by far, and our own script wrote it: what is not needed is not looked at."""
    attempt, step, name = fields.get(b"a"), fields.get(b"n"), entry.decode()
    return MessageEvent(
        id=name,
        at=_time_of(name),
        step=step.decode() if step else None,
        attempt=int(attempt) if attempt else None,
        topic=fields[b"s"].decode(),
        data=_data(fields[b"j"]),
        to=fields[b"to"].decode(),
    )


def _data(text: bytes) -> Any:
    """The quick reader knows no half surrogates; the other one does."""
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text.decode())


def _checked(values: Mapping[str, Any]) -> Event:
    try:
        return cast("Event", _KINDS.get(values["type"], OtherEvent).model_validate(values))
    except ValueError:
        detail = {**values["detail"], "type": values["type"]}
        return OtherEvent.model_validate({**values, "type": "other", "detail": detail})


def _detail(text: Mapping[str, str]) -> dict[str, str]:
    said = {"message": text["d"]} if text.get("d") else {}
    return said | {name: value for name, value in text.items() if name not in _OWN and value}


def _alert(entry: str, text: dict[str, str]) -> AlertEvent:
    return AlertEvent(
        id=entry, at=_time_of(entry), step=text.get("subject") or None, state=text.pop("severity", ""), detail=text
    )


def _time_of(entry: str) -> float:
    return int(entry.partition("-")[0]) / 1000
