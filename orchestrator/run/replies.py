"""What the ledger's scripts answer, parsed once into values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from orchestrator.run.models import FINAL_RUN_STATES, RunState


class Refused(Struct, frozen=True):
    """The transition did not happen. `why` is the state that stood in its way, or `unknown`."""

    why: str


class Standing(Struct, frozen=True):
    """A field of the context as it stands: its packed value, empty for none, and the version that set it, with its
    author, that step's priority, and Redis' time then."""

    field: str
    version: int
    author: str
    priority: int
    at: float
    packed: bytes


class Clash(Struct, frozen=True):
    """The attempt's commit was refused, and nothing changed: others were faster, in these fields of the context."""

    fields: tuple[Standing, ...]


class Unlocked(Struct, frozen=True):
    """The attempt's commit was refused, and nothing changed: it had lost the lock of this section."""

    section: str


class Moved(Struct, frozen=True):
    """A transition happened. `released` are definitions of steps that the caller publishes now, `joined` the
    barrier nodes whose last member has ended with it, and which the caller judges now, with their `groups`; `decided`
    those that are decided, with it or before. `asking` are definitions of steps that need a lease on pools, `freed`
    steps whose lease is over, each with the number of the asking. `begun` is the attempt with which the caller goes on,
    of any run."""

    run_state: str
    released: tuple[Mapping[str, Any], ...] = ()
    joined: tuple[str, ...] = ()
    groups: tuple[GroupState, ...] = ()
    asking: tuple[tuple[Mapping[str, Any], int], ...] = ()
    freed: tuple[tuple[str, int], ...] = ()
    begun: Begun | None = None
    decided: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.run_state in FINAL_RUN_STATES

    @property
    def done(self) -> bool:
        """Whether nothing is left for the caller to do about it, or to tell, but what it has `begun`."""
        left = self.released or self.joined or self.decided or self.asking or self.freed
        return not left and self.run_state not in FINAL_RUN_STATES


class Claimed(Struct, frozen=True):
    """An attempt was granted. `token` is its fencing token and its number; `at` is Redis' time. It reads `version` of
    the context to its end, with those `branches` laid over it. `message` is what was taken from a queue for it, by the
    ledger itself."""

    token: int
    definition: Mapping[str, Any]
    at: float
    run_state: RunState
    version: int = 0
    branches: tuple[str, ...] = ()
    message: bytes = b""


class Begun(Struct, frozen=True):
    """An attempt of a step of any run, with which its process goes on."""

    run_id: str
    granted: Claimed


class Due(Struct, frozen=True):
    """One item that is due: its kind (`lease`, `timeout`, `idle`, `queued`, `retry`, `barrier`, `joined`, `cancel`,
    `run`), the node that it concerns, that node as it stands, and by how many seconds it is `late`."""

    item: str
    kind: str
    node: str
    state: str
    token: int
    definition: Mapping[str, Any]
    queued_at: float
    progress_at: float
    started_at: float
    extensions: int
    late: float


class Agenda(Struct, frozen=True):
    """Everything of one run that is due, and when the next item will be (None: never)."""

    run_state: str
    next_at: float | None
    items: tuple[Due, ...]


class GroupMember(Struct, frozen=True):
    """A member of a group: its state, when it last made progress (None: never), why it ended so, when its own timeout
    ends its attempt (None: nothing does), its definition, and what its branch has that is not merged: nothing (""),
    its "own" namespace alone, or "shared" sections."""

    state: str
    progress_at: float | None
    reason: str
    deadline: float | None
    definition: Mapping[str, Any]
    branch: str = ""


class GroupState(Struct, frozen=True):
    """A group at `now`, with its barrier's definition and its members in order. `fell_back`: they have had their second
    turn."""

    definition: Mapping[str, Any]
    now: float
    extensions: int
    looked_at: float
    deadline: float | None
    fell_back: bool
    members: tuple[GroupMember, ...]

    @property
    def own_branches(self) -> tuple[str, ...] | None:
        """The members whose branches are to be merged when none of these has anything in shared sections; else None."""
        if any(member.branch == "shared" for member in self.members):
            return None
        return tuple([member.definition["id"] for member in self.members if member.branch])


