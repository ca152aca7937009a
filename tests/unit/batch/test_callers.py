"""Batches by those who wait for them: all at hand, or from threads that come at the same time."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.batch import BatchError, BatchLimits, GroupCommit, ItemRetry, do_all
from orchestrator.errors import StoreUnavailable
from tests.unit.batch.test_processor import SOON, Recorder


def doubled(item: int) -> tuple[type, object]:
    return {7: (KeyError, 7), 13: (ValueError, "13 is refused")}.get(item, (int, item * 2))


def told(outcome: object) -> tuple[type, object]:
    return type(outcome), outcome.args[0] if isinstance(outcome, Exception) else outcome


@settings(max_examples=40)
@given(st.lists(st.integers(0, 15), max_size=40), st.integers(1, 9), st.integers(0, 2))
def test_all_have_their_own_outcome_in_their_order(items: list[int], size: int, away: int) -> None:
    recorder = Recorder(away)
    limits = BatchLimits(timeout=3600, size=size, latency=3600)
    outcomes = do_all(recorder, items, limits=limits, retry=ItemRetry(initial_interval=1e-6))
    assert [told(outcome) for outcome in outcomes] == [doubled(item) for item in items]
    assert all(len(batch) <= size for batch in recorder.batches)
    answered = Counter(item for batch in recorder.batches[away:] if 13 not in batch for item in batch)
    assert answered == Counter(item for item in items if item != 13), "each is done once"


def test_bytes_bound_batches_and_retries_end() -> None:
    recorder = Recorder()
    do_all(recorder, [3, 3, 5, 2, 20], limits=BatchLimits(bytes=10), size_of=lambda item: item)
    assert recorder.batches == [[3, 3], [5, 2], [20]]
    gone = Recorder(away=99)
    (outcome,) = do_all(gone, [1], retry=SOON)
    assert (type(outcome), len(gone.batches)) == (StoreUnavailable, 3)


@pytest.mark.parametrize("at_once", [1, 3])
def test_threads_that_come_together_share_batches_and_each_gets_its_own(at_once: int) -> None:
    lock, now, most, done = threading.Lock(), [0], [0], Counter[int]()

    def handle(items: Sequence[int]) -> list[int | BaseException]:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            done.update(items)
        assert len(items) <= 5
        with lock:
            now[0] -= 1
        return [KeyError(item) if item % 50 == 7 else -item for item in items]

    together: GroupCommit[int, int] = GroupCommit(handle, size=5, at_once=at_once)

    def call(item: int) -> int:
        try:
            return together(item)
        except KeyError as error:
            return int(error.args[0]) * 1000

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(call, range(2000)))
    finally:
        sys.setswitchinterval(interval)
    assert answers == [item * 1000 if item % 50 == 7 else -item for item in range(2000)]
    assert set(done.values()) == {1}
    assert most[0] <= at_once
    assert together._on_their_way == 0


def test_who_leads_and_is_interrupted_leaves_nobody_waiting() -> None:
    begun, go, batches = threading.Event(), threading.Event(), list[int]()

    def handle(items: Sequence[int]) -> list[int]:
        batches.append(len(items))
        if len(batches) == 1:
            begun.set()
            go.wait(30)
        if len(batches) == 2:
            raise SystemExit
        return list(items)

    together: GroupCommit[int, int] = GroupCommit(handle, at_once=1)
    found: list[object] = []

    def call(item: int) -> None:
        try:
            found.append(together(item))
        except BaseException as error:  # noqa: BLE001 - what a thread ends with
            found.append(type(error))

    threads = [threading.Thread(target=call, args=(item,)) for item in range(4)]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(together._waiting) < 3:  # nothing else changes until the first one goes on
        threads[0].join(0.001)
    go.set()
    for thread in threads:
        thread.join(30)
    assert batches == [1, 3]
    assert Counter(found) == {0: 1, SystemExit: 1, BatchError: 2}
    assert together(9) == 9
