"""Events as Server-Sent Events: those of a run, and the news of all runs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus

from tornado.iostream import StreamClosedError

from orchestrator import keys
from orchestrator.errors import StoreUnavailable
from orchestrator.flower.access import ApiHandler
from orchestrator.flower.bodies import read_query
from orchestrator.flower.feed import START, Place, place_of
from orchestrator.flower.messages import EventsQuery, NewsQuery
from orchestrator.flower.problems import Rejected
from orchestrator.views import listing

BEAT_SECONDS = 15.0
"""A watcher hears something at least so often, so that both sides notice when the other one has gone."""
SLOW_SECONDS = 60.0
"""A watcher that takes nothing for so long is left; it may come back with what it has seen last."""
GATHER_SECONDS = 0.2
"""How far a run is, is told at most so often: a run of many short steps has hundreds of events a second."""
WATCHERS = 1000
RECONNECT_MS = 1000


class Events(ApiHandler):
    """Sends a stream of events to one watcher, for as long as it listens."""

    _task: asyncio.Task[None] | None = None

    async def send_stream(self, *streams: AsyncGenerator[bytes, None]) -> None:
        """Send what comes of each, until the watcher has gone. Nothing for a while is told with an empty text."""
        if self.service.watchers >= WATCHERS:
            raise Rejected(HTTPStatus.SERVICE_UNAVAILABLE, "too many watchers", retry_after=5.0)
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # a proxy that gathers would make it late
        self._task = asyncio.get_running_loop().create_task(self._send_all(*streams))
        self.service.watchers += 1
        try:
            with suppress(asyncio.CancelledError, StreamClosedError, TimeoutError, StoreUnavailable):
                await self._task
        finally:
            self.service.watchers -= 1

    async def _send_all(self, *streams: AsyncGenerator[bytes, None]) -> None:
        """Until one of them ends."""
        self.write(f"retry: {RECONNECT_MS}\n\n")
        await self.flush()  # a watcher of something quiet knows that it is heard
        sending = [asyncio.ensure_future(self._send(frames)) for frames in streams]
        try:
            done, _ = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in sending:
                one.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        for one in done:
            one.result()

    async def _send(self, frames: AsyncGenerator[bytes, None]) -> None:
        async with aclosing(frames):
            async for text in frames:
                self.write(text or ": \n\n")
                async with asyncio.timeout(SLOW_SECONDS):
                    await self.flush()

    def on_connection_close(self) -> None:
        if self._task is not None:
            self._task.cancel()


class NewsEvents(Events):
    """`GET /api/workflows/events`: the changes of state of all runs, as they happen. Each message is an event as JSON
    under its id, with its `run`. It begins behind the event `Last-Event-ID` (a header, which browsers send when they
    come back), or `?after=`; without one, with an event of the type `missed`, and then what comes. For each `?run=`,
    which may be given 200 times, messages named `progress` tell where it stands, at first and when something has
    happened to it, as the row that the list has of it; they have no id."""

    async def get(self) -> None:
        self.admit()
        query = read_query(self.request.query_arguments, NewsQuery)
        after = _place(self.request.headers.get("Last-Event-ID") or query.after)
        streams = [self.service.feed.follow(keys.NEWS, after, idle=BEAT_SECONDS, anew=after == START)]
        if query.run:
            streams.append(self._progress(query.run))
        await self.send_stream(*streams)

    async def _progress(self, runs: Sequence[str]) -> AsyncGenerator[bytes, None]:
        names = {keys.run_key(run, "events"): run for run in runs}
        moves = self.service.feed.stirred(names, idle=BEAT_SECONDS, gather=GATHER_SECONDS)
        async with aclosing(moves):
            async for moved in moves:
                wanted = [run for name, run in names.items() if name in moved]
                found = await self.service.call(listing.rows, self.service.client.redis, wanted) if wanted else ()
                yield b"".join(f"event: progress\ndata: {row.model_dump_json()}\n\n".encode() for row in found)


class RunEvents(Events):
    """`GET /api/workflows/<id>/events`: what happens to a run, as it happens. Each message is one event of
    `messages.models` as JSON, under its id. It begins behind the event `Last-Event-ID` (a header, which browsers send
    when they come back), or `?after=` (such as the `cursor` of the document of a run), else at the first one. An id
    that is newer than anything that has happened means from the first one too. Without `?follow=false`, which ends with
    what has happened so far, it goes on beyond the end of the run: a retry opens it again. With `?logs=true`
    messages named `log` tell from then on which step has logged, and as `state` how many lines so far; they have no
    id."""

    async def get(self, run: str) -> None:
        self.admit()
        query = read_query(self.request.query_arguments, EventsQuery)
        after = _place(self.request.headers.get("Last-Event-ID") or query.after)
        await self.service.call(lambda: self.service.client.reader.state(run))
        feed, name = self.service.feed, keys.run_key(run, "events")
        if not query.follow:
            await self.send_stream(feed.replay(name, after))
            return
        streams = [feed.follow(name, after, idle=BEAT_SECONDS)]
        if query.logs:
            streams.append(_named(b"log", feed.follow(keys.run_key(run, "said"), START, idle=BEAT_SECONDS, anew=True)))
        await self.send_stream(*streams)


async def _named(name: bytes, frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Frames with a name instead of an id: a watcher who comes back names the last id of the main stream."""
    async with aclosing(frames):
        async for text in frames:
            yield re.sub(rb"^id: .*", b"event: " + name, text, flags=re.MULTILINE)


def _place(text: str) -> Place:
    try:
        return place_of(text) if text else START
    except ValueError as error:
        raise Rejected(HTTPStatus.BAD_REQUEST, f"Last-Event-ID: {error}") from None
