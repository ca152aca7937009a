"""The items of one operation type on their way through batches. It has no clock, no thread and no event loop: whoever
drives it says what time it is and takes what is due."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from orchestrator.batch.policy import BatchLimits, ItemRetry, Waiting, due_in, next_size, retry_in
from orchestrator.errors import BackpressureError, OrchestratorError, StoreUnavailable

T = TypeVar("T")
R = TypeVar("R")

PASSING = (StoreUnavailable, BackpressureError, ConnectionError, TimeoutError)
"""Errors after which an item is tried again, unless the caller says otherwise."""


class BatchError(OrchestratorError):
    """A handler gave another number of outcomes than it was given items."""


def wrong_count(given: int, answered: int) -> BatchError:
    """The error of every item of such a batch."""
    return BatchError(f"the handler was given {given} items and answered with {answered} outcomes")


class Entry(Generic[T]):
    """One item on its way. `error` is that of its last attempt."""

    __slots__ = ("added_at", "attempts", "error", "item", "size")

    def __init__(self, item: T, size: int, added_at: float) -> None:
        self.item = item
        self.size = size
        self.added_at = added_at
        self.attempts = 0
        self.error: BaseException | None = None


E = TypeVar("E", bound=Entry[Any])


class Lane(Generic[E, R]):
    """Waiting items in the order of adding, those that wait for their next attempt, and those that a handler has.

    A handler that raises has done nothing: for a passing error all its items are tried again; for any other the batch
    is halved until the item is alone that the error belongs to.
    """

    def __init__(
        self,
        limits: BatchLimits,
        retry: ItemRetry,
        passing: Callable[[BaseException], bool] = lambda error: isinstance(error, PASSING),
    ) -> None:
        self.limits = limits
        self.retry = retry
        self._capacity, self._most = limits.queue, limits.bytes
        self.size = limits.size
        self.open = 0
        """Items that were put in and whose outcome is not known."""
        self.draining = False
        self._passing = passing
        self._waiting: deque[E] = deque()
        self._bytes = 0
        self._halves: deque[list[E]] = deque()
        self._later: list[tuple[float, int, E]] = []
        self._number = itertools.count()

    @property
    def full(self) -> bool:
        return self.open >= self._capacity

    def put(self, entry: E) -> bool:
        """Take an item; True when whoever drives this lane sleeps for too long now."""
        self.open += 1
        self._waiting.append(entry)
        self._bytes += entry.size
        return len(self._waiting) in (1, self.size) or self._bytes >= self._most

    def due_in(self, now: float) -> float | None:
        """Seconds until `take` gives something; None while there is nothing."""
        if self._halves:
            return 0.0
        self._return(now)
        oldest = now - self._waiting[0].added_at if self._waiting else 0.0
        waiting = Waiting(len(self._waiting), self._bytes, oldest, self.size, self.draining)
        soon = due_in(self.limits, waiting)
        if not self._later:
            return soon
        again = max(0.0, self._later[0][0] - now)
        return again if soon is None else min(soon, again)

    def take(self, now: float) -> list[E]:
        """The next batch; empty when it is not time."""
        if self._halves:
            taken = self._halves.popleft()
        else:
            if self.due_in(now) != 0.0:
                return []
            taken, size = [], 0
            while self._waiting and len(taken) < self.size:
                size += self._waiting[0].size
                if taken and size > self.limits.bytes:
                    break
                taken.append(self._waiting.popleft())
            self._bytes -= sum(entry.size for entry in taken)
        return taken

    def settle(
        self, taken: list[E], outcomes: Sequence[R | BaseException], now: float, seconds: float, chance: float
    ) -> list[tuple[E, R | BaseException]]:
        """A handler has answered after `seconds`; returns the items that are done with, each with its outcome."""
        if len(outcomes) != len(taken):
            outcomes = [wrong_count(len(taken), len(outcomes))] * len(taken)
        left = len(self._waiting)
        self.size = next_size(self.limits, size=self.size, taken=len(taken), seconds=seconds, left=left)
        return self._done(taken, outcomes, now, chance)

    def _done(
        self, taken: list[E], outcomes: Sequence[R | BaseException], now: float, chance: float
    ) -> list[tuple[E, R | BaseException]]:
        done = [
            (entry, outcome)
            for entry, outcome in zip(taken, outcomes, strict=True)
            if not isinstance(outcome, BaseException) or not self._put_off(entry, outcome, now, chance)
        ]
        self.open -= len(done)
        return done

    def settle_error(
        self, taken: list[E], error: BaseException, now: float, chance: float
    ) -> list[tuple[E, R | BaseException]]:
        """A handler has raised."""
        if len(taken) > 1 and not self._passing(error):
            middle = len(taken) // 2
            self._halves.extendleft((taken[middle:], taken[:middle]))
            return []
        return self._done(taken, [error] * len(taken), now, chance)

    def drop(self) -> list[E]:
        """Give up what no handler has; returns it."""
        left = [*itertools.chain(*self._halves), *self._waiting, *(entry for _, _, entry in sorted(self._later))]
        self._halves.clear()
        self._waiting.clear()
        self._later.clear()
        self._bytes = 0
        self.open -= len(left)
        return left

    def _put_off(self, entry: E, error: BaseException, now: float, chance: float) -> bool:
        entry.attempts += 1
        entry.error = error
        if not self._passing(error):
            return False
        delay = retry_in(self.retry, entry.attempts, chance)
        if delay is None:
            return False
        heapq.heappush(self._later, (now + delay, next(self._number), entry))
        return True

    def _return(self, now: float) -> None:
        """Those whose time has come again go first: they have waited longest."""
        while self._later and self._later[0][0] <= now:
            entry = heapq.heappop(self._later)[2]
            self._waiting.appendleft(entry)
            self._bytes += entry.size
