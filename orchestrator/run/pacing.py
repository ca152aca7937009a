"""Priorities of a run as it goes on: read, judged by what is left, and written where nobody has queued the step yet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.keys import run_prefix
from orchestrator.scripts import Script, encode, fragment
from orchestrator.workflow import urgency

if TYPE_CHECKING:
    from orchestrator.run.nodes import Node
    from orchestrator.run.store import Ledger

MOST_NODES = 2000
"""Larger runs keep the priorities of their plan: to read all of one takes longer than a sweep may."""

_ROOM = "orchestrator.run"
PACE = Script(fragment(_ROOM, "base"), fragment(_ROOM, "pace"))
URGE = Script(fragment(_ROOM, "base"), fragment(_ROOM, "urge"))


def has_pace(nodes: Sequence[Node]) -> bool:
    """Whether priorities may change: the steps have some by their slack, and not all have the same."""
    by_slack = [node.definition for node in nodes if "slack" in node.definition]
    return len(nodes) <= MOST_NODES and len({definition["priority"] for definition in by_slack}) > 1


def pace(ledger: Ledger, run_id: str) -> dict[str, int]:
    """Give steps their priority by the slack that they have now; two round trips, one where nothing changes. Returns
    those that have another one now. A step that travels with the one before it keeps its own, unless the ledger sends
    messages itself."""
    raw: Any = PACE.at(ledger.client, run_prefix(run_id), encode(ledger.arguments(again=ledger.pace)))
    if raw[0] != b"running":
        return {}
    now = float(raw[1])
    nodes = {row[0].decode(): _node(row, now, ledger.posts) for row in raw[2:]}
    wanted = urgency.priorities(nodes)
    if not wanted:
        return {}
    changed: Any = URGE.at(ledger.client, run_prefix(run_id), encode(ledger.arguments(priorities=wanted)))
    return {step.decode(): wanted[step.decode()] for step in changed}


def _node(row: Sequence[bytes], now: float, posts: bool) -> urgency.Node:
    state, started, definition, to, carried = row[1].decode(), row[2], json.loads(row[3]), row[4].decode(), row[5]
    fixed = "slack" not in definition or (carried and not posts)
    urgent, relaxed = (None, None) if fixed else definition["slack"]
    return urgency.Node(
        state=state, consumers=tuple(to.split()), seconds=float(definition.get("seconds", 0.0)),
        since=now - float(started) if started else 0.0, priority=int(definition.get("priority", 0)),
        urgent=urgent, relaxed=relaxed,
    )  # fmt: skip
