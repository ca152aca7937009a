"""The batch processor for code that blocks: a thread for each operation type hands its batches over."""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

from msgspec import Struct

from orchestrator.batch.lane import PASSING, Entry, Lane
from orchestrator.batch.policy import BatchLimits, ItemRetry
from orchestrator.errors import BackpressureError, NotFound, OrchestratorError
from orchestrator.problems import did_you_mean

T = TypeVar("T")
R = TypeVar("R")
D = TypeVar("D")
Handler = Callable[[Sequence[T]], Sequence["R | BaseException"]]
"""Does a batch; answers with one outcome for each item, in their order: its result, or the error it alone has. It
raises only when it has done nothing."""

EXIT_SECONDS = 5.0
log = logging.getLogger("orchestrator.batch")


class NotFlushed(OrchestratorError):
    """The batch processor was closed before this item could be done. `uncertain`: a handler had it at that moment."""

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class Left(Struct, Generic[T], frozen=True):
    """An item that was not done when the processor was closed, with the last error of its attempts. `uncertain`: a
    handler had it, and may have done it."""

    kind: str
    item: T
    error: BaseException | None
    uncertain: bool


class Pending(Entry[T], Generic[T, R]):
    """What `add` gives: the outcome of one item, once there is one. As a `concurrent.futures.Future`, at a tenth of its
    price: all that wait for items of one type share a condition."""

    __slots__ = ("_outcome", "_room")

    def __init__(self, item: T, size: int, added_at: float, room: threading.Condition) -> None:
        self.item, self.size, self.added_at = item, size, added_at  # without a call of its own: there are many
        self.attempts, self.error = 0, None
        self._room, self._outcome = room, _NONE

    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._outcome is not _NONE

    def result(self, timeout: float | None = None) -> R:
        """The item's result, or its error raised. Raises TimeoutError when there is none within `timeout` seconds."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        result: R = self._outcome
        return result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The item's error, or None. Raises TimeoutError as `result` does."""
        if self._outcome is _NONE:
            with self._room:
                if not self._room.wait_for(self.done, timeout):
                    raise TimeoutError(f"no outcome within {timeout:g} s")
        return self._outcome if isinstance(self._outcome, BaseException) else None

    def settle(self, outcome: R | BaseException) -> None:
        """The first outcome counts. For the processor, which wakes those that wait."""
        if self._outcome is _NONE:
            self._outcome = outcome


_NONE: Any = object()


class _Driven(Struct, Generic[T, R]):
    lane: Lane[Pending[T, R], R]
    handler: Handler[T, R]
    wake: threading.Condition
    room: threading.Condition
    thread: threading.Thread | None = None
    taken: Sequence[Pending[T, R]] = ()


