"""When a batch leaves, how large it may be, and when an item that failed is tried again: pure decisions."""

from __future__ import annotations

from msgspec import Struct

from orchestrator.fields import Frozen, PositiveCount, PositiveNumber, Seconds, Size

GROWTH = 1.25
SHRINK = 0.5
"""The most by which one slow batch makes the next ones smaller."""


class BatchLimits(Frozen):
    """A batch leaves with `size` items or `bytes`, whichever comes first, and at the latest `timeout` seconds after its
    first item was added. `queue` is how many items of one type may be under way before `add` has to wait.
    From adding to the answer an item should take `latency` seconds: batches are made smaller where the handler is what
    takes longer, and larger while there are more items than one batch takes.
    """

    size: PositiveCount = 500
    timeout: Seconds = 0.005
    bytes: Size = 1_000_000
    queue: PositiveCount = 10_000
    latency: Seconds = 0.01


class ItemRetry(Frozen):
    """How often an item is tried, and how many seconds lie between: Temporal's words."""

    maximum_attempts: PositiveCount = 5
    initial_interval: Seconds = 0.05
    backoff_coefficient: PositiveNumber = 2.0
    maximum_interval: Seconds = 2.0


class Waiting(Struct, frozen=True):
    """The items of one type that wait: how many, their bytes, and for how many seconds the first has waited. `size` is
    what a batch takes at present; `draining`: nothing will be added any more, or somebody asked for a flush."""

    count: int
    bytes: int
    oldest: float
    size: int
    draining: bool = False


def due_in(limits: BatchLimits, waiting: Waiting) -> float | None:
    """After how many seconds the next batch leaves, 0 for at once; None: there is nothing to send."""
    if not waiting.count:
        return None
    if waiting.draining or waiting.count >= waiting.size or waiting.bytes >= limits.bytes:
        return 0.0
    return max(0.0, limits.timeout - waiting.oldest)


def next_size(limits: BatchLimits, *, size: int, taken: int, seconds: float, left: int) -> int:
    """What batches take from now on, after one of `taken` items took the handler `seconds` and `left` others waited.

    While a whole batch or more is left over, waiting is what takes long, and larger batches are what ends it, however
    slow the handler is. Otherwise the handler may take what the timeout leaves of the latency.
    """
    allowed = max(limits.latency - limits.timeout, limits.latency / 10)
    if left >= size:
        return min(limits.size, max(size + 1, int(size * GROWTH)))
    if seconds > allowed and taken > 1:
        return max(1, int(min(size, taken) * max(SHRINK, allowed / seconds)))
    if taken >= size:
        return min(limits.size, max(size + 1, int(size * GROWTH)))
    return size


def retry_in(retry: ItemRetry, attempts: int, chance: float) -> float | None:
    """Seconds until an item that has failed `attempts` times for a passing reason is tried again; None: no more.
    `chance` (0 to 1) spreads those that failed together over half the interval."""
    if attempts >= retry.maximum_attempts:
        return None
    interval = retry.initial_interval
    for _ in range(attempts - 1):
        interval = min(retry.maximum_interval, interval * retry.backoff_coefficient)
    return interval * (0.5 + chance / 2)
