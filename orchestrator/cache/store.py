"""One cache on a Redis, which many processes share: lookups, stores, and values that only one of them computes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from os import urandom
from time import perf_counter
from typing import Any, TypeVar

import redis

from orchestrator import keys
from orchestrator.cache import codec
from orchestrator.cache.models import BESIDE, CacheRules, CacheStats, FamilyStats, Hit
from orchestrator.connection import BLOCK_SECONDS, pop
from orchestrator.errors import CorruptValue, OrchestratorError
from orchestrator.scripts import Script, fragment


def _lua(name: str) -> str:
    return fragment("orchestrator.cache", name)


_BASE = _lua("base")
LOOKUP = Script(_BASE, _lua("rank"), _lua("lookup"))
PUT = Script(_BASE, _lua("rank"), _lua("finish"), _lua("put"))
GIVE_UP = Script(_BASE, _lua("finish"), _lua("give_up"))
RENEW = Script(_BASE, _lua("renew"))
DROP = Script(_BASE, _lua("drop"))
STATS = Script(_BASE, _lua("stats"))
CLEAR = Script(_BASE, _lua("clear"))
T = TypeVar("T")


class Cache:
    """A cache by its rules. A key is a hash of everything that the value depends on; its family (an agent, a template)
    is what it has its hit ratio in common with. `now` replaces Redis' clock in tests."""

    def __init__(self, client: redis.Redis, rules: CacheRules, *, now: float | None = None) -> None:
        self._client = client
        self.rules = rules
        boost = {"frequency": rules.boost.frequency, "ratio": rules.boost.ratio} if rules.boost.any else None
        self._common: dict[str, Any] = {"lifetime": rules.lifetime}
        self._common |= {name: value for name, value in (("now", now), ("boost", boost)) if value is not None}

    def get(self, key: str, *, max_age: float | None = None) -> Hit | None:
        """The value, unless it is not there, is over, was stored more than `max_age` ago, or is damaged."""
        answer = self._look_up(key, max_age)
        return answer if isinstance(answer, Hit) else None

    def put(
        self, key: str, value: bytes, *, family: str, cost: float, owner: str | None = None, unasked: bool = False
    ) -> bool:
        """Keep a value that took `cost` seconds to compute. False when it is larger than the whole cache. `unasked`:
        its key was not known before, so that nobody could look it up; that counts as a miss."""
        packed = codec.pack(value, above=self.rules.compress_above)
        arguments: dict[str, Any] = {
            "id": key, "family": family, "cost": cost, "limit": self.rules.limit, "beside": BESIDE,
            "worth": self.rules.boost.worth(cost, len(key) + len(packed) + BESIDE), "slides": self.rules.slides,
        }  # fmt: skip
        if owner is not None:
            arguments["owner"] = owner
        if unasked:
            arguments["unasked"] = True
        return bool(self._run(PUT, arguments, packed)[0] == b"kept")

    def enter(
        self, key: str, *, max_age: float | None = None, leave: Callable[[], bool] = lambda: False
    ) -> Hit | Building | None:
        """The value; or the right to compute it, for one at a time. Whoever comes meanwhile waits, woken by Redis when
        that has ended, and looks again at the latest when the other one's lease is over. None when `leave` says so,
        which is asked every few seconds."""
        owner = urandom(8).hex()
        while True:
            answer = self._look_up(key, max_age, owner)
            if isinstance(answer, Hit):
                return answer
            if answer is None:
                return Building(self, key, owner)
            pop(self._client, keys.run_key(self._place, f"wake:{owner}"), min(answer, BLOCK_SECONDS))
            if leave():
                return None

    def compute(self, key: str, family: str, work: Callable[[], bytes], *, max_age: float | None = None) -> bytes:
        """The value, computed here if it is nowhere; raises what `work` raises."""
        entered = self.enter(key, max_age=max_age)
        if isinstance(entered, Hit):
            return entered.value
        assert entered is not None  # noqa: S101 - nobody told it to leave
        with entered:
            begun = perf_counter()
            value = work()
            entered.keep(value, family=family, cost=perf_counter() - begun)
        return value

    def stats(self) -> CacheStats:
        """What there is and what was counted; a round trip."""
        entries, state, families = self._run(STATS, {})
        counted = {state[at].decode(): float(state[at + 1]) for at in range(0, len(state), 2)}
        numbers = {
            name: int(counted.get(name, 0))
            for name in ("bytes", "hits", "misses", "stores", "evicted", "expired", "corrupt", "too_large")
        }
        found = {
            families[at].decode(): FamilyStats(*map(int, families[at + 1].split())) for at in range(0, len(families), 2)
        }
        return CacheStats(
            self.rules.name, self.rules.limit, int(entries), saved_seconds=counted.get("saved", 0.0), families=found,
            **numbers,
        )  # fmt: skip

    def clear(self) -> int:
        """Empty it; returns how many entries there were. Whoever computes a value goes on, and keeps it."""
        return int(self._run(CLEAR, {}))

    @property
    def _place(self) -> str:
        return keys.cache_place(self.rules.name)

    def _run(self, script: Script, arguments: dict[str, Any], *payloads: bytes) -> Any:
        return script(self._client, self._place, self._common | arguments, payloads)

    def _look_up(self, key: str, max_age: float | None, owner: str | None = None) -> Hit | float | None:
        """The value, for how many seconds to wait for it, or None: it is for the caller to compute."""
        arguments: dict[str, Any] = {"id": key}
        if max_age is not None:
            arguments["max_age"] = max_age
        if owner is not None:
            arguments |= {"owner": owner, "lease": self.rules.lease}
        while True:
            kind, *rest = self._run(LOOKUP, arguments)
            if kind == b"wait":
                return max(0.001, int(rest[0]) / 1000)
            if kind != b"hit":
                return None
            try:
                return Hit(codec.unpack(rest[0], key), float(rest[1]), float(rest[2]))
            except CorruptValue:
                self._run(DROP, {"id": key}, rest[0])


class Building:
    """The right to compute a value, kept by a thread that renews its lease; the end of the `with` block gives it back.

    Should the lease be over all the same, because the process stood still, somebody else computes it as well.
    """

    def __init__(self, cache: Cache, key: str, owner: str) -> None:
        self._cache, self._key, self._owner = cache, key, owner
        self._over = threading.Event()
        self._kept = False
        self._thread = threading.Thread(target=self._renew, name="cache lease", daemon=True)
        self._thread.start()

    def keep(self, value: bytes, *, family: str, cost: float) -> bool:
        """Store the value for those who wait and those to come; as `Cache.put`."""
        self._kept = True
        return self._cache.put(self._key, value, family=family, cost=cost, owner=self._owner)

    def __enter__(self) -> Building:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The value is stored, or will not be: whoever waits may go on."""
        self._over.set()
        if not self._kept:
            with suppress(OrchestratorError):  # it lapses by itself
                self._cache._run(GIVE_UP, {"id": self._key, "owner": self._owner})

    def _renew(self) -> None:
        lease = self._cache.rules.lease
        while not self._over.wait(lease / 3):
            with suppress(OrchestratorError):
                self._cache._run(RENEW, {"id": self._key, "owner": self._owner, "lease": lease})
