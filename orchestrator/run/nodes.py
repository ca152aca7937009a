"""From a plan to what the ledger keeps: one node per step, per barrier and per gate, and who waits for whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.keys import barrier_node, gate_node
from orchestrator.keys import group_of as group_of_node
from orchestrator.run import sequencing
from orchestrator.run.mapped import mapped
from orchestrator.run.shape import DOCUMENTED, Shape
from orchestrator.run.validation import release_node, validation_nodes
from orchestrator.workflow.models import GroupSpec, StepSpec, TriggerRule
from orchestrator.workflow.plan import Plan
from orchestrator.workflow.sequence import sequence
from orchestrator.workflow.structure import input_bucket, is_parallel, only_validates

SEGMENT_BYTES = 3000
LINK_BYTES = 300
"""A chain carries at most so many links and about so many bytes, of which a link costs LINK_BYTES and its names, so
that a message stays below 4 KiB."""


class Node(Struct, frozen=True):
    """One node of the ledger. `to` are the nodes that wait for it; `definition` goes to workers and publishers."""

    id: str
    kind: str
    rule: str
    needs: tuple[str, ...]
    definition: Mapping[str, Any]
    to: list[str] = field(default_factory=list)
    gate: bool = False
    carried: bool = False
    barrier: str | None = None
    leaf: bool = False
    chord: bool = False
    awaited: bool = False
    schedule: float | None = None
    locks: str | None = None
    group_locks: str | None = None
    pools: bool = False

    def row(self) -> dict[str, Any]:
        """The JSON form that `create.lua` reads."""
        row: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind,
            "rule": self.rule,
            "need": len(self.needs),
            "to": " ".join(self.to),
        }
        marks = {"gate": self.gate, "carried": self.carried, "leaf": self.leaf, "barrier": self.barrier,
                 "chord": self.chord, "awaited": self.awaited, "locks": self.locks,
                 "group_locks": self.group_locks, "pools": self.pools}  # fmt: skip
        row |= {name: mark if isinstance(mark, str) else 1 for name, mark in marks.items() if mark}
        return row if self.schedule is None else row | {"schedule": self.schedule}

    def definition_json(self) -> str:
        return json.dumps(self.definition, separators=(",", ":"))


def texts_of(nodes: Sequence[Node]) -> tuple[str, ...]:
    """What `create.lua` reads of nodes: their rows in one text, then the id and the definition of each."""
    rows = json.dumps([node.row() for node in nodes], separators=(",", ":"))
    return (rows, *(text for node in nodes for text in (node.id, node.definition_json())))


def compile_nodes(plan: Plan, queue_of: Callable[[str], str], shape: Shape = DOCUMENTED) -> tuple[Node, ...]:
    """The nodes of a plan in an order of their steps that is topological. `queue_of` maps an agent to its class.

    A step that needs all members of a joined group waits for the group's barrier instead; members of a group that
    start behind different dependencies wait for each other at a gate. Cross-validation stands behind the barrier.
    """
    plan, spans = shape.prioritised(plan), shape.spans(plan)
    turns = sequence(plan) if shape.sequential else None
    groups = {group.id: group for group in plan.workflow.groups if is_parallel(group)}
    if turns is not None:
        groups = {name: turns.inside(group) for name, group in groups.items()}
    group_of = {step: group.id for group in groups.values() for step in group.steps}
    needs = {step_id: _needs(plan, step_id, groups) for step_id in plan.order}
    gated = _gates(groups, needs) if shape.together and turns is None else set()
    awaited = {step for group in groups.values() for step in _awaited(group, needs, groups, gated)}
    stretches = plan.segments.values() if turns is None else sequencing.runs(plan, turns.order, needs)
    demands = {step.id: shape.demand(step, queue_of, plan.workflow.max_parallel) for step in plan.workflow.steps}
    waiting = {step.id for step in plan.workflow.steps if step.locks or demands[step.id]}
    pieces = _pieces(plan, needs, group_of, stretches, shape.segment_links, waiting)
    after = _after(plan, needs, groups, group_of)
    nodes: dict[str, Node] = {}
    for group_id in gated:
        node = _gate(groups[group_id], needs)
        nodes[node.id] = node
    lasts = {group_of[step_id]: step_id for step_id in plan.order if step_id in group_of}
    places = {step.id: place for place, step in enumerate(plan.workflow.steps)}
    for step_id in plan.order:
        nodes[step_id] = _step_node(plan, step_id, needs[step_id], groups.get(group_of.get(step_id, "")), gated,
                                    pieces, after.get(step_id, ()), queue_of, places[step_id], shape,
                                    demands[step_id], spans.get(step_id))  # fmt: skip
        group_id = group_of.get(step_id, "")
        if lasts.get(group_id) == step_id:
            nodes |= {node.id: node for node in _joining(plan, groups[group_id], shape, nodes)}
    _connect(nodes, groups, gated)
    if turns is not None and turns.mixed:
        awaited = set(group_of)
    done = [replace(node, awaited=node.id in awaited) for node in _with_leaves(nodes, plan)]
    return tuple(done if turns is None else sequencing.in_turn(done, turns.order, groups))


def _needs(plan: Plan, step_id: str, groups: Mapping[str, GroupSpec]) -> tuple[str, ...]:
    whole = plan.steps[step_id].needs_groups
    members = {member for group in whole for member in groups[group].steps}
    single = [name for name in plan.steps[step_id].needs if name not in members]
    return (*single, *(release_node(groups[group]) for group in whole))


def _awaited(
    group: GroupSpec, needs: Mapping[str, tuple[str, ...]], groups: Mapping[str, GroupSpec], gated: set[str]
) -> set[str]:
    """The members that another member waits for, directly, through steps outside, or through other groups."""
    group_of = {step: other for other in groups.values() for step in other.steps}
    ahead = [name for step in group.steps for name in needs[step]]
    seen: set[str] = set()
    while ahead:
        name = ahead.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.startswith("@"):
            ahead.extend(groups[group_of_node(name)].steps)
            continue
        ahead.extend(needs[name])
        other = group_of.get(name)
        if other is not None and other.id in gated:
            ahead.extend(need for step in other.steps for need in needs[step])
    return seen & set(group.steps)


def _gates(groups: Mapping[str, GroupSpec], needs: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The groups whose members wait for each other at a gate: they start behind different steps, and no gate chosen
    makes one of them wait for another one."""
    gated: set[str] = set()
    for group in groups.values():
        if len({_outside(needs, step, group) for step in group.steps}) > 1:
            gated.add(group.id)
            if any(_awaited(other, needs, groups, gated) for other in groups.values() if other.id in gated):
                gated.discard(group.id)
    return gated


