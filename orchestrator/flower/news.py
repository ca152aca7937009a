"""Changes of state of all runs, for any number of watchers: one subscription to Redis, and none without watchers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from redis.exceptions import RedisError

from orchestrator import keys
from orchestrator.connection import connect_async
from orchestrator.flower.feed import PATIENCE

MISSED = b"{}"
LOOK_SECONDS = 10.0
"""So long without news, and the connection is tried."""
KEPT = 100
"""So much is kept for a watcher that is slow; it is told that it has missed what came before."""


class News:
    """The news of one store, on one event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._watchers: set[asyncio.Queue[bytes]] = set()
        self._listening: asyncio.Task[None] | None = None

    @property
    def watched(self) -> int:
        """How many watchers there are."""
        return len(self._watchers)

    async def follow(self, *, idle: float) -> AsyncGenerator[bytes, None]:
        """News as they are sent, nothing after `idle` seconds without any."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(KEPT)
        self._watchers.add(queue)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.get_running_loop().create_task(self._listen())
        else:
            queue.put_nowait(MISSED)
        try:
            while True:
                try:
                    async with asyncio.timeout(idle):
                        told = await queue.get()
                except TimeoutError:
                    yield b""
                    continue
                yield b"data: " + told + b"\n\n"
        finally:
            self._watchers.discard(queue)
            if not self._watchers and self._listening is not None:
                self._listening.cancel()
                self._listening = None

    async def _listen(self) -> None:
        failures = 0
        while True:
            client = connect_async(self._url)
            try:
                async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(keys.NEWS)
                    failures = 0
                    self._tell(MISSED)
                    while True:
                        message = await subscription.get_message(timeout=LOOK_SECONDS)
                        if message is None:
                            await subscription.ping()
                        elif message["type"] == "message":
                            self._tell(message["data"])
            except (RedisError, OSError):
                await asyncio.sleep(PATIENCE[min(failures, len(PATIENCE) - 1)])
                failures += 1
            finally:
                await client.aclose()

    def _tell(self, told: bytes) -> None:
        for queue in self._watchers:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(MISSED)
            queue.put_nowait(told)
