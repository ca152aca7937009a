"""How urgent the steps of a run are by now: its plan, with what has been done in the place of estimates."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log2

from msgspec import Struct

from orchestrator.workflow.graph import consumers_of, timing, topological_order

OVERDUE = 0.1
"""The share of its estimate that a step still takes when it has run for longer than that."""

ENDED = frozenset({"success", "failed", "timed_out", "skipped", "upstream_failed", "cancelled", "cached"})


class Node(Struct, frozen=True):
    """A node of a run. `seconds` is its estimate, `since` the seconds that it has run; `urgent` is its priority without
    slack and `relaxed` with plenty, both None for one whose priority is its own."""

    state: str
    consumers: tuple[str, ...]
    seconds: float = 0.0
    since: float = 0.0
    priority: int = 0
    urgent: int | None = None
    relaxed: int | None = None


def urgency(slack: float, way: float, left: float, urgent: int, relaxed: int) -> int:
    """The priority of a step that may start so many seconds late, and from whose start it is so long a `way` to the end
    of its run, which still takes `left`. Whoever has the longest way comes first, as in list scheduling by levels (Hu
    1961): `urgent` without slack; else one less than that, and one less for each time that the way is halved."""
    if slack <= 0:
        return urgent
    halved = floor(log2(left / way)) if way > 0 else urgent
    return max(relaxed, urgent - 1 - halved)


def priorities(nodes: Mapping[str, Node]) -> dict[str, int]:
    """The steps whose priority is another one by now: those on the longest way that is left are `urgent`, others by
    their slack. Only steps that nobody has queued yet."""
    needs = consumers_of({name: tuple(c for c in node.consumers if c in nodes) for name, node in nodes.items()})
    order = topological_order(needs)
    if order is None:
        return {}
    times = timing(order, needs, {name: _left(node) for name, node in nodes.items()})
    wanted = {
        name: urgency(times.slack[name], times.rank[name], times.total, node.urgent, node.relaxed)
        for name, node in nodes.items()
        if node.urgent is not None and node.relaxed is not None and node.state in ("pending", "ready")
    }
    return {name: priority for name, priority in wanted.items() if priority != nodes[name].priority}


def _left(node: Node) -> float:
    if node.state in ENDED:
        return 0.0
    return max(node.seconds - node.since, node.seconds * OVERDUE) if node.state == "running" else node.seconds