def _outside(needs: Mapping[str, tuple[str, ...]], step: str, group: GroupSpec) -> frozenset[str]:
    return frozenset(needs[step]) - frozenset(group.steps)


def _gate(group: GroupSpec, needs: Mapping[str, tuple[str, ...]]) -> Node:
    outside = dict.fromkeys(need for step in group.steps for need in needs[step] if need not in group.steps)
    return Node(gate_node(group.id), "gate", TriggerRule.ALL_DONE, tuple(outside), {"id": gate_node(group.id)})


def _joining(plan: Plan, group: GroupSpec, shape: Shape, nodes: Mapping[str, Node]) -> Iterator[Node]:
    """What stands behind the members of a group, whose nodes are there: its barrier, and who validates their work."""
    barrier = _barrier(plan, group, shape)
    yield barrier
    if group.barrier.cross_validation.enabled:
        taken = {step.id for step in plan.workflow.steps}
        yield from validation_nodes(group, {name: nodes[name] for name in group.steps}, barrier, taken)


def _barrier(plan: Plan, group: GroupSpec, shape: Shape) -> Node:
    definition = {
        "id": barrier_node(group.id),
        "group": group.id,
        "members": group.steps,
        "priority": max(plan.steps[step].priority for step in group.steps),
        "barrier": shape.barrier(group, plan).model_dump(mode="json", exclude_defaults=True),
        "merge": _merge_rules(plan),
    }
    return Node(barrier_node(group.id), "barrier", TriggerRule.ALL_DONE, group.steps, definition,
                chord=_is_chord(plan, group, shape), locks=_group_locks(plan, group, shape))  # fmt: skip


