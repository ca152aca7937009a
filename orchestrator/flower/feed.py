"""Events as they happen, for any number of watchers: one connection to Redis reads all streams that are watched, those
of runs and the one over all runs, and every event becomes text once, if anybody reads it. Nothing is polled; what a
slow watcher has missed it reads again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from redis.exceptions import RedisError

from orchestrator.connection import connect_async, guarded
from orchestrator.messages.channel import BLOCK_MS
from orchestrator.messages.coroutines import missing
from orchestrator.messages.cursor import READ_AT_ONCE, Cursor
from orchestrator.messages.models import Event, MissedEvent, parse_events

if TYPE_CHECKING:
    import redis.asyncio

Place = tuple[int, int]
"""The id of an event: milliseconds and a number. Events come after `START`."""
START: Place = (0, 0)

RECENT = 500
"""So many events of each watched run are kept at hand."""
REPLAYS = 8
"""So many watchers read what they have missed at a time."""
PATIENCE = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts to reach a store that does not answer."""


def place_of(text: str) -> Place:
    """`1700000000000-3` as numbers. Raises ValueError for anything else."""
    first, _, second = text.partition("-")
    if not (first.isascii() and first.isdecimal() and len(first) <= 20 and len(second) <= 20):
        raise ValueError(f"'{text[:40]}' is no id of an event")
    if second and not (second.isascii() and second.isdecimal()):
        raise ValueError(f"'{text[:40]}' is no id of an event")
    return int(first), int(second or 0)


class Channel(Struct):
    """One watched stream. `recent` has every event behind `origin` up to `cursor`, each with its place, as it is sent;
    nothing while it has no `readers`. All `watchers` are set when there are more."""

    name: str
    origin: Place
    cursor: Place
    recent: deque[tuple[Place, bytes]] = field(default_factory=deque)
    watchers: set[asyncio.Event] = field(default_factory=set)
    readers: int = 0

    def add(self, entries: Any) -> None:
        """Take in what was read behind `cursor`, and wake whoever watches."""
        self.cursor = place_of(entries[-1][0].decode())
        if self.readers:
            self.recent.extend(_frames(entries))
        else:
            self.recent.clear()
            self.origin = self.cursor
        while len(self.recent) > RECENT:
            self.origin = self.recent.popleft()[0]
        for one in self.watchers:
            one.set()

    def behind(self, after: Place) -> list[tuple[Place, bytes]] | None:
        """What came behind a place; None when that is longer ago than what is at hand."""
        if after < self.origin:
            return None
        return [] if after >= self.cursor else [one for one in self.recent if one[0] > after]

    @contextmanager
    def read(self) -> Iterator[None]:
        """Keep what comes meanwhile: somebody reads it."""
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1


