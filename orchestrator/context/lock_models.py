"""What is asked of locks and what they answer. Times are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

from msgspec import Struct


class LockRules(Struct, frozen=True):
    """How many may hold one section's lock at a time, how long they are waited for, and how long a grant lives without
    a renewal; times in seconds. Without `queuing` nobody waits: what is taken is refused at once."""

    readers: int = 5
    writers: int = 1
    timeout: float = 30.0
    queuing: bool = True
    lease: float = 5.0


class Holder(NamedTuple):
    """An attempt: its step, its own token in the ledger, the worker process' incarnation that runs it, and the node of
    the group that it belongs to. Of a lock that a workflow declares, the step or group; its token is 0."""

    step: str
    token: int
    owner: str = ""
    group: str = ""


class Lock(NamedTuple):
    """A grant. `token` rises with every grant of its section; `waited` is in seconds."""

    section: str
    holder: Holder
    write: bool
    token: int
    waited: float
    request: str


class Request(NamedTuple):
    """One attempt's wish for a lock; `patience` is in seconds, `id` tells it from all others, `covered`
    says that the holder's group holds the section."""

    section: str
    holder: Holder
    write: bool
    priority: int
    patience: float
    id: str
    covered: bool = False


class Entry(Struct, frozen=True):
    """Somebody who holds a section's lock (then with a token), or queues for it. `ends` is when the lease, or the
    patience, is over, in seconds since the epoch; None for a lock that the workflow declares, which lives
    as long as its step or group. `waited` is in seconds."""

    holder: Holder
    write: bool
    priority: int
    token: int | None
    ends: float | None
    waited: float = 0.0
    declared: bool = False


class LockStatus(Struct, frozen=True):
    """The lock of one section: who holds it, who waits (the next one first), and how long it was waited for so far.

    There were `grants` in all, `waits` of them not at once, and `late` that gave up. Times are in seconds. `p50` and
    `p99` are over all grants: upper bounds from a histogram, whose `buckets` map a bound to the number of grants that
    waited so long at most, and longer than the bound before."""

    grants: int
    waits: int
    late: int
    total: float
    max: float
    p50: float
    p99: float
    buckets: Mapping[float, int]
    holders: tuple[Entry, ...] = ()
    queue: tuple[Entry, ...] = ()

    @classmethod
    def of(
        cls, grants: int, numbers: Mapping[str, int], holders: tuple[Entry, ...] = (), queue: tuple[Entry, ...] = ()
    ) -> LockStatus:
        """From what `lock_waits.lua` keeps of a section, in milliseconds."""
        longest = numbers.get("max", 0) / 1000
        counts = {float(name) / 1000: n for name, n in numbers.items() if name not in ("total", "max", "late")}
        waits = sum(counts.values())
        buckets = {0.0: grants - waits} | dict(sorted(counts.items()))

        def quantile(share: float) -> float:
            counted = accumulate(buckets.values())
            bound = next((bound for bound, seen in zip(buckets, counted, strict=True) if seen >= share * grants), 0.0)
            return min(bound, longest)

        return cls(
            grants=grants,
            waits=waits,
            late=numbers.get("late", 0),
            total=numbers.get("total", 0) / 1000,
            max=longest,
            p50=quantile(0.5),
            p99=quantile(0.99),
            buckets=buckets,
            holders=holders,
            queue=queue,
        )
