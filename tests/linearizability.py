"""Whether a history of concurrent operations could have happened one after another: Wing and Gong's search, with Lowe's
memory of the states it has been in.

A history is linearizable when each operation can be given one moment between its beginning and its end, so that in the
order of those moments every result is right. Histories of one key should have at most about 200 operations.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a process asked of a key and what it was told. Times come from one monotonic clock, in any unit."""

    process: int
    key: str
    name: str
    argument: Any
    result: Any
    begin: int
    end: int


@dataclass(slots=True)
class _Event:
    """The beginning of an operation (then `match` is its end) or its end, in a list ordered by time."""

    number: int
    match: _Event | None = None
    before: _Event = field(init=False, repr=False)
    after: _Event | None = field(init=False, default=None, repr=False)

    def unlink(self) -> None:
        self.before.after = self.after
        if self.after is not None:
            self.after.before = self.before

    def relink(self) -> None:
        self.before.after = self
        if self.after is not None:
            self.after.before = self


def linearizable(history: Iterable[Operation], initial: S, step: Callable[[S, Operation], S | None]) -> bool:
    """Whether some order explains all results. `step` gives the state after an operation, None if its result is wrong.

    Processes must not overlap with themselves.
    """
    operations = list(history)
    head = _events(operations)
    state, done = initial, 0
    seen: set[tuple[int, S]] = set()
    taken: list[tuple[_Event, S]] = []
    event = head.after
    while head.after is not None:
        assert event is not None
        end = event.match
        if end is None:  # nothing before this end can come next: take back the last choice
            if not taken:
                return False
            event, state = taken.pop()
            done &= ~(1 << event.number)
            assert event.match is not None
            event.match.relink()
            event.relink()
            event = event.after
            continue
        following = step(state, operations[event.number])
        reached = done | 1 << event.number
        if following is None or (reached, following) in seen:
            event = event.after
            continue
        seen.add((reached, following))
        taken.append((event, state))
        state, done = following, reached
        event.unlink()
        end.unlink()
        event = head.after
    return True


def _events(operations: list[Operation]) -> _Event:
    """The beginnings and ends of all operations as a linked list; its head is no event."""
    times: list[tuple[int, int, _Event]] = []
    for number, operation in enumerate(operations):
        end = _Event(number)
        times += [(operation.begin, 0, _Event(number, end)), (operation.end, 1, end)]
    head = last = _Event(-1)
    for _, _, event in sorted(times, key=lambda one: one[:2]):
        last.after, event.before = event, last
        last = event
    return head


def broken_keys(history: Iterable[Operation], initial: S, step: Callable[[S, Operation], S | None]) -> list[str]:
    """The keys whose operations are not linearizable. A history is linearizable when that of each key is."""
    by_key: dict[str, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    return sorted(key for key, mine in by_key.items() if not linearizable(mine, initial, step))
