"""Consumers that share the messages of a channel: every group gets each message, by one of its consumers, and after a
crash by another."""

from __future__ import annotations

from time import monotonic
from typing import Any

from msgspec import Struct
from redis.exceptions import ResponseError

from orchestrator.connection import each, guarded
from orchestrator.messages.channel import BLOCK_MS, JOIN, Broadcast, Channel, Stream
from orchestrator.messages.cursor import READ_AT_ONCE
from orchestrator.messages.models import Event, MissedEvent, parse_events

GIVEN_UP_AT_ONCE = 100
CLAIM_SECONDS = 0.05
"""What others have left lying is looked for no more often than this."""


class Delivery(Struct, frozen=True):
    """Events for one consumer; `done` has to be told about it. When some were trimmed before the group had read them, a
    MissedEvent comes first, `missed` times something was."""

    events: tuple[Event, ...] = ()
    missed: int = 0

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events if not isinstance(event, MissedEvent)]


class Places:
    """What a consumer asks for next, and how it reads the answer: first what its predecessor of the same name had not
    done with, then what others have left lying for `idle` seconds, else what is new."""

    def __init__(self, stream: Stream, group: str, consumer: str, *, start: str = "0", idle: float = 30.0) -> None:
        self._stream = stream
        self.group = group
        self.consumer = consumer
        self.idle = idle
        self.arguments = stream.joining(group, consumer, start)
        self._own: str | None = "0"
        self._join_at = self._claim_at = float("-inf")

    def has_to_join(self, now: float) -> bool:
        """Whether it is time to say that the consumer is there."""
        if now < self._join_at:
            return False
        self._join_at = now + self._stream.live / 4
        return True

    def command(self, now: float, count: int, block: int | None) -> tuple[Any, ...]:
        """What is sent, and `lost` behind it."""
        key = self._stream.key
        if self._own is None and now >= self._claim_at:
            self._claim_at = now + max(self.idle / 2, CLAIM_SECONDS)
            return ("XAUTOCLAIM", key, self.group, self.consumer, int(self.idle * 1000), "0", "COUNT", count)
        waiting = () if block is None or self._own is not None else ("BLOCK", block)
        start = ">" if self._own is None else self._own
        return ("XREADGROUP", "GROUP", self.group, self.consumer, "COUNT", count, *waiting, "STREAMS", key, start)

    @property
    def lost(self) -> tuple[str, str, str]:
        return ("HGET", self._stream.book, f"lost:{self.group}")

    def delivery(self, command: tuple[Any, ...], raw: Any, lost: Any, count: int) -> Delivery | None:
        """What came of asking for `count`; None: that was the end of what was left lying, and something else has to be
        asked for."""
        rows = raw[1] if command[0] == "XAUTOCLAIM" else raw[0][1] if raw else ()
        if self._own is not None:
            self._own = rows[-1][0].decode() if rows else None
        events: tuple[Event, ...] = tuple(parse_events((entry, fields) for entry, fields in rows if fields))
        missed = int(lost or 0)
        if self._stream.bounded and len(rows) >= count:
            self._join_at = float("-inf")  # more is there, and it may be trimmed before it is read
        if not events and (command[0] == "XAUTOCLAIM" or command[-1] != ">"):
            return None
        if not missed:
            return Delivery(events)
        first = events[0].id if events else "0"
        return Delivery((MissedEvent(id=first, at=events[0].at if events else 0.0), *events), missed)

    def is_gone(self, raw: Any) -> bool:
        """Whether the group was not there, because its stream is new; it is joined again."""
        if not isinstance(raw, Exception):
            return False
        if "NOGROUP" not in str(raw):
            with guarded():
                raise raw
        self._join_at = float("-inf")
        return True

    def acknowledging(self, delivery: Delivery) -> list[tuple[Any, ...]]:
        """The commands that say that a delivery is done with."""
        commands: list[tuple[Any, ...]] = []
        if delivery.ids:
            commands.append(("XACK", self._stream.key, self.group, *delivery.ids))
        if delivery.missed:
            commands.append(("HINCRBY", self._stream.book, f"lost:{self.group}", -delivery.missed))
        return commands


class Group(Places):
    """One consumer of a group on a channel, whose client is one for commands that wait.

    Delivery is at least once: what was not `done` when a consumer died is delivered again, to its successor of the same
    name at once, to another consumer after `idle` seconds. `start` counts for a new group: "0", all that is kept, or
    "$", what comes.
    """

    def __init__(
        self, channel: Channel | Broadcast, group: str, consumer: str, *, start: str = "0", idle: float = 30.0
    ) -> None:
        super().__init__(channel, group, consumer, start=start, idle=idle)
        self._channel = channel

    def read(self, count: int = READ_AT_ONCE, block: int | None = BLOCK_MS) -> Delivery:
        """The next events, at most `count`; empty when none came within `block` ms (None: without waiting)."""
        client: Any = self._channel.client
        while True:
            now = monotonic()
            if self.has_to_join(now):
                self._channel.joined(JOIN.at(client, self._channel.prefix, self.arguments))
            command = self.command(now, count, block)
            with guarded():
                raw, lost = each(client, (command, self.lost))
            if self.is_gone(raw):
                continue
            found = self.delivery(command, raw, lost, count)
            if found is not None:
                return found

    def done(self, delivery: Delivery) -> None:
        """These need not be delivered again."""
        client: Any = self._channel.client
        commands = self.acknowledging(delivery)
        if commands:
            with guarded():
                pipe = client.pipeline(transaction=True)
                for command in commands:
                    pipe.execute_command(*command)
                pipe.execute()

    def give_up(self, attempts: int) -> list[str]:
        """What was delivered so often, and nobody was `done` with for `idle` seconds, is not delivered again; returns
        the ids of at most 100."""
        client: Any = self._channel.client
        key, idle = self._channel.key, int(self.idle * 1000)
        with guarded():
            try:
                rows = client.xpending_range(key, self.group, "-", "+", GIVEN_UP_AT_ONCE, idle=idle)
            except ResponseError:  # nobody has joined yet
                return []
            ids = [row["message_id"].decode() for row in rows if row["times_delivered"] >= attempts]
            if ids:
                client.xack(key, self.group, *ids)
        return ids
