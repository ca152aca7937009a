"""A cache under any sequence of actions: the real Lua on a real server, beside a dictionary that does the same.

The dictionary keeps every figure itself and looks through all its entries to find the one to give up; after every
action the server has the same entries, in the same order, with the same bytes and counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator import keys
from orchestrator.cache.models import CacheRules
from orchestrator.cache.policy import Boost
from orchestrator.cache.store import Cache

KEYS = tuple("abcdefgh")
FAMILIES = ("pm", "a template.md.j2")
PLACE = keys.cache_place("tried")
EACH = 1 + 8 + 1 + 256
"""Bytes of an entry beside its value: its id, the checksum, the leading byte, and what it is counted with. So values of
1 and of 700 bytes take 1,233 together: the smaller limit is one less."""


@dataclass(slots=True)
class Kept:
    value: bytes
    cost: float
    family: str
    stored: float
    ends: float
    frequency: int = 1
    score: float = 0.0
    used: int = 0

    @property
    def size(self) -> int:
        return EACH + len(self.value)


class CacheMachine(RuleBasedStateMachine):
    """Values of a few sizes are put, used, aged and damaged."""

    client: ClassVar[redis.Redis]

    @initialize(
        limit=st.sampled_from((1232, 2400)),
        lifetime=st.sampled_from((0.0, 10.0, 10.0)),
        slides=st.booleans(),
        boost=st.sampled_from((Boost(), Boost(), Boost(False, False, False), Boost(cost=False), Boost(ratio=False))),
    )
    def start(self, limit: int, lifetime: float, slides: bool, boost: Boost) -> None:
        self.client.flushdb()
        self.told = CacheRules("tried", limit, lifetime, slides, boost=boost)
        self.now = 1_000_000.0
        self.kept: dict[str, Kept] = {}
        self.families = {name: [0, 0] for name in FAMILIES}
        self.clock, self.uses = 0.0, 0
        self.counts = dict.fromkeys(("hits", "misses", "stores", "evicted", "expired", "corrupt", "too_large"), 0)
        self.saved = 0.0

    @property
    def cache(self) -> Cache:
        return Cache(self.client, self.told, now=self.now)

    # -- the model ----------------------------------------------------------------------------------------------------

    def _remove(self, key: str) -> None:
        family = self.kept.pop(key).family
        if all(one.family != family for one in self.kept.values()):
            self.families[family] = [0, 0]

    def _over(self) -> list[str]:
        return [key for key, one in self.kept.items() if one.ends and one.ends <= self.now]

    def _use(self, one: Kept) -> None:
        boost, (hits, stores) = self.told.boost, self.families[one.family]
        self.uses += 1
        one.used, one.score = self.uses, 0.0
        if boost.any:
            one.score = (max(one.cost, 0.001) if boost.cost else 1.0) / one.size
            one.score *= one.frequency if boost.frequency else 1
            one.score *= (hits + 1) / (hits + stores + 1) if boost.ratio else 1
            one.score += self.clock
        if self.told.slides and self.told.lifetime:
            one.ends = self.now + self.told.lifetime

    def _order(self) -> list[str]:
        return sorted(self.kept, key=lambda key: (self.kept[key].score, self.kept[key].used))

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(
        key=st.sampled_from(KEYS),
        letter=st.sampled_from(b"xyz"),
        size=st.sampled_from((1, 100, 300, 700, 3000)),
        cost=st.sampled_from((0.0, 0.01, 0.5, 60.0)),
        family=st.sampled_from(FAMILIES),
    )
    def put(self, key: str, letter: int, size: int, cost: float, family: str) -> None:
        value = bytes([letter]) * size
        kept = self.cache.put(key, value, family=family, cost=cost)
        for old in self._over():
            self._remove(old)
            self.counts["expired"] += 1
        if key in self.kept:
            self._remove(key)
        one = Kept(value, cost, family, self.now, self.now + self.told.lifetime if self.told.lifetime else 0.0)
        assert kept is (one.size <= self.told.limit)
        if not kept:
            self.counts["too_large"] += 1
            return
        while sum(other.size for other in self.kept.values()) + one.size > self.told.limit:
            first = self._order()[0]
            self.clock = self.kept[first].score
            self._remove(first)
            self.counts["evicted"] += 1
        self.families[family][1] += 1
        self.counts["stores"] += 1
        self.kept[key] = one
        self._use(one)

    @rule(key=st.sampled_from(KEYS), max_age=st.sampled_from((None, None, 4.0)))
    def get(self, key: str, max_age: float | None) -> None:
        found = self.cache.get(key, max_age=max_age)
        if key in self._over():
            self._remove(key)
            self.counts["expired"] += 1
        one = self.kept.get(key)
        if one is None or (max_age is not None and self.now - one.stored > max_age):
            assert found is None
            self.counts["misses"] += 1
            return
        assert found is not None
        assert (found.value, found.cost, found.age) == (one.value, one.cost, self.now - one.stored)
        one.frequency += 1
        self.families[one.family][0] += 1
        self.counts["hits"] += 1
        self.saved += one.cost
        self._use(one)

    @rule(seconds=st.sampled_from((0.25, 3.0, 9.75)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=st.sampled_from(KEYS), at=st.sampled_from((0, 8, 9)))
    def a_value_is_damaged(self, key: str, at: int) -> None:
        """A damaged entry is a hit for the scripts, a miss for whoever asked, and gone."""
        if key not in self.kept or key in self._over():
            return
        place = keys.run_key(PLACE, "values")
        stored = bytearray(self.client.hget(place, key) or b"")  # type: ignore[arg-type]
        stored[at] ^= 1
        self.client.hset(place, key, bytes(stored))
        assert self.cache.get(key) is None
        one = self.kept[key]
        self.counts["hits"] += 1
        self.counts["corrupt"] += 1
        self.counts["misses"] += 1
        self.saved += one.cost
        self.families[one.family][0] += 1
        self.uses += 1
        self._remove(key)

    @rule()
    def clear(self) -> None:
        assert self.cache.clear() == len(self.kept)
        self.kept, self.families = {}, {name: [0, 0] for name in FAMILIES}
        self.clock, self.uses, self.saved = 0.0, 0, 0.0
        self.counts = dict.fromkeys(self.counts, 0)

    # -- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def the_server_has_the_same(self) -> None:
        if not hasattr(self, "kept"):
            return
        values: Any = self.client.hgetall(keys.run_key(PLACE, "values"))
        order: Any = self.client.zrange(keys.run_key(PLACE, "order"), 0, -1)
        state: Any = self.client.hgetall(keys.run_key(PLACE, "state"))
        taken = sum(len(key) + len(value) + 256 for key, value in values.items())
        assert taken <= self.told.limit, "more bytes than the limit"
        assert taken == int(state.get(b"bytes", 0)), "bytes are miscounted"
        assert {key.decode() for key in values} == set(self.kept), "other entries"
        assert [member.decode().split(":")[1] for member in order] == self._order(), "another order"
        assert {name: int(state.get(name.encode(), 0)) for name in self.counts} == self.counts, "other counts"
        assert abs(float(state.get(b"saved", 0)) - self.saved) < 1e-6 * (1 + self.saved)
        for part in ("values", "entries", "order", "state") if self.kept and self.told.lifetime else ():
            left: Any = self.client.ttl(keys.run_key(PLACE, part))
            assert left >= self.told.lifetime, "a key ends before its entries, or never"
