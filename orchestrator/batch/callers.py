"""Batches without a thread of their own: for operations that are all there already, and for threads that each wait for
one. Nobody waits for more to come."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar, cast

from orchestrator.batch.lane import PASSING, BatchError, Entry, Lane, wrong_count
from orchestrator.batch.policy import BatchLimits, ItemRetry
from orchestrator.batch.threads import Handler

T = TypeVar("T")
R = TypeVar("R")


def do_all(
    handler: Handler[T, R],
    items: Iterable[T],
    *,
    limits: BatchLimits | None = None,
    retry: ItemRetry | None = None,
    passing: Callable[[BaseException], bool] = lambda error: isinstance(error, PASSING),
    size_of: Callable[[T], int] | None = None,
) -> list[R | BaseException]:
    """Do operations in batches, here and now; returns the result or error of each, in their order.

    As `BatchProcessor` does, and by the same rules: batches of `limits` size and bytes, an error alone with its item,
    what failed in passing is tried again.
    """
    lane: Lane[Entry[T], R] = Lane(limits or BatchLimits(), retry or ItemRetry(), passing)
    lane.draining = True
    begun = time.monotonic()
    entries = [Entry(item, 0 if size_of is None else size_of(item), begun) for item in items]
    for entry in entries:
        lane.put(entry)
    outcomes: dict[int, R | BaseException] = {}
    while lane.open:
        time.sleep(lane.due_in(time.monotonic()) or 0.0)
        taken = lane.take(time.monotonic())
        if taken:
            outcomes.update((id(entry), outcome) for entry, outcome in _done(lane, taken, handler))
    return [outcomes[id(entry)] for entry in entries]


def _done(
    lane: Lane[Entry[T], R], taken: list[Entry[T]], handler: Handler[T, R]
) -> list[tuple[Entry[T], R | BaseException]]:
    begun, chance = time.monotonic(), random.random()  # noqa: S311 - spreads retries
    try:
        answers = handler([entry.item for entry in taken])
    except Exception as error:  # noqa: BLE001 - whatever it raises is an answer
        return lane.settle_error(taken, error, time.monotonic(), chance)
    now = time.monotonic()
    return lane.settle(taken, answers, now, now - begun, chance)


class _Waiting(Generic[T, R]):
    __slots__ = ("item", "leads", "outcome", "told")

    def __init__(self, item: T) -> None:
        self.item = item
        self.leads = False
        self.told = threading.Lock()
        self.told.acquire()
        self.outcome: R | BaseException | None = None


class GroupCommit(Generic[T, R]):
    """What threads do at the same time goes in batches; who is alone waits for nobody. Databases call it so.

    A thread does its own operation at once, as long as fewer than `at_once` are on their way. Otherwise it waits until
    one of those is back; the one that has waited longest then takes along all that have come meanwhile, at most `size`.
    An error is raised in the thread whose item it belongs to; nothing is tried again here.
    """

    def __init__(self, handler: Handler[T, R], *, size: int = 500, at_once: int = 2) -> None:
        self._handler, self._size, self._at_once = handler, size, at_once
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._on_their_way = 0

    def __call__(self, item: T) -> R:
        """The item's result; its error is raised."""
        mine: _Waiting[T, R] | None = None
        with self._lock:
            if self._on_their_way < self._at_once:
                self._on_their_way += 1
            else:
                mine = _Waiting(item)
                self._waiting.append(mine)
        if mine is None:
            try:
                outcome = _outcomes(self._handler, [item])[0]
            finally:
                self._hand_on()
        else:
            self._wait(mine)
            if mine.leads:
                self._lead(mine)
            outcome = cast("R | BaseException", mine.outcome)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _wait(self, mine: _Waiting[T, R]) -> None:
        try:
            mine.told.acquire()
        except BaseException:  # this thread is interrupted: its place is not to be lost with it
            with self._lock:
                if mine in self._waiting:
                    self._waiting.remove(mine)
            if mine.leads:
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._on_their_way -= 1
                return
            leader = self._waiting.popleft()
            leader.leads = True
        leader.told.release()

    def _lead(self, mine: _Waiting[T, R]) -> None:
        with self._lock:
            rest = [self._waiting.popleft() for _ in range(min(self._size - 1, len(self._waiting)))]
        lost: Any = BatchError("the thread that did this with others was interrupted; nobody knows whether it was done")
        outcomes = [lost] * (1 + len(rest))
        try:
            outcomes = _outcomes(self._handler, [mine.item, *(one.item for one in rest)])
        finally:
            for one, outcome in zip((mine, *rest), outcomes, strict=True):
                one.outcome = outcome
                one.told.release()
            self._hand_on()


def _outcomes(handler: Handler[T, R], items: Sequence[T]) -> list[R | BaseException]:
    try:
        outcomes = list(handler(items))
    except Exception as error:  # noqa: BLE001 - whatever it raises is an answer to all of them
        return [error] * len(items)
    if len(outcomes) != len(items):
        return [wrong_count(len(items), len(outcomes))] * len(items)
    return outcomes
