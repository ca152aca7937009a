"""The pools in Python, by the pure policy alone: what the Lua has to agree with, and what simulations run on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.demand import parse_demand, together
from orchestrator.resources import policy
from orchestrator.resources.models import Ask, Numbered


@dataclass(slots=True)
class Part:
    """One step of an ask, that waits, or holds a lease since `granted`."""

    ask: Ask
    n: int
    rate: int
    cost: int
    granted: int = -1


@dataclass(slots=True)
class Entry:
    """Who waits: one step, or several that are to start together."""

    kind: str
    priority: int
    parts: list[Part]
    tag: int
    at: int


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
    leases: dict[str, Part] = field(default_factory=dict)

    @property
    def waiters(self) -> list[Part]:
        """The steps that wait."""
        return [part for one in self.waiting.values() for part in one.parts]

    def exchange(self, asks: Sequence[Ask] = (), returned: Sequence[Numbered] = ()) -> list[Numbered]:
        """As `Pools.exchange`; who has a lease now."""
        for name, number in returned:
            self._give_back(name, number)
        again = [found for members in self._gathered(asks) for found in self._ask(members)]
        waiting = tuple(
            policy.Waiting(name, one.kind, one.priority, one.tag, one.at) for name, one in self.waiting.items()
        )
        snapshot = policy.Snapshot(self.now, self.capacity, self.used, waiting, self.given)
        granted = policy.decide(self.spec, snapshot).granted
        found = [*again, *(one for name in granted for one in self._grant(name))]
        self.virtual = policy.virtual_time(self.virtual, bool(self.waiting), self.served.values())
        self.served = {key: at for key, at in self.served.items() if at > self.virtual}
        return found

    def _gathered(self, asks: Sequence[Ask]) -> list[list[Ask]]:
        """Those that name one group, when they can ever be granted at once; all others one by one."""
        groups: dict[object, list[Ask]] = {}
        for at, ask in enumerate(asks):
            groups.setdefault((ask.id.partition("/")[0], ask.group) if ask.group else at, []).append(ask)
        found: list[list[Ask]] = []
        for members in groups.values():
            fits = together([ask.kind for ask in members], self.capacity)
            found += (
                [members]
                if len(members) == 1 or (fits and not any(ask.conflict for ask in members))
                else [[ask] for ask in members]
            )
        return found

    def _ask(self, members: Sequence[Ask]) -> Iterator[Numbered]:
        fresh = []
        for ask in members:
            waits = next((part for part in self.waiters if part.ask.id == ask.id), None)
            part = self.leases.get(ask.id) or waits
            if part is None:
                fresh.append(ask)
                continue
            part.n = max(part.n, ask.n)
            if ask.id in self.leases and part.n == ask.n:
                yield ask.id, ask.n
        priority = max(ask.priority for ask in members)
        for some in [fresh] if len(fresh) == len(members) else [[ask] for ask in fresh]:
            self._enter(some, priority)

    def _enter(self, asks: Sequence[Ask], priority: int) -> None:
        key, parts = asks[0].key, []
        tag = policy.tag_of(self.virtual, self.served.get(key))
        self.served[key] = tag
        for ask in asks:
            rate = policy.rate_of(parse_demand(ask.kind, self.capacity), ask.weight)
            parts.append(Part(ask, ask.n, rate, policy.cost(rate, ask.ms)))
            self.served[key] += parts[-1].cost
        name, kind = asks[0].id, asks[0].kind
        if len(asks) > 1:
            name, kind = f"{name}&", together([ask.kind for ask in asks], self.capacity)
        self.waiting[name] = Entry(kind, priority, parts, tag, self.now)

    def _grant(self, name: str) -> Iterator[Numbered]:
        entry = self.waiting.pop(name)
        self.virtual = max(self.virtual, entry.tag)
        for part in entry.parts:
            self.leases[part.ask.id] = part
            part.granted = self.now
            demand = parse_demand(part.ask.kind, self.capacity)
            for take in demand.takes:
                self.used[take.name] = self.used.get(take.name, 0) + take.amount
            for rate in demand.rates:
                bucket = policy.bucket(rate)
                self.given[bucket] = max(self.given.get(bucket, 0), self.now * 1000) + policy.interval(rate)
            yield part.ask.id, part.n

    def _give_back(self, name: str, number: int) -> None:
        lease = self.leases.get(name)
        if lease is not None and lease.n <= number:
            del self.leases[name]
            for take in parse_demand(lease.ask.kind, self.capacity).takes:
                self.used[take.name] -= take.amount
            self._charge(lease.ask.key, lease.rate * (self.now - lease.granted) // 1_000_000 - lease.cost)
        for at, entry in list(self.waiting.items()):
            mine = [part for part in entry.parts if part.ask.id == name and part.n <= number]
            if mine:
                del self.waiting[at]
                self._charge(mine[0].ask.key, -mine[0].cost)
                for part in entry.parts:
                    if part not in mine:
                        self.waiting[part.ask.id] = Entry(part.ask.kind, entry.priority, [part], entry.tag, entry.at)

    def _charge(self, key: str, more: int) -> None:
        self.served[key] = max(self.virtual, self.served.get(key, 0)) + more
