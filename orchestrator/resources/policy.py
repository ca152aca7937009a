"""Priority based fair sharing: who of those that wait gets a lease now. No clock, no Redis.

The rule, in this order:

1. Priority. A waiting step gains one level for every `ageing` that it has waited, up to the highest.
2. Deficit: within a level the run (or tenant: the fairness key) that was served least for its weight. Each key has a
   virtual time up to which it has been served; a step's place is that time when it asks, or the virtual time of all
   who are served, if that is later: nobody saves up turns while nothing of it waits. It costs its largest share of a
   pool, for as long as it is expected to run, and what it really took is settled when its lease goes back.
3. Whoever fits. A step that does not is passed over, but once it has waited longer than `ageing`, what it lacks is
   kept from everybody behind it.

So nothing starves: after ten `ageing` a step is on the highest level, whoever comes later is served behind it, and what
it needs is no longer given away. The Lua of this room does the same; the tests hold both against one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct, field

from orchestrator.demand import Demand, Rate, parse_demand

TOP = 10


class Spec(Struct, frozen=True):
    """`ageing` in ms; so many leases are granted in one decision at `most`."""

    ageing: int
    most: int = 200


class Waiting(Struct, frozen=True):
    """A step that waits since `at` (ms); `tag` is its place in virtual time, from `tag_of`."""

    id: str
    kind: str
    priority: int
    tag: int
    at: int


class Snapshot(Struct, frozen=True):
    """The pools at `now` (ms), in thousandths. `given`: bucket -> the time (microseconds) until which its tokens are
    given out."""

    now: int
    capacity: Mapping[str, int]
    used: Mapping[str, int]
    waiting: tuple[Waiting, ...]
    given: Mapping[str, int] = field(default_factory=dict)


class Decision(Struct, frozen=True):
    """Who gets a lease, in this order."""

    granted: tuple[str, ...]


def level(spec: Spec, one: Waiting, now: int) -> int:
    """The priority of a step by now."""
    return min(TOP, one.priority + (now - one.at) // spec.ageing)


def order(spec: Spec, one: Waiting, now: int) -> tuple[int, int, int, str]:
    """The smallest comes first; among equals, who asked first."""
    return -level(spec, one, now), one.tag, one.at, one.id


def decide(spec: Spec, snapshot: Snapshot) -> Decision:
    """Who of those that wait gets a lease now."""
    used, given = dict(snapshot.used), dict(snapshot.given)
    queues: dict[str, list[Waiting]] = {}
    for one in sorted(snapshot.waiting, key=lambda one: order(spec, one, snapshot.now), reverse=True):
        queues.setdefault(one.kind, []).append(one)
    demands = {kind: parse_demand(kind, snapshot.capacity) for kind in queues}
    granted: list[str] = []
    while len(granted) < spec.most:
        kind = _next(spec, snapshot.now, queues, demands, used, given)
        if kind is None:
            break
        granted.append(queues[kind].pop().id)
        for take in demands[kind].takes:
            used[take.name] = used.get(take.name, 0) + take.amount
        for rate in demands[kind].rates:
            given[bucket(rate)] = max(given.get(bucket(rate), 0), snapshot.now * 1000) + interval(rate)
    return Decision(tuple(granted))


def _next(
    spec: Spec,
    now: int,
    queues: Mapping[str, list[Waiting]],
    demands: Mapping[str, Demand],
    used: Mapping[str, int],
    given: Mapping[str, int],
) -> str | None:
    """The kind of demand whose first one is next: those with equal demands fit together, or do not."""
    kept: set[str] = set()
    heads = sorted((queue[-1] for queue in queues.values() if queue), key=lambda one: order(spec, one, now))
    for head in heads:
        short = lacking(demands[head.kind], used, given, now)
        if not short and not kept.intersection(demands[head.kind].names):
            return head.kind
        if short and now - head.at >= spec.ageing:
            kept.update(short)
    return None


def lacking(demand: Demand, used: Mapping[str, int], given: Mapping[str, int], now: int) -> tuple[str, ...]:
    """The pools that have too little left for a demand, and the rates that have no token."""
    short = [take.name for take in demand.takes if used.get(take.name, 0) + take.amount > take.most]
    return (*short, *(rate.name for rate in demand.rates if wait_for_token(rate, given.get(bucket(rate), 0), now)))


def bucket(rate: Rate) -> str:
    """Equal limits under one name share a bucket."""
    return f"{rate.name}={rate.count}/{rate.period}"


def interval(rate: Rate) -> int:
    """The microseconds in which one token comes back."""
    return -(-rate.period * 1000 // rate.count)


def wait_for_token(rate: Rate, given: int, now: int) -> int:
    """The ms until there is a token: at most `count` are given out at once, and one more per `interval`."""
    wait = max(given, now * 1000) - now * 1000 - (rate.count - 1) * interval(rate)
    return max(0, -(-wait // 1000))


def rate_of(demand: Demand, weight: float) -> int:
    """What a ms of a lease costs, in millionths: the largest share of a pool that it takes, over the key's weight."""
    shares = [take.amount * 1_000_000 // take.most for take in demand.takes if take.shared and take.most > 0]
    return max(1, int(max(shares, default=0) / weight))


def cost(rate: int, ms: int) -> int:
    """What a lease costs for the time that it is expected to be held."""
    return max(1, rate * ms // 1_000_000)


def virtual_time(virtual: int, anybody_waits: bool, served: Iterable[int]) -> int:
    """The virtual time of all, after a decision. When nobody waits everybody begins anew: nothing is owed."""
    return virtual if anybody_waits else max(virtual, *served, virtual)


def tag_of(virtual: int, served: int | None) -> int:
    """The place of a step that asks: as far as its key was served, but not before the `virtual` time of all."""
    return max(virtual, served or 0)


class Fate(StrEnum):
    """What becomes of a lease that was looked at. GRANT: its step does not know of it yet."""

    KEEP = "keep"
    GIVE_BACK = "give_back"
    GRANT = "grant"


class Standing(Struct, frozen=True):
    """The step of a lease, as the ledger has it; None for what is not there."""

    run_state: str | None
    state: str | None
    asking: int | None
    leased: int | None


def judge(lease: int, standing: Standing) -> Fate:
    """Whether the lease of a step's asking number `lease` is still its own. The ledger decides: whatever crashed
    between the two, the lease follows the step."""
    if standing.run_state is None:
        return Fate.GIVE_BACK
    if standing.leased == lease and standing.state in ("queued", "running"):
        return Fate.KEEP
    if standing.asking == lease and standing.state == "ready":
        return Fate.GRANT
    return Fate.GIVE_BACK