def _group_locks(plan: Plan, group: GroupSpec | None, shape: Shape) -> str | None:
    if group is None or not shape.group_locks:
        return None
    return shape.locks(group.locks, max(plan.steps[step].priority for step in group.steps))


def _is_chord(plan: Plan, group: GroupSpec, shape: Shape) -> bool:
    """Whether the members can be released together: none waits for another one."""
    inner = any(set(plan.workflow.step(member).needs) & set(group.steps) for member in group.steps)
    return not inner and not shape.sequential


def _step_node(
    plan: Plan,
    step_id: str,
    needs: tuple[str, ...],
    group: GroupSpec | None,
    gated: set[str],
    pieces: Mapping[str, tuple[str, ...]],
    after: Sequence[str],
    queue_of: Callable[[str], str],
    place: int,
    shape: Shape,
    demand: str,
    span: tuple[int, int] | None,
) -> Node:
    step = plan.workflow.step(step_id)
    definition: dict[str, Any] = {
        "id": step_id,
        "n": place,
        "agent": step.agent,
        "queue": step.queue or queue_of(step.agent),
        "priority": plan.steps[step_id].priority,
    }
    optional = {
        "with": dict(step.with_),
        "timeout": step.timeout,
        "idle_timeout": step.idle_timeout,
        "retry": step.retry.model_dump(mode="json", exclude_defaults=True),
        "inputs": list(step.inputs),
        "learned": plan.steps[step_id].learned_seconds,
        "rank": round(plan.steps[step_id].rank, 3),
        "size": input_bucket(step, shape.input_bytes) or None,
        "access": _word(step),
        "validates": list(step.validates),
        "outputs": list(step.outputs),
        "wants": list(step.wants),
        "after": list(after),
        "locks": dict(step.locks),
        "cache": step.cache,
        "next": _links(plan, pieces.get(step_id, ()), queue_of),
        "expand": mapped(step, queue_of, shape.barrier),
        "demand": demand,
        "seconds": plan.steps[step_id].duration_seconds,
        "slack": span,
        "fairness_key": plan.workflow.fairness_key if demand else None,
        "fairness_weight": plan.workflow.fairness_weight if demand and plan.workflow.fairness_weight != 1 else None,
        "on_conflict": _on_conflict(step),
    }
    definition |= {key: value for key, value in optional.items() if value not in (None, {}, [], "")}
    # Empty, these still say something: that nothing may be read or written, that a gap may stay as it is.
    said = {"read": step.context.read, "write": step.context.write, "defaults": step.defaults}
    definition |= {key: value for key, value in said.items() if value is not None}
    if group is not None:
        definition |= {"group": group.id, "index": group.steps.index(step_id), "chord": _is_chord(plan, group, shape)}
        definition["barrier_timeout"] = shape.barrier(group, plan).timeout
        if demand and shape.together and definition["chord"]:
            definition["together"] = barrier_node(group.id)
        if group.locks and shape.group_locks:
            definition["group_locks"] = dict(group.locks)
    elif plan.workflow.merge.paths:
        definition["merge"] = _merge_rules(plan)
    carried = any(step_id in later for later in pieces.values())
    return Node(step_id, "step", step.trigger_rule, needs, definition, carried=carried,
                gate=group is not None and group.id in gated, schedule=step.schedule_timeout,
                barrier=barrier_node(group.id) if group is not None else None,
                locks=shape.locks(step.locks, plan.steps[step_id].priority),
                group_locks=_group_locks(plan, group, shape), pools=bool(demand))  # fmt: skip


