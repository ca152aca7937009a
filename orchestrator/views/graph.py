"""The graph of a run as it is drawn: what its plan foresaw for each step, and the arrows between steps and barriers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from orchestrator.keys import barrier_node, validation_group
from orchestrator.run.models import GroupStatus, RunStatus
from orchestrator.views.models import Edge, Planned
from orchestrator.workflow.models import WorkflowSpec
from orchestrator.workflow.plan import Plan, make_plan

PLANS_KEPT = 64


def plan_of(spec: str, definitions: Mapping[str, Mapping[str, Any]]) -> Plan | None:
    """The plan that a run was started with, from what the ledger keeps of it: the workflow, and what a step was
    expected to take when it was not the workflow that said it. None for one that this version of the library cannot
    read."""
    learned = {name: float(one["learned"]) for name, one in definitions.items() if "learned" in one}
    return _plan(spec, tuple(sorted(learned.items())))


@lru_cache(PLANS_KEPT)
def _plan(spec: str, learned: tuple[tuple[str, float], ...]) -> Plan | None:
    try:
        return make_plan(WorkflowSpec.model_validate_json(spec), learned=dict(learned))
    except ValidationError:
        return None


def planned(plan: Plan, step: str) -> Planned | None:
    """What the plan foresaw for a step; None for one that a barrier put in."""
    found = plan.steps.get(step)
    if found is None:
        return None
    return Planned(
        start_seconds=found.earliest_start_seconds,
        finish_seconds=found.earliest_start_seconds + found.duration_seconds,
        duration_seconds=found.duration_seconds,
        slack_seconds=found.slack_seconds,
        on_critical_path=found.on_critical_path,
    )


def edges(plan: Plan | None, status: RunStatus) -> tuple[Edge, ...]:
    """Every arrow: those of the plan (after transitive reduction) and those of the barriers that the run has."""
    barriers = tuple(_of_barriers(status.groups))
    return barriers if plan is None else (*_of_plan(plan, status.groups), *barriers)


def _of_plan(plan: Plan, groups: Mapping[str, GroupStatus]) -> Iterator[Edge]:
    for step in plan.steps.values():
        spec = plan.workflow.step(step.id)
        through = {member for group in step.needs_groups if group in groups for member in groups[group].members}
        for need in step.needs:
            if need not in through:
                yield Edge(source=need, target=step.id, kind="validates" if need in spec.validates else "needs")
        for group in step.needs_groups:
            if group in groups:
                last = validation_group(group)
                yield Edge(source=barrier_node(last if last in groups else group), target=step.id, kind="barrier")
        for wanted in spec.wants:
            yield Edge(source=wanted, target=step.id, kind="wants")


def _of_barriers(groups: Mapping[str, GroupStatus]) -> Iterator[Edge]:
    for group in groups.values():
        for member in group.members:
            yield Edge(source=member, target=barrier_node(group.id), kind="member")
        last = groups.get(validation_group(group.id))
        for validator in last.members if last is not None else ():
            yield Edge(source=barrier_node(group.id), target=validator, kind="barrier")
