"""The pools: one atomic script takes leases back, queues who asks, and grants what fits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.demand import MILLI, UNBOUNDED, parse_demand
from orchestrator.resources import policy
from orchestrator.resources.models import (
    Ask,
    Exchanged,
    Met,
    Numbered,
    PoolHolder,
    PoolsStatus,
    PoolUse,
    PoolWaiter,
    of_lease,
    rows,
)
from orchestrator.scripts import Script, encode, fragment

_ROOM = "orchestrator.resources"
_FRAGMENTS = ("base", "rates", "fair", "queue", "lease", "settle", "asking", "exchange", "exchanged")
EXCHANGE = Script(*(fragment(_ROOM, name) for name in _FRAGMENTS))
LOOKS_AT_ONCE = 100


class Pools:
    """The pools of a deployment. `capacity` maps each to its thousandths, `ageing` and `look` are in seconds: a waiting
    step gains a level of priority for each of the former, a lease is looked at again after the latter. `now` (ms)
    replaces Redis' clock in tests. Every method is one round trip."""

    def __init__(
        self,
        client: redis.Redis,
        capacity: Mapping[str, int],
        *,
        ageing: float = 30.0,
        look: float = 5.0,
        most: int = 200,
        now: int | None = None,
        script: Script = EXCHANGE,
    ) -> None:
        self._script = script
        self.client = client
        self.capacity = dict(capacity)
        self.spec = policy.Spec(max(1, round(ageing * 1000)), most)
        self._look = round(look * 1000)
        self._now = now

    def exchange(self, asks: Sequence[Ask] = (), returned: Sequence[Numbered] = (), *, looks: int = 0) -> Exchanged:
        """Take leases back, queue those who ask, and grant what fits: to these or to others. Safe to repeat.
        `looks`: so many leases that are due are named, each at most once in `look` seconds."""
        arguments = {
            "capacity": self.capacity, "ageing": self.spec.ageing, "look": self._look, "looks": looks,
            "most": self.spec.most, "returned": [list(one) for one in returned], "asks": rows(asks, self.capacity),
        } | ({} if self._now is None else {"now": self._now})  # fmt: skip
        granted, due, conflicts = self._script.at(self.client, keys.POOLS, encode(arguments))
        return Exchanged(
            _numbered(granted),
            _numbered(due),
            tuple(Met(row[0].decode(), int(row[1]), tuple(name.decode() for name in row[2])) for row in conflicts),
        )

    def look(self) -> Exchanged:
        """Grant what time has made possible, and name the leases that are due."""
        return self.exchange(looks=LOOKS_AT_ONCE)

    def status(self) -> PoolsStatus:
        """Everything as it stands."""
        with guarded():
            pipe = self.client.pipeline(transaction=False)
            for part in ("leases", "asks", "used", "waits"):
                pipe.hgetall(f"{keys.POOLS}:{part}")
            pipe.time()
            leases, asks, used, waits, (seconds, micros) = pipe.execute()
        now = self._now if self._now is not None else seconds * 1000 + micros // 1000
        taken = {name.decode(): int(amount) for name, amount in used.items()}
        entries = {name.decode(): json.loads(text) for name, text in asks.items()}
        held = {name.decode(): json.loads(text) for name, text in leases.items()}
        return PoolsStatus(
            now=now,
            pools=tuple(self._uses(taken, {name.decode(): int(count) for name, count in waits.items()})),
            holders=tuple(self._holder(name, entry) for name, entry in sorted(held.items())),
            waiting=tuple(self._waiters(entries, taken, now)),
        )

    def _uses(self, taken: Mapping[str, int], waits: Mapping[str, int]) -> list[PoolUse]:
        found = []
        for name in dict.fromkeys((*self.capacity, *taken)):
            amount = self.capacity.get(name)
            buckets = {int(key.rpartition(" ")[2]): count for key, count in waits.items()
                       if key.rpartition(" ")[0] == name and not key.endswith(" sum")}  # fmt: skip
            total = sum(buckets.values())
            found.append(
                PoolUse(
                    name=name,
                    capacity=None if amount in (None, UNBOUNDED) else amount / MILLI,
                    used=taken.get(name, 0) / MILLI,
                    waits=total,
                    mean_wait_seconds=waits.get(f"{name} sum", 0) / total / 1000 if total else 0.0,
                    p95_wait_seconds=_quantile(buckets, 0.95),
                )
            )
        return found

    def _takes(self, kind: str) -> dict[str, float]:
        return {take.name: take.amount / MILLI for take in parse_demand(kind, self.capacity).takes}

    def _holder(self, name: str, entry: Mapping[str, Any]) -> PoolHolder:
        run_id, step = of_lease(name)
        return PoolHolder(run_id=run_id, step=step, takes=self._takes(entry["kind"]), since=int(entry["granted"]))

    def _waiters(self, entries: Mapping[str, Any], taken: Mapping[str, int], now: int) -> list[PoolWaiter]:
        waiting = [
            policy.Waiting(name, one["kind"], int(one["priority"]), int(one["tag"]), int(one["at"]))
            for name, one in entries.items()
        ]
        given = self._given({rate for one in waiting for rate in map(policy.bucket, self._rates(one.kind))})
        found = []
        for position, one in enumerate(sorted(waiting, key=lambda one: policy.order(self.spec, one, now)), 1):
            demand = parse_demand(one.kind, self.capacity)
            short, level = policy.lacking(demand, taken, given, now), policy.level(self.spec, one, now)
            parts = entries[one.id]["parts"]
            steps = [of_lease(part["id"])[1] for part in parts]
            for part in parts:
                run_id, step = of_lease(part["id"])
                found.append(
                    PoolWaiter(
                        run_id=run_id, step=step, takes=self._takes(part["kind"]), since=one.at, priority=level,
                        short=short, position=position, beside=tuple(name for name in steps if name != step),
                    )
                )  # fmt: skip
        return found

    def _rates(self, kind: str) -> Sequence[Any]:
        return parse_demand(kind, self.capacity).rates

    def _given(self, buckets: set[str]) -> dict[str, int]:
        if not buckets:
            return {}
        names = sorted(buckets)
        with guarded():
            found = cast("list[bytes | None]", self.client.mget([f"{keys.POOLS}:rate:{name}" for name in names]))
        return {name: int(value) for name, value in zip(names, found, strict=True) if value}


def _numbered(rows: Sequence[Any]) -> tuple[Numbered, ...]:
    return tuple((row[0].decode(), int(row[1])) for row in rows)


def _quantile(buckets: Mapping[int, int], share: float) -> float:
    """The upper bound (s) of the bucket in which that share is reached; bucket b holds waits up to 2^b ms."""
    left = share * sum(buckets.values())
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            return 2.0**bucket / 1000
    return 0.0
