"""Batches of operations: nothing that was handed in stays without an answer, and nobody pays for a neighbour."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from orchestrator.batch import (
    AsyncBatchProcessor,
    BatchError,
    BatchLimits,
    BatchProcessor,
    ItemRetry,
    NotFlushed,
)
from orchestrator.errors import BackpressureError, NotFound, OrchestratorError, StoreUnavailable

SOON = ItemRetry(maximum_attempts=3, initial_interval=0.001, maximum_interval=0.001)
HOURS = BatchLimits(timeout=3600, size=3)


class Recorder:
    """Doubles numbers. A batch with 13 is refused whole; 7 alone is told of; the first `away` calls find no server."""

    def __init__(self, away: int = 0) -> None:
        self.batches: list[list[int]] = []
        self.away = away

    def __call__(self, items: Sequence[int]) -> list[int | BaseException]:
        self.batches.append(list(items))
        if len(self.batches) <= self.away:
            raise StoreUnavailable("away")
        if 13 in items:
            raise ValueError("13 is refused")
        return [KeyError(item) if item == 7 else item * 2 for item in items]


def test_a_batch_leaves_full_or_flushed_and_each_type_apart() -> None:
    twos, others = Recorder(), Recorder()
    with BatchProcessor({"twos": twos, "others": others}, limits=HOURS) as processor:
        full = [processor.add("twos", number) for number in (1, 2, 3)]
        alone = processor.add("others", 4)
        assert [one.result(60) for one in full] == [2, 4, 6]
        assert twos.batches == [[1, 2, 3]]
        assert not alone.done()
        with pytest.raises(TimeoutError):
            alone.result(0.001)
        assert processor.flush(10)
        assert alone.result(0) == 8
        assert processor.under_way("others") == 0
    with pytest.raises(OrchestratorError, match="closed"):
        processor.add("twos", 1)


def test_a_batch_is_bounded_in_bytes() -> None:
    recorder = Recorder()
    limits = BatchLimits(timeout=3600, size=100, bytes=10, latency=7200)  # however slow the machine
    with BatchProcessor({"n": recorder}, limits=limits, size_of=lambda item: item) as processor:
        assert [processor.add("n", number).result(60) for number in (10, 25)] == [20, 50], "more than fits goes alone"
        asked = [processor.add("n", number) for number in (4, 5, 6)]
        assert [asked[0].result(60), asked[1].result(60), asked[2].done()] == [8, 10, False]
    assert recorder.batches == [[10], [25], [4, 5], [6]]


def test_an_item_that_fails_or_is_refused_leaves_its_neighbours_alone() -> None:
    recorder = Recorder()
    with BatchProcessor({"n": recorder}, limits=BatchLimits(timeout=3600, size=8), retry=SOON) as processor:
        asked = {number: processor.add("n", number) for number in (1, 2, 7, 4, 13, 6, 8, 9)}
        errors = {number: type(one.exception(60)) for number, one in asked.items()}
    assert errors == dict.fromkeys((1, 2, 4, 6, 8, 9), type(None)) | {7: KeyError, 13: ValueError}
    assert recorder.batches.count([13]) == 1, "what is refused for good is not tried again"


def test_what_fails_in_passing_is_tried_again_and_not_for_ever() -> None:
    for away, outcome in ((2, None), (9, StoreUnavailable)):
        recorder = Recorder(away)
        with BatchProcessor({"n": recorder}, limits=HOURS, retry=SOON) as processor:
            asked = [processor.add("n", number) for number in (1, 2, 3)]
            assert [type(one.exception(60)) for one in asked] == [outcome or type(None)] * 3
        assert sum(map(len, recorder.batches)) == 9, "three attempts of three items"


def test_wrong_answers_and_exits_of_a_handler_are_errors_of_its_items() -> None:
    def short(items: Sequence[int]) -> list[int]:
        return [1]

    def leaving(items: Sequence[int]) -> list[int]:
        raise SystemExit(1)

    with BatchProcessor({"short": short, "leaving": leaving}, limits=HOURS) as processor:
        asked = [processor.add("short", number) for number in (1, 2, 3)]
        assert [type(one.exception(60)) for one in asked] == [BatchError] * 3
        left = [processor.add("leaving", number) for number in (1, 2, 3)]
        assert [type(one.exception(60)) for one in left] == [SystemExit] * 3


def test_who_adds_waits_for_room_and_the_end_reports_what_is_left() -> None:
    gate, entered = threading.Event(), threading.Event()

    def held(items: Sequence[int]) -> Sequence[int]:
        entered.set()
        gate.wait(60)
        return items

    processor = BatchProcessor({"n": held}, limits=BatchLimits(timeout=30, size=2, queue=3))
    asked = [processor.add("n", number) for number in (1, 2)]
    assert entered.wait(60)
    asked.append(processor.add("n", 3))
    with pytest.raises(BackpressureError) as refused:
        processor.add("n", 4, timeout=0.01)
    assert refused.value.retry_after > 0
    left = processor.close(0.01)
    assert {(one.item, one.uncertain) for one in left} == {(1, True), (2, True), (3, False)}
    for one in asked:
        with pytest.raises(NotFlushed):
            one.result(0)
    gate.set()


def test_an_unknown_type_is_named_with_what_was_meant() -> None:
    with BatchProcessor({"metrics": Recorder()}) as processor, pytest.raises(NotFound, match="did you mean 'metrics'"):
        processor.add("metric", 1)


def test_threads_share_one_processor_and_lose_nothing() -> None:
    recorder = Recorder()
    with BatchProcessor({"n": recorder}, limits=BatchLimits(size=50, queue=100)) as processor:
        found: dict[int, int] = {}

        def work(first: int) -> None:
            asked = {number: processor.add("n", number) for number in range(first, 4000, 4) if number not in (7, 13)}
            found.update({number: one.result(60) for number, one in asked.items()})

        threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {number: 2 * number for number in range(4000) if number not in (7, 13)}
    assert len(recorder.batches) < 1000
    assert sorted(number for batch in recorder.batches for number in batch) == sorted(found)


def test_the_same_for_asyncio() -> None:
    recorder = Recorder(1)
    gate = asyncio.Event()

    async def handle(items: Sequence[int]) -> list[int | BaseException]:
        return recorder(items)

    async def held(items: Sequence[int]) -> Sequence[int]:
        await gate.wait()
        return items

    async def go() -> None:
        limits = BatchLimits(timeout=0.001, size=8, queue=8)
        async with AsyncBatchProcessor({"n": handle}, limits=limits, retry=SOON) as processor:
            asked = {number: await processor.add("n", number) for number in (*range(20), 13)}
            done = dict(zip(asked, await asyncio.gather(*asked.values(), return_exceptions=True), strict=True))
            await processor.flush()
            assert processor.under_way("n") == 0
        assert {number: type(one) for number, one in done.items() if not isinstance(one, int)} == {
            7: KeyError,
            13: ValueError,
        }
        assert all(one == number * 2 for number, one in done.items() if isinstance(one, int))
        stuck: AsyncBatchProcessor[int, int] = AsyncBatchProcessor({"n": held}, limits=limits)
        waiting = await stuck.add("n", 1)
        for number in range(7):
            await stuck.add("n", number)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stuck.add("n", 9), 0.01)
        left = await stuck.close(0.01)
        assert len(left) == 8
        assert any(one.uncertain for one in left)
        with pytest.raises(NotFlushed):
            await waiting

    asyncio.run(go())