def _on_conflict(step: StepSpec) -> str | None:
    limit = step.concurrency_limit
    return None if limit is None or limit.on_conflict == "queue" else limit.on_conflict


def _merge_rules(plan: Plan) -> dict[str, Any]:
    """As JSON, for those who merge: barriers, and steps whose own commit goes to the main line."""
    return plan.workflow.merge.model_dump(mode="json", exclude_defaults=True)


def _word(step: StepSpec) -> str:
    """The word of context_access that the read list came from. Words name whole steps; lists by hand name more."""
    by_hand = any("." in path for path in step.context.read or ())
    return "" if by_hand or step.context.read is None else step.context_access or ""


def _after(
    plan: Plan, needs: Mapping[str, tuple[str, ...]], groups: Mapping[str, GroupSpec], group_of: Mapping[str, str]
) -> dict[str, list[str]]:
    """Step -> those of its needs behind which there may be work that no barrier has merged yet: members of groups, and
    whoever comes after one. A claim follows them back to the branches that its attempt reads."""
    after: dict[str, list[str]] = {}
    for step_id in plan.order if groups else ():
        for need in needs[step_id]:
            if need[0] == "@":
                open_ended = any(member in after for member in groups[group_of_node(need)].steps)
            else:
                open_ended = need in group_of or need in after
            if open_ended:
                after.setdefault(step_id, []).append(need)
    return after


def _links(plan: Plan, later: tuple[str, ...], queue_of: Callable[[str], str]) -> list[list[Any]]:
    steps = [plan.workflow.step(step_id) for step_id in later]
    return [[step.id, step.agent, step.queue or queue_of(step.agent), plan.steps[step.id].priority] for step in steps]


def _pieces(
    plan: Plan,
    needs: Mapping[str, tuple[str, ...]],
    group_of: Mapping[str, str],
    stretches: Iterable[tuple[str, ...]],
    segment_links: int,
    waiting: Collection[str],
) -> dict[str, tuple[str, ...]]:
    """Step -> the links that its message carries after it. Linear runs are cut after `segment_links` steps, and before
    a step that may have to wait for locks or pools."""
    pieces: dict[str, tuple[str, ...]] = {}
    for run in stretches:
        links: list[str] = []
        for step_id in run:
            free = step_id not in group_of and (
                not links or (needs[step_id] == (links[-1],) and step_id not in waiting)
            )
            if not free or len(links) == segment_links or _weight(plan, [*links, step_id]) > SEGMENT_BYTES:
                _close(links, pieces)
                links = []
            if step_id not in group_of:
                links.append(step_id)
        _close(links, pieces)
    return pieces


def _weight(plan: Plan, links: list[str]) -> int:
    """The bytes that these links take in a message, about: a link names its step twice, its agent and its queue."""
    steps = [plan.workflow.step(step_id) for step_id in links]
    return sum(LINK_BYTES + 2 * len(step.id) + len(step.agent) + len(step.queue or step.agent) for step in steps)


def _close(links: list[str], pieces: dict[str, tuple[str, ...]]) -> None:
    for at in range(len(links) - 1):
        pieces[links[at]] = tuple(links[at + 1 :])


def _connect(nodes: Mapping[str, Node], groups: Mapping[str, GroupSpec], gated: set[str]) -> None:
    for node in nodes.values():
        for need in node.needs:
            nodes[need].to.append(node.id)
    for group_id in gated:
        nodes[gate_node(group_id)].to.extend(groups[group_id].steps)


def _with_leaves(nodes: Mapping[str, Node], plan: Plan) -> Iterator[Node]:
    """A node that nobody waits for decides how the run ends; one that only validates others does not."""
    validating = {step.id for step in plan.workflow.steps if only_validates(step)}
    for node in nodes.values():
        consumers = [name for name in node.to if name not in validating]
        if node.kind != "gate" and not consumers and node.id not in validating:
            yield replace(node, leaf=True)
        else:
            yield node
