"""The plan of a workflow: what may run side by side, what must wait, and how long it will take.

A plan is a pure function of a definition. `make_plan` is its only entry.

What a step's agent has taken lately counts, where the caller knows it. A step without an estimate counts with its
group's: whole in a parallel group, else its share of it. Without that, 60 seconds. Priorities: an explicit one wins;
else 10 on a critical path, 7 in a group, 6 elsewhere, and 5 for a step that only validates, unless no critical path
goes round it: nothing waits for it. Slack breaks ties. In every estimate a step starts after the last of its needs,
also one whose trigger rule would let it start earlier.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from orchestrator.errors import InvalidWorkflow, Problem
from orchestrator.workflow import graph, structure
from orchestrator.workflow.collector import collector_paused
from orchestrator.workflow.graph import Needs, Timing
from orchestrator.workflow.makespan import PlanLimits, Work, estimate
from orchestrator.workflow.models import DEFAULT_STEP_SECONDS, Frozen, WorkflowSpec

CRITICAL_PATH_PRIORITY = 10
GROUP_PRIORITY = 7
PLAIN_PRIORITY = 6
VALIDATION_PRIORITY = 5

NOTHING_LEARNED: Mapping[str, float] = {}


class PlannedStep(Frozen):
    """What the analysis found out about one step. All times in seconds.

    `needs` are the blocking dependencies after transitive reduction, validated steps among them; `consumers` the
    steps whose `needs` name this one. `needs_groups` are the parallel groups all of whose members it needs: it waits
    for their barriers, and its `needs` keep every member. `group` is the declared group, `segment` the linear run it
    belongs to (None when it is alone). `estimated_seconds` is what the definition says, `learned_seconds` what the
    step's agent took lately (None: not known yet), which then counts. `rank` is the upward rank: the longest estimated
    way from the start of this step to the end of the run. `on_critical_path`: any delay of this step delays the run
    (slack 0).
    """

    id: str
    duration_seconds: float
    estimated_seconds: float = DEFAULT_STEP_SECONDS
    learned_seconds: float | None = None
    earliest_start_seconds: float
    slack_seconds: float
    rank: float
    priority: int
    needs: tuple[str, ...]
    consumers: tuple[str, ...]
    needs_groups: tuple[str, ...] = ()
    group: str | None = None
    segment: str | None = None
    on_critical_path: bool = False


class PlannedGroup(Frozen):
    """Steps that may run side by side. `declared` groups come from the definition; found ones only share their place.

    `barrier`: a barrier joins the members (declared, parallel_capable, and more than one step).
    """

    id: str
    steps: tuple[str, ...]
    declared: bool
    barrier: bool = False


class Plan(Frozen):
    """The analysed workflow. `order` is topological, `makespan_seconds` maps a worker count to an estimate.

    `segments` maps the id of a linear run (its first step) to its steps in order. `critical_path` is one longest way;
    others of the same length may exist. `limited_by` and `warnings` are sentences.
    """

    workflow: WorkflowSpec
    order: tuple[str, ...]
    steps: Mapping[str, PlannedStep]
    groups: tuple[PlannedGroup, ...]
    segments: Mapping[str, tuple[str, ...]]
    critical_path: tuple[str, ...]
    critical_path_seconds: float
    makespan_seconds: Mapping[int, float]
    limited_by: str
    warnings: tuple[str, ...] = ()


def make_plan(
    workflow: WorkflowSpec,
    *,
    limits: PlanLimits | None = None,
    learned: Mapping[str, float] = NOTHING_LEARNED,
    find_groups: bool = True,
) -> Plan:
    """Analyse a definition; `limits` are what the deployment lets run at once, for the makespan only. `learned` maps
    steps to the seconds that they will take, which replace the definition's estimates. `find_groups`: also look for
    groups that the definition does not name, whose steps then are as urgent as those of one that it does.

    Raises InvalidWorkflow, naming each cycle as `pm → ux_expert → pm`.
    """
    with collector_paused():
        return _plan_of(_analyse(workflow, learned, find_groups), limits)


class _Facts(Struct, frozen=True):
    """What the analysis found, before it is written into the models."""

    workflow: WorkflowSpec
    order: tuple[str, ...]
    needs: Needs
    consumers: Needs
    barriers: Needs
    durations: Mapping[str, float]
    estimates: Mapping[str, float]
    learned: Mapping[str, float]
    timing: Timing
    critical_path: tuple[str, ...]
    validators: frozenset[str]
    found: Needs
    segments: Needs


def _plan_of(facts: _Facts, limits: PlanLimits | None) -> Plan:
    timing = facts.timing
    forecast = estimate(_work(facts, limits), limits.capacities() if limits else {}, timing.total)
    return Plan(
        workflow=facts.workflow,
        order=facts.order,
        steps=_planned_steps(facts),
        groups=_planned_groups(facts),
        segments=facts.segments,
        critical_path=facts.critical_path,
        critical_path_seconds=timing.total,
        makespan_seconds=forecast.makespans,
        limited_by=forecast.limited_by,
        warnings=structure.conflicting_writes(facts.workflow),
    )


def _analyse(workflow: WorkflowSpec, learned: Mapping[str, float], find_groups: bool) -> _Facts:
    blocking = {step.id: structure.blocking_needs(step) for step in workflow.steps}
    order = _ordered(blocking)
    barriers = structure.needed_groups(workflow, blocking)
    kept, loose = structure.kept_and_loose(workflow, blocking, barriers)
    needs = graph.reduce_needs(order, blocking, kept=kept, loose=loose)
    consumers = graph.consumers_of(needs)
    estimates = estimated_seconds(workflow)
    durations = {step: learned.get(step, seconds) for step, seconds in estimates.items()}
    timing = graph.timing(order, needs, durations)
    validators = frozenset(
        step.id for step in workflow.steps if structure.only_validates(step) and not consumers[step.id]
    )
    return _Facts(
        workflow=workflow,
        order=order,
        needs=needs,
        consumers=consumers,
        barriers=barriers,
        durations=durations,
        estimates=estimates,
        learned=learned,
        timing=timing,
        critical_path=graph.critical_path(needs, consumers, timing.rank, validators),
        validators=validators,
        found=structure.found_groups(workflow, needs, consumers) if find_groups else {},
        segments=structure.linear_runs(workflow, needs, consumers),
    )


def _ordered(blocking: Needs) -> tuple[str, ...]:
    unknown = [
        Problem(f"steps.{name}.needs", f"found '{need}', which is no step of this workflow")
        for name, before in blocking.items()
        for need in before
        if need not in blocking
    ]
    if unknown:
        raise InvalidWorkflow(unknown)
    order = graph.topological_order(blocking)
    if order is None:
        edges = [(need, name) for name, before in blocking.items() for need in before]
        raise InvalidWorkflow(
            [
                Problem(f"steps.{cycle[0]}.needs", f"the steps wait for each other: {' → '.join(cycle)}")
                for cycle in graph.find_cycles(blocking, edges)
            ]
        )
    return order


def estimated_seconds(workflow: WorkflowSpec) -> dict[str, float]:
    """What each step takes by its own estimate, by that of its group, or as steps do."""
    of_groups: dict[str, float] = {}
    for group in workflow.groups:
        if group.estimated_duration is not None and group.steps:
            share = 1 if group.parallel_capable else len(group.steps)
            of_groups |= dict.fromkeys(group.steps, group.estimated_duration.midpoint / share)
    return {
        step.id: of_groups.get(step.id, DEFAULT_STEP_SECONDS)
        if step.estimated_duration is None
        else step.estimated_duration.midpoint
        for step in workflow.steps
    }


def _work(facts: _Facts, limits: PlanLimits | None) -> Work:
    """The steps as numbers, highest rank first and then in file order, as the simulation wants them."""
    position = {name: index for index, name in enumerate(facts.needs)}
    ranked = sorted(position, key=lambda name: (-facts.timing.rank[name], position[name]))
    number = {name: index for index, name in enumerate(ranked)}
    return Work(
        durations=[facts.durations[name] for name in ranked],
        needs=[len(facts.needs[name]) for name in ranked],
        consumers=[[number[consumer] for consumer in facts.consumers[name]] for name in ranked],
        demands=[tuple(limits.demands(facts.workflow.step(name)).items()) if limits else () for name in ranked],
    )


def _planned_steps(facts: _Facts) -> dict[str, PlannedStep]:
    group_of = {step: group.id for group in facts.workflow.groups for step in group.steps}
    segment_of = {step: first for first, names in facts.segments.items() for step in names}
    priorities = _priorities(facts)
    timing = facts.timing
    return {
        name: PlannedStep(
            id=name,
            duration_seconds=facts.durations[name],
            estimated_seconds=facts.estimates[name],
            learned_seconds=facts.learned.get(name),
            earliest_start_seconds=timing.earliest_start[name],
            slack_seconds=timing.slack[name],
            rank=timing.rank[name],
            priority=priorities[name],
            needs=facts.needs[name],
            consumers=facts.consumers[name],
            needs_groups=facts.barriers.get(name, ()),
            group=group_of.get(name),
            segment=segment_of.get(name),
            on_critical_path=timing.slack[name] == 0,
        )
        for name in facts.needs
    }


def _priorities(facts: _Facts) -> dict[str, int]:
    grouped = {step for names in facts.found.values() for step in names}
    grouped |= {step for group in facts.workflow.groups if structure.is_parallel(group) for step in group.steps}
    spared = facts.validators - set(facts.critical_path)
    priorities = {}
    for step in facts.workflow.steps:
        if step.priority is not None:
            priority = step.priority
        elif facts.timing.slack[step.id] == 0 and step.id not in spared:
            priority = CRITICAL_PATH_PRIORITY
        elif step.id in grouped:
            priority = GROUP_PRIORITY
        else:
            priority = VALIDATION_PRIORITY if step.id in facts.validators else PLAIN_PRIORITY
        priorities[step.id] = priority
    return priorities


def _planned_groups(facts: _Facts) -> tuple[PlannedGroup, ...]:
    declared = [
        PlannedGroup(id=group.id, steps=group.steps, declared=True, barrier=structure.is_parallel(group))
        for group in facts.workflow.groups
    ]
    found = [PlannedGroup(id=name, steps=steps, declared=False) for name, steps in facts.found.items()]
    return (*declared, *found)
