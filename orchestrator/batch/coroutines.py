"""The batch processor for asyncio: the same lanes, driven by a task for each operation type."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, Self, TypeVar

from msgspec import Struct, field

from orchestrator.batch.lane import PASSING, Entry, Lane
from orchestrator.batch.policy import BatchLimits, ItemRetry
from orchestrator.batch.threads import EXIT_SECONDS, Left, NotFlushed, driven_of, tell
from orchestrator.errors import OrchestratorError

T = TypeVar("T")
R = TypeVar("R")
AsyncHandler = Callable[[Sequence[T]], Awaitable[Sequence["R | BaseException"]]]


class _Entry(Entry[T], Generic[T, R]):
    __slots__ = ("ticket",)

    def __init__(self, item: T, size: int, added_at: float, ticket: asyncio.Future[R]) -> None:
        super().__init__(item, size, added_at)
        self.ticket = ticket


class _Driven(Struct, Generic[T, R]):
    lane: Lane[_Entry[T, R], R]
    handler: AsyncHandler[T, R]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Condition = field(default_factory=asyncio.Condition)
    task: asyncio.Task[None] | None = None
    taken: Sequence[_Entry[T, R]] = ()


class AsyncBatchProcessor(Generic[T, R]):
    """As `BatchProcessor`, for one event loop; its handlers are coroutine functions."""

    def __init__(
        self,
        handlers: Mapping[str, AsyncHandler[T, R]],
        *,
        limits: BatchLimits | Mapping[str, BatchLimits] | None = None,
        retry: ItemRetry | None = None,
        passing: Callable[[BaseException], bool] = lambda error: isinstance(error, PASSING),
        size_of: Callable[[T], int] | None = None,
    ) -> None:
        self._size_of = size_of
        self._closed = False
        self._kinds: dict[str, _Driven[T, R]] = {}
        for kind, handler in handlers.items():
            own = (limits.get(kind) if isinstance(limits, Mapping) else limits) or BatchLimits()
            self._kinds[kind] = _Driven(Lane(own, retry or ItemRetry(), passing), handler)

    async def add(self, kind: str, item: T) -> asyncio.Future[R]:
        """Hand in an item; waits while too many are under way. The future has the item's result or error.

        Raises OrchestratorError after `close`, NotFound for an unknown type.
        """
        driven = driven_of(self._kinds, kind)
        if driven.lane.full:
            async with driven.room:
                await driven.room.wait_for(lambda: not driven.lane.full or self._closed)
        if self._closed:
            raise OrchestratorError("the batch processor is closed")
        loop = asyncio.get_running_loop()
        ticket: asyncio.Future[R] = loop.create_future()
        size = self._size_of(item) if self._size_of is not None else 0
        if driven.lane.put(_Entry(item, size, loop.time(), ticket)):
            driven.wake.set()
        if driven.task is None:
            driven.task = asyncio.create_task(self._drive(driven), name=f"batch-{kind}")
        return ticket

    def under_way(self, kind: str) -> int:
        """How many items of a type were added and are not done yet."""
        return self._kinds[kind].lane.open

    async def flush(self) -> None:
        """Send what waits without waiting for more, and wait until everything is done."""
        for driven in self._kinds.values():
            driven.lane.draining = True
            driven.wake.set()
        for driven in self._kinds.values():
            async with driven.room:
                await driven.room.wait_for(lambda lane=driven.lane: not lane.open)  # type: ignore[misc]
            driven.lane.draining = self._closed

    async def close(self, timeout: float = EXIT_SECONDS) -> list[Left[T]]:  # noqa: ASYNC109 - as the blocking one
        """As `BatchProcessor.close`."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.flush()
        left: list[Left[T]] = []
        for kind, driven in self._kinds.items():
            open_ = [(one, True) for one in driven.taken] + [(one, False) for one in driven.lane.drop()]
            for entry, uncertain in open_:
                left.append(Left(kind, entry.item, entry.error, uncertain))
                _resolve(entry.ticket, NotFlushed(f"this '{kind}' operation was not done before the end",
                                                  uncertain=uncertain))  # fmt: skip
            if driven.task is not None:
                driven.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await driven.task
            async with driven.room:
                driven.room.notify_all()
        return left

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tell(await self.close())

    async def _drive(self, driven: _Driven[T, R]) -> None:
        lane, loop = driven.lane, asyncio.get_running_loop()
        while True:
            driven.wake.clear()
            while (wait := lane.due_in(loop.time())) != 0.0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await driven.wake.wait()
                driven.wake.clear()
            taken = driven.taken = lane.take(loop.time())
            begun, chance = loop.time(), random.random()  # noqa: S311 - spreads retries
            try:
                outcomes = await driven.handler([entry.item for entry in taken])
            except Exception as error:  # noqa: BLE001 - whatever it raises is an answer
                done = lane.settle_error(taken, error, loop.time(), chance)
            else:
                done = lane.settle(taken, outcomes, loop.time(), loop.time() - begun, chance)
            driven.taken = ()
            for entry, outcome in done:
                _resolve(entry.ticket, outcome)
            async with driven.room:
                driven.room.notify_all()


def _resolve(ticket: asyncio.Future[R], outcome: R | BaseException) -> None:
    if ticket.done():
        return
    if isinstance(outcome, BaseException):
        ticket.set_exception(outcome)
        ticket.exception()  # looked at: whoever does not ask for it is not told by the event loop's log
    else:
        ticket.set_result(outcome)
