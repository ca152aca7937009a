"""Order, reduction and critical path of a graph: plain functions over ids that know nothing of agents.

A graph is `Needs`: every id, in file order, with the ids that it waits for. All times are in seconds.
networkx names the cycles and is the oracle of the tests. Its transitive reduction took 80 s and 1.7 GB on a deep
graph of 10,000 steps, and its import 0.7 s, so the everyday path stands on heapq and on integers as bit sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from heapq import heappop, heappush
from typing import TypeAlias

from msgspec import Struct

Needs: TypeAlias = Mapping[str, tuple[str, ...]]


def find_cycles(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """One shortest cycle of each knot of steps that wait for each other, in the order of `names`.

    An edge is (needed step, waiting step); edges with an end outside `names` are ignored. A cycle begins and ends
    with the step of it that comes first in `names`: ("pm", "ux_expert", "pm").
    """
    import networkx  # takes 0.7 s, and only a cycle needs it

    position = {name: index for index, name in enumerate(names)}
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(position)
    graph.add_edges_from(edge for edge in edges if edge[0] in position and edge[1] in position)
    cycles = []
    for knot in networkx.strongly_connected_components(graph):
        first = min(knot, key=position.__getitem__)
        if graph.has_edge(first, first):
            cycles.append((first, first))
        elif len(knot) > 1:
            ways = networkx.single_source_shortest_path(graph.subgraph(knot), first)
            last = min(graph.pred[first].keys() & knot, key=lambda name: (len(ways[name]), position[name]))
            cycles.append((*ways[last], first))
    return sorted(cycles, key=lambda cycle: position[cycle[0]])


def find_cycle(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> tuple[str, ...] | None:
    """The first of `find_cycles`, or None. To be shown as `" → ".join(cycle)`."""
    known = dict.fromkeys(names)
    pairs = [edge for edge in edges if edge[0] in known and edge[1] in known]
    needs: dict[str, list[str]] = {name: [] for name in known}
    for before, after in pairs:
        needs[after].append(before)
    if topological_order({name: tuple(before) for name, before in needs.items()}) is not None:
        return None
    return find_cycles(known, pairs)[0]


def topological_order(needs: Needs) -> tuple[str, ...] | None:
    """Every id after all that it needs, and in file order wherever that leaves a choice. None if there is a cycle."""
    names = tuple(needs)
    position = {name: index for index, name in enumerate(names)}
    left = {name: len(before) for name, before in needs.items()}
    consumers = consumers_of(needs)
    ready = [position[name] for name in names if not left[name]]
    order: list[str] = []
    while ready:
        order.append(names[heappop(ready)])
        for consumer in consumers[order[-1]]:
            left[consumer] -= 1
            if not left[consumer]:
                heappush(ready, position[consumer])
    return tuple(order) if len(order) == len(names) else None


def consumers_of(needs: Needs) -> dict[str, tuple[str, ...]]:
    """Who waits for each id, in file order: `needs` turned round."""
    consumers: dict[str, list[str]] = {name: [] for name in needs}
    for name, before in needs.items():
        for need in before:
            consumers[need].append(name)
    return {name: tuple(after) for name, after in consumers.items()}


_NONE: Mapping[str, Collection[str]] = {}


def reduce_needs(
    order: Iterable[str],
    needs: Needs,
    *,
    kept: Mapping[str, Collection[str]] = _NONE,
    loose: Mapping[str, Collection[str]] = _NONE,
) -> dict[str, tuple[str, ...]]:
    """The transitive reduction: without every need that another need already waits for. `order` is topological.

    `kept[step]` are needs that stay whatever else holds. `loose[step]` are needs that may have failed although the
    step succeeded: a later step must not rely on this one for them.
    """
    position: dict[str, int] = {}
    left = Counter(need for before in needs.values() for need in before)
    # implied[name] is a bit set of the steps that have surely succeeded when `name` has; freed with its last consumer.
    implied: dict[str, int] = {}
    reduced: dict[str, tuple[str, ...]] = {}
    for index, name in enumerate(order):
        position[name] = index
        own, fixed, unsure = needs[name], kept.get(name, ()), loose.get(name, ())
        trusted = [need for need in own if need not in unsure]
        beyond = 0
        for need in trusted:
            beyond |= implied[need]
        reduced[name] = tuple(need for need in own if need in fixed or not beyond >> position[need] & 1)
        if left[name]:
            for need in trusted:
                beyond |= 1 << position[need]
            implied[name] = beyond
        for need in own:
            left[need] -= 1
            if not left[need]:
                del implied[need]
    return {name: reduced[name] for name in needs}


class Timing(Struct, frozen=True):
    """When each step can start, and how late it may. `rank` is the longest way from its start to the end of the run;
    `slack` is its latest minus its earliest start, 0 exactly on the steps of some critical path."""

    earliest_start: Mapping[str, float]
    rank: Mapping[str, float]
    slack: Mapping[str, float]
    total: float


def timing(order: tuple[str, ...], needs: Needs, durations: Mapping[str, float]) -> Timing:
    """The critical path method, forwards and backwards over `order`; as many workers as steps, no pools."""
    start: dict[str, float] = {}
    end: dict[str, float] = {}
    for name in order:
        begin = 0.0
        for need in needs[name]:
            begin = max(begin, end[need])
        start[name], end[name] = begin, begin + durations[name]
    behind = dict.fromkeys(order, 0.0)
    rank: dict[str, float] = {}
    for name in reversed(order):
        rank[name] = durations[name] + behind[name]
        for need in needs[name]:
            behind[need] = max(behind[need], rank[name])
    total = max(end.values(), default=0.0)
    # Sums from both ends differ in their last bits; what is that small is no slack.
    noise = 1e-9 * max(1.0, total)
    slack = {name: total - start[name] - rank[name] for name in order}
    return Timing(start, rank, {name: 0.0 if value < noise else value for name, value in slack.items()}, total)


def critical_path(
    needs: Needs, consumers: Needs, rank: Mapping[str, float], last: Collection[str] = ()
) -> tuple[str, ...]:
    """A longest way through the graph. Among equals the first in file order, but a step of `last` only if it must."""
    path: list[str] = []
    ahead: Iterable[str] = [name for name, before in needs.items() if not before]
    while ahead:
        path.append(max(ahead, key=lambda name: (rank[name], name not in last)))
        ahead = consumers[path[-1]]
    return tuple(path)
