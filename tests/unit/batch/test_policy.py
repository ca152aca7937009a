"""When batches leave and how large they get."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batch.policy import BatchLimits, ItemRetry, Waiting, due_in, next_size, retry_in

LIMITS = BatchLimits(size=100, timeout=0.005, bytes=1000, latency=0.01)


@pytest.mark.parametrize(
    ("waiting", "seconds"),
    [
        (Waiting(count=0, bytes=0, oldest=0, size=10), None),
        (Waiting(count=1, bytes=1, oldest=0.002, size=10), pytest.approx(0.003)),
        (Waiting(count=1, bytes=1, oldest=7, size=10), 0),
        (Waiting(count=10, bytes=1, oldest=0, size=10), 0),
        (Waiting(count=1, bytes=1000, oldest=0, size=10), 0),
        (Waiting(count=1, bytes=1, oldest=0, size=10, draining=True), 0),
        (Waiting(count=0, bytes=0, oldest=0, size=10, draining=True), None),
    ],
)
def test_a_batch_leaves_when_it_is_full_or_its_first_item_has_waited(waiting: Waiting, seconds: float | None) -> None:
    assert due_in(LIMITS, waiting) == seconds


@given(size=st.integers(1, 100), taken=st.integers(1, 100), seconds=st.floats(0, 10), left=st.integers(0, 10_000))
def test_sizes_stay_within_bounds_and_move_in_the_right_direction(
    size: int, taken: int, seconds: float, left: int
) -> None:
    after = next_size(LIMITS, size=size, taken=min(size, taken), seconds=seconds, left=left)
    assert 1 <= after <= LIMITS.size
    if left >= size:
        assert after > size or after == LIMITS.size, "a queue that grows is the worse latency"
    elif seconds > 0.005 and min(size, taken) > 1:
        assert after < size
    elif seconds <= 0.005:
        assert after >= size


@pytest.mark.parametrize("per_item", [0.0002, 0.00001, 0.02])
def test_sizes_settle_where_the_handler_keeps_to_the_latency(per_item: float) -> None:
    size = LIMITS.size
    sizes = []
    for _ in range(60):
        size = next_size(LIMITS, size=size, taken=size, seconds=size * per_item, left=0)
        sizes.append(size)
    ideal = min(LIMITS.size, max(1, 0.005 / per_item))
    assert all(ideal * 0.5 <= size <= max(ideal * 1.3, 2) for size in sizes[20:])


def test_retries_wait_longer_each_time_and_end() -> None:
    retry = ItemRetry(maximum_attempts=5, initial_interval=1, backoff_coefficient=3, maximum_interval=5)
    assert [retry_in(retry, attempts, 1.0) for attempts in range(1, 6)] == [1, 3, 5, 5, None]
    assert retry_in(retry, 2, 0.0) == 1.5
