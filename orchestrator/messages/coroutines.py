"""Channels and groups for asyncio: the same calls and the same answers, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from orchestrator.connection import guarded
from orchestrator.messages.channel import BLOCK_MS, JOIN, PUBLISH, Calls, Message, MessageLimits, Speaker
from orchestrator.messages.cursor import READ_AT_ONCE, Cursor
from orchestrator.messages.groups import Delivery, Places
from orchestrator.messages.models import Event, MissedEvent

if TYPE_CHECKING:
    import redis.asyncio

    from orchestrator.batch import AsyncBatchProcessor, BatchLimits


class AsyncChannel(Calls):
    """As `Channel`."""

    def __init__(
        self, client: redis.asyncio.Redis, run_id: str | None = None, limits: MessageLimits | None = None
    ) -> None:
        super().__init__(run_id, limits)
        self.client = client

    async def publish(self, *messages: Message, speaker: Speaker | None = None) -> list[str]:
        """As `Channel.publish`."""
        raw = await PUBLISH.at_async(self.client, self.prefix, *self.publishing(messages, speaker))
        return self.published(raw, speaker)

    def batching(self, limits: BatchLimits | None = None) -> AsyncBatchProcessor[Message, str]:
        """As `Channel.batching`."""
        from orchestrator.batch import AsyncBatchProcessor

        return AsyncBatchProcessor({"message": lambda messages: self.publish(*messages)}, limits=limits)

    async def read(self, after: str = "0") -> list[Event]:
        """As `Channel.read`."""
        cursor, found = Cursor(self.key, after), list[Event]()
        while events := await look(self.client, cursor, None):
            found += events
        return found

    async def follow(self, after: str = "0") -> AsyncIterator[list[Event]]:
        """As `Channel.follow`."""
        cursor = Cursor(self.key, after)
        while True:
            yield await look(self.client, cursor, BLOCK_MS)


class AsyncGroup(Places):
    """As `Group`."""

    def __init__(
        self, channel: AsyncChannel, group: str, consumer: str, *, start: str = "0", idle: float = 30.0
    ) -> None:
        super().__init__(channel, group, consumer, start=start, idle=idle)
        self._channel = channel

    async def read(self, count: int = READ_AT_ONCE, block: int | None = BLOCK_MS) -> Delivery:
        """As `Group.read`."""
        client: Any = self._channel.client
        while True:
            now = monotonic()
            if self.has_to_join(now):
                self._channel.joined(await JOIN.at_async(client, self._channel.prefix, self.arguments))
            command = self.command(now, count, block)
            pipe = client.pipeline(transaction=False)
            pipe.execute_command(*command)
            pipe.execute_command(*self.lost)
            with guarded():
                raw, lost = await pipe.execute(raise_on_error=False)
            if self.is_gone(raw):
                continue
            found = self.delivery(command, raw, lost, count)
            if found is not None:
                return found

    async def done(self, delivery: Delivery) -> None:
        """As `Group.done`."""
        client: Any = self._channel.client
        commands = self.acknowledging(delivery)
        if commands:
            pipe = client.pipeline(transaction=True)
            for command in commands:
                pipe.execute_command(*command)
            with guarded():
                await pipe.execute()


async def look(client: redis.asyncio.Redis, cursor: Cursor, block: int | None) -> list[Event]:
    """As `channel.look`."""
    any_client: Any = client
    with guarded():
        events, doubtful = cursor.take(await any_client.execute_command(*cursor.command(block)))
        missed = await missing(client, cursor) if doubtful else None
    cursor.move(events)
    return events if missed is None else [missed, *events]


async def missing(client: redis.asyncio.Redis, cursor: Cursor) -> MissedEvent | None:
    """As `channel.missing`."""
    any_client: Any = client
    try:
        return cursor.check(await any_client.execute_command("XINFO", "STREAM", cursor.key))
    except ResponseError:  # it has just expired
        return None


async def newest(client: redis.asyncio.Redis, key: str) -> str:
    """As `channel.newest`."""
    any_client: Any = client
    with guarded():
        rows = await any_client.xrevrange(key, count=1)
    return rows[0][0].decode() if rows else "0"