class BatchProcessor(Generic[T, R]):
    """Does operations in batches, one type apart from the other: `handlers` maps types to what does them.

    `add` gives what will have the item's own result or error: NotFlushed when `close` runs out of time, never nothing.
    Items are handed over in the order of adding; one that is tried again may come after its neighbours. `size_of` says
    how many bytes an item has, where `limits.bytes` is to count. Safe to use from several threads; a forked child needs
    one of its own. At exit of the interpreter it is closed.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler[T, R]],
        *,
        limits: BatchLimits | Mapping[str, BatchLimits] | None = None,
        retry: ItemRetry | None = None,
        passing: Callable[[BaseException], bool] = lambda error: isinstance(error, PASSING),
        size_of: Callable[[T], int] | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._size_of = size_of
        self._pid = os.getpid()
        self._closed = self._ended = False
        self._kinds: dict[str, _Driven[T, R]] = {}
        for kind, handler in handlers.items():
            own = (limits.get(kind) if isinstance(limits, Mapping) else limits) or BatchLimits()
            lane: Lane[Pending[T, R], R] = Lane(own, retry or ItemRetry(), passing)
            self._kinds[kind] = _Driven(lane, handler, threading.Condition(self._lock), threading.Condition(self._lock))
        atexit.register(self._at_exit)

    def add(self, kind: str, item: T, *, timeout: float | None = None) -> Pending[T, R]:
        """Hand in an item; waits while too many are under way, at most `timeout` seconds (None: as long as it takes).

        Raises BackpressureError when there was no room, OrchestratorError after `close`, NotFound for an unknown type.
        """
        driven = self._kinds.get(kind) or driven_of(self._kinds, kind)
        size = 0 if self._size_of is None else self._size_of(item)
        pending: Pending[T, R] = Pending(item, size, time.monotonic(), driven.room)
        if os.getpid() != self._pid:
            raise OrchestratorError("a batch processor is of the process that made it; make another after a fork")
        with self._lock:
            if driven.lane.full and not self._closed:
                has_room = driven.room.wait_for(lambda: not driven.lane.full or self._closed, timeout)
                if not has_room:
                    raise BackpressureError(
                        f"{driven.lane.limits.queue} '{kind}' operations are under way", retry_after=0.1
                    )
            if self._closed:
                raise OrchestratorError("the batch processor is closed")
            if driven.lane.put(pending):
                driven.wake.notify()
            if driven.thread is None:
                driven.thread = threading.Thread(target=self._drive, args=(driven,), name=f"batch-{kind}", daemon=True)
                driven.thread.start()
        return pending

    def under_way(self, kind: str) -> int:
        """How many items of a type were added and are not done yet."""
        with self._lock:
            return self._kinds[kind].lane.open

    def batch_size(self, kind: str) -> int:
        """How many items a batch of a type takes at present."""
        with self._lock:
            return self._kinds[kind].lane.size

    def flush(self, timeout: float | None = None) -> bool:
        """Send what waits, and what is added meanwhile, without waiting for more; False when not everything was done
        within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            for driven in self._kinds.values():
                driven.lane.draining = True
                driven.wake.notify()
            done = [self._emptied(driven, deadline) for driven in self._kinds.values()]
            for driven in self._kinds.values():
                driven.lane.draining = self._closed
        return all(done)

    def _emptied(self, driven: _Driven[T, R], deadline: float | None) -> bool:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        return driven.room.wait_for(lambda: not driven.lane.open, left)

    def close(self, timeout: float = EXIT_SECONDS) -> list[Left[T]]:
        """Take nothing any more, send what waits, and wait for it, retries included, up to `timeout` seconds. Returns
        what could not be done; the results of those raise NotFlushed."""
        with self._lock:
            self._closed = True
            for driven in self._kinds.values():
                driven.room.notify_all()
        self.flush(timeout)
        left: list[Left[T]] = []
        with self._lock:
            self._ended = True
            for kind, driven in self._kinds.items():
                uncertain = len(driven.taken)
                for number, entry in enumerate([*driven.taken, *driven.lane.drop()]):
                    error = NotFlushed(
                        f"this '{kind}' operation was not done before the end", uncertain=number < uncertain
                    )
                    error.__cause__ = entry.error
                    entry.settle(error)
                    left.append(Left(kind, entry.item, entry.error, number < uncertain))
                driven.wake.notify()
                driven.room.notify_all()
        atexit.unregister(self._at_exit)
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        tell(self.close())

    def _at_exit(self) -> None:
        if os.getpid() == self._pid:
            tell(self.close())

    def _drive(self, driven: _Driven[T, R]) -> None:
        lane = driven.lane
        while True:
            with self._lock:
                while (wait := lane.due_in(time.monotonic())) != 0.0:
                    if self._closed and wait is None:
                        return
                    driven.wake.wait(wait)
                taken = driven.taken = lane.take(time.monotonic())
            begun = time.monotonic()
            try:
                outcomes: Any = driven.handler([entry.item for entry in taken])
                failed = None
            except BaseException as error:  # noqa: BLE001 - whatever it raises is an answer; the thread goes on
                failed = error
            now, chance = time.monotonic(), random.random()  # noqa: S311 - spreads retries
            with self._lock:
                if self._ended:
                    return  # too late: what this batch was has been reported
                driven.taken = ()
                if failed is not None:
                    done = lane.settle_error(taken, failed, now, chance)
                else:
                    done = lane.settle(taken, outcomes, now, now - begun, chance)
                for entry, outcome in done:
                    entry.settle(outcome)
                driven.room.notify_all()


def driven_of(kinds: Mapping[str, D], kind: str) -> D:
    """What drives a type. Raises NotFound."""
    if kind not in kinds:
        raise NotFound(f"no operation type is called '{kind}'; {did_you_mean(kind, kinds) or ', '.join(kinds)}")
    return kinds[kind]


def tell(left: Sequence[Left[Any]]) -> None:
    for one in left:
        log.error("a '%s' operation was not done before the end%s: %s", one.kind,
                  ", or nobody knows" if one.uncertain else "", one.error or "no time was left")  # fmt: skip
