"""What a cache is told and what it answers, as values. Times in seconds, sizes in bytes."""

from __future__ import annotations

from msgspec import Struct, field

from orchestrator.cache.policy import Boost

BESIDE = 256
"""Bytes that an entry is counted with beside its id and value: about what the server keeps for it."""


class CacheRules(Struct, frozen=True):
    """One cache. It never holds more than `limit` bytes. An entry lives for `lifetime` (0: as long as there is room),
    which with `slides` begins anew whenever it is used. Values above `compress_above` are compressed, if that is worth
    it. Whoever computes a value has a `lease`, renewed while it works: when it dies, another one takes over after it.
    """

    name: str
    limit: int
    lifetime: float = 0.0
    slides: bool = False
    compress_above: int = 10_000
    boost: Boost = field(default_factory=Boost)
    lease: float = 5.0


class Hit(Struct, frozen=True):
    """A value that was there: what it cost to compute, and how long ago that was."""

    value: bytes
    cost: float
    age: float


class FamilyStats(Struct, frozen=True):
    """Entries of one agent or template: how many there are, how often one was used, how often one was stored."""

    entries: int
    hits: int
    stores: int


class CacheStats(Struct, frozen=True):
    """A cache as it stands. Counted since it was emptied: `hits`, `misses`; `stores`; `evicted`: given up for others;
    `expired`; `corrupt`: damaged, and computed anew; `too_large`: never stored; `saved_seconds`: what hits had cost."""

    name: str
    limit: int
    entries: int
    bytes: int
    hits: int
    misses: int
    stores: int
    evicted: int
    expired: int
    corrupt: int
    too_large: int
    saved_seconds: float
    families: dict[str, FamilyStats]

    @property
    def hit_ratio(self) -> float | None:
        """Hits of all lookups; None without any."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else None
