"""The pools in Python, by the pure policy alone: what the Lua has to agree with, and what simulations run on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.demand import parse_demand
from orchestrator.resources import policy
from orchestrator.resources.models import Ask, Numbered


@dataclass(slots=True)
class Entry:
    """Who waits, or holds a lease since `granted`."""

    ask: Ask
    n: int
    tag: int
    rate: int
    cost: int
    at: int
    granted: int = -1


@dataclass(slots=True)
class PoolModel:
    """Pools of that capacity, whose every decision is `policy.decide`'s."""

    capacity: Mapping[str, int]
    spec: policy.Spec
    now: int = 1_000_000
    virtual: int = 0
    used: dict[str, int] = field(default_factory=dict)
    given: dict[str, int] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, Entry] = field(default_factory=dict)
    leases: dict[str, Entry] = field(default_factory=dict)

    def exchange(self, asks: Sequence[Ask] = (), returned: Sequence[Numbered] = ()) -> list[Numbered]:
        """As `Pools.exchange`; who has a lease now."""
        for name, number in returned:
            self._give_back(name, number)
        again = [found for ask in asks for found in self._ask(ask)]
        waiting = tuple(
            policy.Waiting(name, one.ask.kind, one.ask.priority, one.tag, one.at) for name, one in self.waiting.items()
        )
        snapshot = policy.Snapshot(self.now, self.capacity, self.used, waiting, self.given)
        granted = policy.decide(self.spec, snapshot).granted
        found = [*again, *(self._grant(name) for name in granted)]
        self.virtual = policy.virtual_time(self.virtual, bool(self.waiting), self.served.values())
        self.served = {key: at for key, at in self.served.items() if at > self.virtual}
        return found

    def _ask(self, ask: Ask) -> Iterator[Numbered]:
        entry = self.leases.get(ask.id) or self.waiting.get(ask.id)
        if entry is not None:
            entry.n = max(entry.n, ask.n)
            if ask.id in self.leases and entry.n == ask.n:
                yield ask.id, ask.n
            return
        rate = policy.rate_of(parse_demand(ask.kind, self.capacity), ask.weight)
        cost = policy.cost(rate, ask.ms)
        tag = policy.tag_of(self.virtual, self.served.get(ask.key))
        self.served[ask.key] = tag + cost
        self.waiting[ask.id] = Entry(ask, ask.n, tag, rate, cost, self.now)

    def _grant(self, name: str) -> Numbered:
        entry = self.leases[name] = self.waiting.pop(name)
        entry.granted = self.now
        demand = parse_demand(entry.ask.kind, self.capacity)
        for take in demand.takes:
            self.used[take.name] = self.used.get(take.name, 0) + take.amount
        for rate in demand.rates:
            bucket = policy.bucket(rate)
            self.given[bucket] = max(self.given.get(bucket, 0), self.now * 1000) + policy.interval(rate)
        self.virtual = max(self.virtual, entry.tag)
        return name, entry.n

    def _give_back(self, name: str, number: int) -> None:
        lease, ask = self.leases.get(name), self.waiting.get(name)
        if lease is not None and lease.n <= number:
            del self.leases[name]
            for take in parse_demand(lease.ask.kind, self.capacity).takes:
                self.used[take.name] -= take.amount
            self._charge(lease, lease.rate * (self.now - lease.granted) // 1_000_000 - lease.cost)
        if ask is not None and ask.n <= number:
            del self.waiting[name]
            self._charge(ask, -ask.cost)

    def _charge(self, entry: Entry, more: int) -> None:
        self.served[entry.ask.key] = max(self.virtual, self.served.get(entry.ask.key, 0)) + more