class Feed:
    """The events of one store's runs, on one event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._channels: dict[str, Channel] = {}
        self._replays = asyncio.Semaphore(REPLAYS)
        self._client: redis.asyncio.Redis | None = None
        self._reading: asyncio.Task[Any] | None = None
        self._loop: asyncio.Task[None] | None = None

    async def replay(self, name: str, after: Place) -> AsyncGenerator[bytes, None]:
        """What has happened in a stream behind a place, to its end."""
        more = True
        while more:
            frames = await self._missed(name, after)
            yield _joined(frames)
            after, more = frames[-1][0] if frames else after, len(frames) >= READ_AT_ONCE

    async def follow(self, name: str, after: Place, *, idle: float, anew: bool = False) -> AsyncGenerator[bytes, None]:
        """What happens behind a place, for ever: events as they are sent, nothing after `idle` seconds without any.
        `anew`: what happens from now on, behind a word that everything before was missed."""
        (newest,) = await self._newest([name])
        after = newest if anew else START if after > newest else after  # of a store that has forgotten what came last
        news = asyncio.Event()
        with self._watching(name, newest, news) as channel, channel.read():
            if anew:
                missed = MissedEvent(id=_text(after), at=after[0] / 1000)
                yield _frame(missed)
            while True:
                news.clear()
                frames = channel.behind(after)
                if frames is None:
                    frames = await self._missed(name, after)
                    after = after if frames else channel.origin  # what was there is gone
                if frames:
                    after = frames[-1][0]
                    yield _joined(frames)
                    continue
                try:
                    async with asyncio.timeout(idle):
                        await news.wait()
                except TimeoutError:
                    yield b""

    async def stirred(self, names: Collection[str], *, idle: float, gather: float) -> AsyncGenerator[set[str], None]:
        """The streams to which something was added: all of them at first, then those of `gather` seconds at a time, and
        none after `idle` seconds without any."""
        places = dict(zip(names, await self._newest(names), strict=True))
        news = asyncio.Event()
        with ExitStack() as watched:
            channels = [watched.enter_context(self._watching(name, place, news)) for name, place in places.items()]
            yield set(names)
            while True:
                try:
                    async with asyncio.timeout(idle):
                        await news.wait()
                except TimeoutError:
                    yield set()
                    continue
                await asyncio.sleep(gather)
                news.clear()
                moved = [channel for channel in channels if channel.cursor > places[channel.name]]
                places |= {channel.name: channel.cursor for channel in moved}
                yield {channel.name for channel in moved}

    @contextmanager
    def _watching(self, name: str, newest: Place, news: asyncio.Event) -> Iterator[Channel]:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name, newest, newest)
            self._look_again()
        channel.watchers.add(news)
        try:
            yield channel
        finally:
            channel.watchers.discard(news)
            if not channel.watchers:
                del self._channels[name]
                self._look_again()

    def _look_again(self) -> None:
        """What is watched has changed: the read that is under way is given up, which loses nothing, for another one."""
        if self._loop is None or self._loop.done():
            self._loop = asyncio.get_running_loop().create_task(self._read_on())
        elif self._reading is not None:
            self._reading.cancel()

    async def _read_on(self) -> None:
        """Read what is watched until nothing is, also when somebody comes while the connection is given up."""
        while self._channels:
            await self._read_watched()
            self._reading = None
            client, self._client = self._client, None  # whoever comes meanwhile connects anew
            if client is not None:
                await client.connection_pool.disconnect(inuse_connections=False)

    async def _read_watched(self) -> None:
        failures = 0
        while self._channels:
            streams: Any = {name: _text(channel.cursor) for name, channel in self._channels.items()}
            self._reading = asyncio.get_running_loop().create_task(self._wait(streams))
            await asyncio.wait([self._reading])
            if self._reading.cancelled():
                continue
            error = self._reading.exception()
            if error is not None:
                if not isinstance(error, RedisError | OSError):
                    raise error
                await asyncio.sleep(PATIENCE[min(failures, len(PATIENCE) - 1)])
                failures += 1
                continue
            failures = 0
            for name, entries in self._reading.result() or ():
                channel = self._channels.get(name.decode())
                if channel is not None:
                    channel.add(entries)

    async def _wait(self, streams: Any) -> Any:
        return await self._connected().xread(streams, count=READ_AT_ONCE, block=BLOCK_MS)

    def _connected(self) -> redis.asyncio.Redis:
        if self._client is None:
            self._client = connect_async(self._url)
        return self._client

    async def _newest(self, names: Collection[str]) -> list[Place]:
        async with self._replays:
            with guarded():
                pipe = self._connected().pipeline(transaction=False)
                for name in names:
                    pipe.xrevrange(name, count=1)
                found: Any = await pipe.execute()
        return [place_of(entries[0][0].decode()) if entries else START for entries in found]

    async def _missed(self, name: str, after: Place) -> list[tuple[Place, bytes]]:
        """The next ones behind a place; a MissedEvent before them when some are not kept any more."""
        async with self._replays:
            with guarded():
                found = await self._connected().xrange(name, f"({_text(after)}", count=READ_AT_ONCE)
                gap = await missing(self._connected(), Cursor(name, _text(after))) if found else None
        return _frames(found) if gap is None else [(place_of(gap.id), _frame(gap)), *_frames(found)]


def _frames(entries: Any) -> list[tuple[Place, bytes]]:
    """Events as they are sent: one line of JSON each, under its id."""
    return [(place_of(event.id), _frame(event)) for event in parse_events(entries)]


def _frame(event: Event) -> bytes:
    return f"id: {event.id}\ndata: {event.model_dump_json()}\n\n".encode()


def _joined(frames: list[tuple[Place, bytes]]) -> bytes:
    return b"".join(text for _, text in frames)


def _text(place: Place) -> str:
    return f"{place[0]}-{place[1]}"