class Writer(Struct, frozen=True):
    """A member of a group: its state, the shared paths that it has written, its definition."""

    step: str
    state: str
    wrote: tuple[str, ...]
    definition: Mapping[str, Any]


_DECODER = json.JSONDecoder()
_RUN_STATES = {state.value.encode(): state for state in RunState}


def _parsed(text: bytes | str) -> Any:
    """As `json.loads`, of what is UTF-8 and begins with its first bracket."""
    return _DECODER.raw_decode(text if isinstance(text, str) else text.decode())[0]


def writers(raw: Sequence[Any]) -> list[Writer]:
    return [
        Writer(step.decode(), state.decode(), tuple(json.loads(wrote)), json.loads(definition))
        for step, state, wrote, definition in raw
    ]


def group_state(raw: Sequence[Any]) -> GroupState | None:
    if raw[0] is None:
        return None
    members = tuple(
        GroupMember(state.decode(), _number(progress), reason.decode(), _number(ends), json.loads(spec), wrote.decode())
        for state, progress, reason, ends, spec, wrote in raw[6:]
    )
    return GroupState(
        json.loads(raw[0]), float(raw[1]), int(raw[2] or 0), float(raw[3] or 0), _number(raw[4]), bool(raw[5]), members
    )


def _number(raw: bytes | None) -> float | None:
    return float(raw) if raw else None


def moved(raw: Sequence[Any]) -> Moved | Refused:
    if raw[0] in (b"refused", b"exists"):
        return Refused(raw[1].decode() if len(raw) > 1 else "exists")
    released = tuple([_parsed(definition) for definition in raw[1]])
    found = [(node.decode(), group_state(group)) for node, group in raw[2]]
    joined, groups = tuple([node for node, group in found if group]), tuple([group for _, group in found if group])
    decided = tuple([node for node, group in found if group is None])
    if len(raw) == 3:
        return Moved(raw[0].decode(), released, joined, groups, decided=decided)
    asking = tuple([(_parsed(definition), int(number)) for definition, number in raw[3]])
    freed = tuple([(step.decode(), int(n)) for step, n in raw[4]])
    going = begun(raw[5]) if len(raw) > 5 else None
    return Moved(raw[0].decode(), released, joined, groups, asking, freed, going, decided)


def finished(raw: Sequence[Any]) -> Moved | Clash | Refused:
    if raw[0] != b"conflict":
        return moved(raw)
    rows = ((*(part.decode() if isinstance(part, bytes) else part for part in row[:5]), row[5]) for row in raw[1])
    return Clash(
        tuple(
            Standing(field, int(version), author, int(priority), float(at), packed)
            for field, version, author, priority, at, packed in rows
        )
    )


def claimed(raw: Sequence[Any]) -> Claimed | Refused:
    if raw[0] == b"refused":
        return Refused(raw[1].decode())
    return _granted(raw)


def _granted(raw: Sequence[Any]) -> Claimed:
    branches = tuple([step.decode() for step in raw[6]])
    message = raw[7] if len(raw) > 7 else b""
    state = _RUN_STATES[raw[4]]
    return Claimed(int(raw[1]), _parsed(raw[2]), float(raw[3]), state, int(raw[5]), branches, message)


def begun(raw: Sequence[Any]) -> Begun:
    return Begun(raw[8].decode(), _granted(raw))


def given(text: bytes) -> Begun:
    """As `begun`, from JSON."""
    raw = json.loads(text)
    raw[4], raw[6], raw[7] = raw[4].encode(), [name.encode() for name in raw[6]], raw[7].encode()
    return Begun(raw[8], _granted(raw))


def agenda(raw: Sequence[Any]) -> Agenda:
    items = []
    for row in raw[2:]:
        item, kind, node, state, token, definition, queued, progress, started, extensions, late = (
            x.decode() for x in row
        )
        items.append(
            Due(item, kind, node, state, int(token), json.loads(definition) if definition else {},
                float(queued), float(progress), float(started), int(extensions), float(late))
        )  # fmt: skip
    return Agenda(raw[0].decode(), float(raw[1]) if raw[1] else None, tuple(items))
