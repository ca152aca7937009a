"""One reader's place in a stream. It sends nothing: whoever drives it does, blocking or with asyncio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.messages.models import Event, MissedEvent, parse_events

READ_AT_ONCE = 100
"""Events in one reply. Streams keep more than that, so whoever gets fewer cannot have missed any."""


class Cursor:
    """`after` is the id of the last event that was read, "0" at the beginning of the stream.

    `check` has to follow, with the reply to XINFO STREAM, when `take` says that events may be missing.
    """

    def __init__(self, key: str, after: str = "0") -> None:
        self.key = key
        self.after = after
        self._first = True

    def command(self, block: int | None) -> tuple[Any, ...]:
        """XREAD, which waits up to `block` ms for the next event (None: not at all)."""
        waiting = () if block is None else ("BLOCK", block)
        return ("XREAD", "COUNT", READ_AT_ONCE, *waiting, "STREAMS", self.key, self.after)

    def take(self, reply: Any) -> tuple[list[Event], bool]:
        """The events of a reply, and whether some before them may be missing."""
        entries = _entries(reply)
        doubtful = bool(entries) and (self._first or len(entries) >= READ_AT_ONCE)
        return list(parse_events(entries)), doubtful

    def check(self, info: Any) -> MissedEvent | None:
        """Whether the stream was trimmed behind this reader, by the reply to XINFO STREAM."""
        told = dict(zip(info[::2], info[1::2], strict=True))
        first = told.get(b"first-entry")
        if not first or told[b"entries-added"] <= told[b"length"] or _place(first[0]) <= _place(self.after):
            return None
        oldest = first[0].decode()
        return MissedEvent(id=oldest, at=_place(oldest)[0] / 1000, detail={"after": self.after})

    def move(self, events: Sequence[Event]) -> None:
        """The reader has them."""
        if events:
            self._first = False
            self.after = events[-1].id


def _place(entry: str | bytes) -> tuple[int, int]:
    text = entry.decode() if isinstance(entry, bytes) else entry
    time, _, number = text.partition("-")
    return int(time), int(number or 0)


def _entries(reply: Any) -> Sequence[tuple[bytes, dict[bytes, bytes]]]:
    """Of the one stream that was asked for; entries of a group's list that were trimmed meanwhile have no fields."""
    return [(entry, fields) for entry, fields in reply[0][1] if fields] if reply else ()
