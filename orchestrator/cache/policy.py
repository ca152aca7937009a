"""Which entry of a cache is worth more than another. Pure: the scripts do the sum when something happens.

The order is that of GreedyDual-Size-Frequency (L. Cherkasova, "Improving WWW Proxies Performance with
Greedy-Dual-Size-Frequency Caching Policy", HP Labs HPL-98-69, 1998), which gives up the entry with the lowest

    clock + frequency x cost / size

where the clock is that sum of the entry that was given up last: so what is not used any more is outlived by what is,
however much it was worth. To it we add how often entries of the same agent or template are used at all; the time of
the last use decides between equals. Without any boost that is all that is left, and the order is plain LRU.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

LEAST_COST = 0.001
"""Seconds; what took less is not told apart."""


class Boost(Struct, frozen=True):
    """What lifts an entry above plain LRU: how often it was used (`frequency`), what it took to compute (`cost`), how
    often its family is used (`ratio`)."""

    frequency: bool = True
    cost: bool = True
    ratio: bool = True

    @classmethod
    def of(cls, factors: Iterable[str]) -> Boost:
        """From the `priority_factors` of an engine file."""
        found = set(factors)
        return cls("access_frequency" in found, "computation_cost" in found, "cache_hit_ratio" in found)

    @property
    def any(self) -> bool:
        return self.frequency or self.cost or self.ratio

    def worth(self, cost: float, size: int) -> float:
        """The part of a score that never changes: seconds of work saved per byte, or just room saved."""
        return (max(cost, LEAST_COST) if self.cost else 1.0) / size
