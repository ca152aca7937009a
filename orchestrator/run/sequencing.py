"""The sequential form of a run, as nodes of the ledger: each step starts behind a gate that opens when the one before
has had its turn and has ended, however it ended. Groups keep their barriers; what comes behind a group's last member
waits for those too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.keys import turn_node
from orchestrator.run.validation import release_node
from orchestrator.workflow.models import GroupSpec, TriggerRule
from orchestrator.workflow.plan import Plan

if TYPE_CHECKING:
    from orchestrator.run.nodes import Node


def in_turn(nodes: Iterable[Node], order: tuple[str, ...], groups: Mapping[str, GroupSpec]) -> Iterator[Node]:
    """The nodes of a run, so that its steps start in that order, one after another."""
    from orchestrator.run.nodes import Node

    known = {node.id: node for node in nodes}
    group_of = {step: group for group in groups.values() for step in group.steps}
    last = {group_of[name].id: name for name in order if name in group_of}
    gates = {}
    for before, step in pairwise(order):
        group = group_of.get(before)
        ends = group is not None and last[group.id] == before
        awaited = release_node(group) if ends and group is not None else before
        gate = turn_node(step)
        needs = (awaited, turn_node(before)) if turn_node(before) in gates else (awaited,)
        gates[gate] = Node(gate, "gate", TriggerRule.ALL_DONE, needs, {"id": gate}, to=[step])
        for need in needs:
            (gates.get(need) or known[need]).to.append(gate)
        known[step] = replace(known[step], gate=True)
    yield from known.values()
    yield from gates.values()


def runs(plan: Plan, order: tuple[str, ...], needs: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Stretches of the order in which each step needs nothing but the one before, so that one chain carries them."""
    found: list[list[str]] = []
    for name in order:
        plain = plan.workflow.step(name).trigger_rule is TriggerRule.ALL_SUCCESS
        if found and plain and needs[name] == (found[-1][-1],):
            found[-1].append(name)
        else:
            found.append([name])
    return [tuple(run) for run in found if len(run) > 1]
