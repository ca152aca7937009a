"""The client for asyncio: nothing of it blocks the event loop."""

from __future__ import annotations

import asyncio
import builtins
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

from orchestrator import keys
from orchestrator.batch import AsyncBatchProcessor, BatchLimits
from orchestrator.client.batches import Submission, submissions
from orchestrator.client.blocking import Client
from orchestrator.client.handle import RunHandle
from orchestrator.connection import connect_async, guarded
from orchestrator.context.lock_models import LockStatus
from orchestrator.context.merge_models import ABSENT
from orchestrator.context.models import ContextConflict, Difference, Version
from orchestrator.engine.runtime import message_limits
from orchestrator.errors import Cancelled, WaitTimeout
from orchestrator.messages.channel import BLOCK_MS
from orchestrator.messages.coroutines import AsyncChannel, look, newest
from orchestrator.messages.cursor import Cursor
from orchestrator.messages.models import Event
from orchestrator.run.models import LogLine, RunState, RunStatus, RunSummary
from orchestrator.workflow.builder import PATTERN_STEP, Named

T = TypeVar("T")


class AsyncClient:
    """The same for asyncio: nothing blocks the event loop. Writes and one-off reads go through a thread; waiting
    and following do not hold one."""

    def __init__(self, store_url: str | None = None, *, broker_url: str | None = None) -> None:
        self.sync = Client(store_url, broker_url=broker_url)
        self._redis = connect_async(self.sync.store_url)

    async def _in_thread(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await asyncio.to_thread(call, *args, **kwargs)

    async def submit(
        self,
        workflow: Any,
        inputs: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        sequential: bool | None = None,
    ) -> AsyncRunHandle:
        """As `Client.submit`."""
        handle = await self._in_thread(
            self.sync.submit, workflow, inputs, idempotency_key=idempotency_key, sequential=sequential
        )
        return AsyncRunHandle(self, handle)

    async def submit_many(
        self,
        workflow: Any,
        inputs: Iterable[Mapping[str, Any]],
        *,
        idempotency_keys: Iterable[str | None] | None = None,
        sequential: bool | None = None,
    ) -> builtins.list[AsyncRunHandle]:
        """As `Client.submit_many`."""
        handles = await self._in_thread(
            self.sync.submit_many, workflow, inputs, idempotency_keys=idempotency_keys, sequential=sequential
        )
        return [AsyncRunHandle(self, handle) for handle in handles]

    def batching(self, limits: BatchLimits | None = None) -> AsyncBatchProcessor[Submission, AsyncRunHandle]:
        """As `Client.batching`, for the coroutines of an event loop."""
        start = submissions(self.sync)

        async def handle(batch: Sequence[Submission]) -> Sequence[AsyncRunHandle | BaseException]:
            outcomes = await self._in_thread(start, batch)
            return [one if isinstance(one, BaseException) else AsyncRunHandle(self, one) for one in outcomes]

        return AsyncBatchProcessor({"submit": handle}, limits=limits)

    async def scatter_gather(
        self, items: Iterable[Any] | AsyncIterable[Any], agent: str | Named, **options: Any
    ) -> AsyncRunHandle:
        """As `Client.scatter_gather`; items may come from coroutines, too. Who cancels this stops feeding: the run then
        waits for the rest, until the same call with its `idempotency_key` goes on, or it is cancelled itself."""
        return await self._feeding(items, lambda fed: self.sync.scatter_gather(fed, agent, **options))

    async def pipeline(
        self, items: Iterable[Any] | AsyncIterable[Any], stages: Sequence[Mapping[str, Any]], **options: Any
    ) -> AsyncRunHandle:
        """As `Client.pipeline`, and `scatter_gather` here."""
        return await self._feeding(items, lambda fed: self.sync.pipeline(fed, stages, **options))

    async def fork_join(
        self, data: Sequence[Any], forks: int, agent: str | Named, merge: str | Named | None = None, **options: Any
    ) -> AsyncRunHandle:
        """As `Client.fork_join`."""
        handle = await self._in_thread(self.sync.fork_join, data, forks, agent, merge, **options)
        return AsyncRunHandle(self, handle)

    async def _feeding(
        self, items: Iterable[Any] | AsyncIterable[Any], feed: Callable[[Iterable[Any]], RunHandle]
    ) -> AsyncRunHandle:
        """Feed in a thread, which ends with the task that waits for it."""
        stop = threading.Event()
        fed = _until(stop, items if isinstance(items, Iterable) else _in_step(items, asyncio.get_running_loop()))
        try:
            return AsyncRunHandle(self, await self._in_thread(feed, fed))
        finally:
            stop.set()

    async def get(self, run_id: str) -> AsyncRunHandle:
        """As `Client.get`."""
        return AsyncRunHandle(self, await self._in_thread(self.sync.get, run_id))

    async def list(self, *, state: str | None = None, workflow: str | None = None, limit: int = 50) -> list[RunSummary]:
        """As `Client.list`."""
        return await self._in_thread(self.sync.list, state=state, workflow=workflow, limit=limit)

    @property
    def messages(self) -> AsyncChannel:
        """As `Client.messages`. The settings of its limits are those that the client knows."""
        return AsyncChannel(self._redis, limits=message_limits(self.sync.settings))

    async def events(self, after: str = "$", *, follow: bool = True) -> AsyncIterator[Event]:
        """As `Client.events`."""
        cursor = Cursor(keys.NEWS, await newest(self._redis, keys.NEWS) if after == "$" else after)
        while (found := await look(self._redis, cursor, BLOCK_MS if follow else None)) or follow:
            for event in found:
                yield event

    async def close(self) -> None:
        """Release all connections."""
        await self._redis.aclose()
        await self._in_thread(self.sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _until(stop: threading.Event, items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        if stop.is_set():
            raise Cancelled("nobody waits for these items any more")
        yield item


def _in_step(items: AsyncIterable[Any], loop: asyncio.AbstractEventLoop) -> Iterator[Any]:
    """What coroutines give, one item after another, for a thread that is not the loop's."""
    iterator = aiter(items)
    while (item := asyncio.run_coroutine_threadsafe(_next(iterator), loop).result()) is not _END:
        yield item


async def _next(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator, _END)


_END = object()


class AsyncRunHandle:
    """One run, for asyncio."""

    def __init__(self, client: AsyncClient, handle: RunHandle) -> None:
        self._client = client
        self._handle = handle
        self.id = handle.id

    async def status(self) -> RunStatus:
        """As `RunHandle.status`."""
        return await asyncio.to_thread(self._handle.status)

    async def result(self) -> dict[str, Any]:
        """As `RunHandle.result`."""
        return await asyncio.to_thread(self._handle.result)

    async def items(self, step: str = PATTERN_STEP) -> AsyncIterator[Any]:
        """As `RunHandle.items`."""
        rows = await asyncio.to_thread(self._handle.items, step)
        while (item := await asyncio.to_thread(next, rows, _END)) is not _END:
            yield item

    async def context(self, version: int | str | None = None) -> dict[str, Any]:
        """As `RunHandle.context`."""
        return await asyncio.to_thread(self._handle.context, version)

    async def marks(self, version: int | str | None = None) -> dict[str, str]:
        """As `RunHandle.marks`."""
        return await asyncio.to_thread(self._handle.marks, version)

    async def history(self, limit: int = 100) -> list[Version]:
        """As `RunHandle.history`."""
        return await asyncio.to_thread(self._handle.history, limit)

    async def diff(self, a: int | str, b: int | str) -> list[Difference]:
        """As `RunHandle.diff`."""
        return await asyncio.to_thread(self._handle.diff, a, b)

    async def restore(self, version: int | str) -> int:
        """As `RunHandle.restore`."""
        return await asyncio.to_thread(self._handle.restore, version)

    async def locks(self) -> dict[str, LockStatus]:
        """As `RunHandle.locks`."""
        return await asyncio.to_thread(self._handle.locks)

    async def conflicts(self) -> list[ContextConflict]:
        """As `RunHandle.conflicts`."""
        return await asyncio.to_thread(self._handle.conflicts)

    async def resolve(self, conflict_id: str, choice: str | None = None, *, value: Any = ABSENT) -> ContextConflict:
        """As `RunHandle.resolve`."""
        return await asyncio.to_thread(self._handle.resolve, conflict_id, choice, value=value)

    async def artifacts(self) -> dict[str, bytes]:
        """As `RunHandle.artifacts`."""
        return await asyncio.to_thread(self._handle.artifacts)

    async def logs(self, step: str, attempt: int | None = None) -> list[LogLine]:
        """As `RunHandle.logs`."""
        return await asyncio.to_thread(self._handle.logs, step, attempt)

    async def cancel(self, reason: str = "") -> RunState:
        """As `RunHandle.cancel`."""
        return await asyncio.to_thread(self._handle.cancel, reason)

    async def pause(self) -> RunState:
        """As `RunHandle.pause`."""
        return await asyncio.to_thread(self._handle.pause)

    async def resume(self) -> RunState:
        """As `RunHandle.resume`."""
        return await asyncio.to_thread(self._handle.resume)

    async def retry(self, step: str | None = None, *, failed: bool = False) -> RunState:
        """As `RunHandle.retry`."""
        return await asyncio.to_thread(self._handle.retry, step, failed=failed)

    async def watch(self) -> AsyncIterator[RunStatus]:
        """As `RunHandle.watch`."""
        key = keys.run_key(self.id, "events")
        cursor = Cursor(key, await newest(self._client._redis, key))
        status = await self.status()
        yield status
        while not status.ended:
            if await look(self._client._redis, cursor, BLOCK_MS):
                while await look(self._client._redis, cursor, None):
                    continue
                status = await self.status()
                yield status

    @property
    def messages(self) -> AsyncChannel:
        """As `RunHandle.messages`."""
        return AsyncChannel(self._client._redis, self.id, message_limits(self._client.sync.settings))

    async def wait(self, timeout: float | None = None) -> RunStatus:  # noqa: ASYNC109 - as the blocking one
        """As `RunHandle.wait`."""
        try:
            async with asyncio.timeout(timeout):
                while not await self._ended():
                    pass
        except TimeoutError as error:
            raise WaitTimeout(f"run {self.id} has not ended within {timeout:g} s") from error
        return await self.status()

    async def _ended(self) -> bool:
        if (await self.status()).ended:
            return True
        with guarded():
            entry = await self._client._redis.xread({keys.run_key(self.id, "end"): "0"}, count=1, block=BLOCK_MS)
        return bool(entry)

    async def events(self, after: str = "0", *, follow: bool = True) -> AsyncIterator[Event]:
        """As `RunHandle.events`."""
        cursor = Cursor(keys.run_key(self.id, "events"), after)
        wait = follow
        while True:
            found = await look(self._client._redis, cursor, BLOCK_MS if wait else None)
            for event in found:
                yield event
                wait = follow and not event.ends_run
            if not found:
                if not follow or (await self.status()).ended:
                    return
                wait = True
