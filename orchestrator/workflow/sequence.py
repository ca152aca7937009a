"""The sequential form of a plan: all steps one after another, as the most simple engine would run them. It is what a
parallel run is compared with, and a way to run a workflow whose agents cannot stand each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from itertools import accumulate

from msgspec import Struct

from orchestrator.workflow.graph import Needs
from orchestrator.workflow.models import GroupSpec
from orchestrator.workflow.plan import Plan
from orchestrator.workflow.structure import is_parallel


class Sequence(Struct, frozen=True):
    """`order` is topological, the most urgent of the startable steps first. Who needs a member of a group, and is
    needed by none, comes behind all its members; `mixed`: there is no such order."""

    order: tuple[str, ...]
    mixed: bool = False

    def inside(self, group: GroupSpec) -> GroupSpec:
        """The group with its members in this order."""
        return group.model_copy(update={"steps": tuple(sorted(group.steps, key=self.order.index))})

    def starts(self, plan: Plan) -> Iterator[float]:
        """When each step starts, in this order."""
        return accumulate((plan.steps[name].duration_seconds for name in self.order[:-1]), initial=0.0)

    def seconds(self, plan: Plan) -> float:
        """How long the run takes in this order."""
        return sum(plan.steps[name].duration_seconds for name in self.order)


def sequence(plan: Plan) -> Sequence:
    """The order of a plan's sequential form."""
    needs = {name: plan.steps[name].needs for name in plan.order}
    behind = _behind_groups(plan, needs)
    order = _by_priority(plan, {name: (*needs[name], *behind.get(name, ())) for name in plan.order})
    if order is not None:
        return Sequence(order)
    return Sequence(_by_priority(plan, needs) or plan.order, mixed=True)


def _behind_groups(plan: Plan, needs: Needs) -> dict[str, tuple[str, ...]]:
    """Step -> members that it does not need, but whose barrier has to judge before it hears of those that it needs."""
    behind: dict[str, tuple[str, ...]] = {}
    for group in plan.workflow.groups:
        if is_parallel(group):
            members, ahead = set(group.steps), _ancestors(group.steps, needs)
            for name in plan.order:
                if name not in members and name not in ahead and members.intersection(needs[name]):
                    behind[name] = (*behind.get(name, ()), *group.steps)
    return behind


def _ancestors(names: tuple[str, ...], needs: Needs) -> set[str]:
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        for need in needs[ahead.pop()]:
            if need not in found:
                found.add(need)
                ahead.append(need)
    return found


def _by_priority(plan: Plan, needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Every step after those that it needs; of several the one with the highest priority, then the longest way to the
    end, then file order. None if there is a cycle."""
    position = {step.id: index for index, step in enumerate(plan.workflow.steps)}
    waiting = {name: set(before) for name, before in needs.items()}
    consumers: dict[str, list[str]] = {}
    for name, before in waiting.items():
        for need in before:
            consumers.setdefault(need, []).append(name)

    def entry(name: str) -> tuple[int, float, int, str]:
        return -plan.steps[name].priority, -plan.steps[name].rank, position[name], name

    startable = [entry(name) for name, before in waiting.items() if not before]
    startable.sort()
    order = []
    while startable:
        name = heappop(startable)[-1]
        order.append(name)
        for consumer in consumers.get(name, ()):
            waiting[consumer].discard(name)
            if not waiting[consumer]:
                heappush(startable, entry(consumer))
    return tuple(order) if len(order) == len(waiting) else None
