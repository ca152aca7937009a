"""What a workflow's steps form together: what each waits for, groups and barriers, linear runs, conflicting writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from orchestrator.units import size_bucket
from orchestrator.workflow.graph import Needs
from orchestrator.workflow.models import BarrierSpec, FailureCriteria, GroupSpec, StepSpec, TriggerRule, WorkflowSpec

_STARTS_EARLY = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ONE_DONE, TriggerRule.ALWAYS})
_SHOWN_STEPS = 10


def blocking_needs(step: StepSpec) -> tuple[str, ...]:
    """What the step waits for, each once: its needs, then the steps that it validates. Context never blocks."""
    return tuple(dict.fromkeys((*step.needs, *step.validates)))


def only_validates(step: StepSpec) -> bool:
    """Whether the step is there to look at what others have done, and for nothing else."""
    return bool(step.validates) and not step.needs


def input_bucket(step: StepSpec, input_bytes: int) -> int:
    """The size bucket of what a step is given: its parameters, and the inputs of its run."""
    return size_bucket(input_bytes + (len(json.dumps(dict(step.with_), default=str)) if step.with_ else 0))


def is_parallel(group: GroupSpec) -> bool:
    """Whether the members run side by side and are joined by a barrier; a group of one step has nothing to join."""
    return group.parallel_capable and len(group.steps) > 1


def needed_groups(workflow: WorkflowSpec, needs: Needs) -> dict[str, tuple[str, ...]]:
    """The parallel groups all of whose members a step needs, and whose barrier it therefore waits for.

    Steps that need no whole group are left out.
    """
    sizes = {group.id: len(set(group.steps)) for group in workflow.groups if is_parallel(group)}
    group_of = {step: group.id for group in workflow.groups if group.id in sizes for step in group.steps}
    found = {}
    for name, before in needs.items() if group_of else ():
        counts = Counter(group_of[need] for need in before if need in group_of)
        whole = tuple(group for group, count in counts.items() if count == sizes[group])
        if whole:
            found[name] = whole
    return found


def _forgives(barrier: BarrierSpec) -> bool:
    """Whether it may open although a member has failed that nothing stands for."""
    fewer = barrier.trigger_rule is not TriggerRule.ALL_SUCCESS or barrier.min_success is not None
    return barrier.failure_criteria is FailureCriteria.ALL or (
        fewer and barrier.failure_criteria is not FailureCriteria.ANY
    )


def kept_and_loose(
    workflow: WorkflowSpec, needs: Needs, barriers: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """The needs that reduction must keep, and those that may have failed although the step succeeded.

    A rule other than all_success is judged over every need by name, and says little about any one of them. The
    members of a group stay together where its barrier is awaited, and may have failed if the barrier forgives.
    """
    members = {group.id: group.steps for group in workflow.groups}
    forgiving = {group.id for group in workflow.groups if _forgives(group.barrier)}
    kept: dict[str, tuple[str, ...]] = {}
    loose: dict[str, tuple[str, ...]] = {}
    for step in workflow.steps:
        groups = barriers.get(step.id, ())
        if step.trigger_rule is not TriggerRule.ALL_SUCCESS:
            kept[step.id] = loose[step.id] = needs[step.id]
        elif groups:
            kept[step.id] = tuple(name for group in groups for name in members[group])
            loose[step.id] = tuple(name for group in groups if group in forgiving for name in members[group])
    return kept, loose


def found_groups(workflow: WorkflowSpec, needs: Needs, consumers: Needs) -> dict[str, tuple[str, ...]]:
    """Groups that the file does not name: steps that wait for the same and that the same steps wait for.

    Joining them adds no wait, because each consumer waits for all of them anyway; a consumer whose rule lets it
    start before the last one rules that out. Validations stay out: nothing waits for them. The id of such a group
    is `found_<first step>`.
    """
    barred = {step for group in workflow.groups for step in group.steps}
    barred |= {step.id for step in workflow.steps if only_validates(step)}
    early = {step.id for step in workflow.steps if step.trigger_rule in _STARTS_EARLY}
    alike: dict[tuple[object, ...], list[str]] = {}
    for step in workflow.steps:
        if step.id not in barred and early.isdisjoint(consumers[step.id]):
            key = (frozenset(needs[step.id]), consumers[step.id], step.trigger_rule)
            alike.setdefault(key, []).append(step.id)
    taken = {group.id for group in workflow.groups}
    return {_free_id(f"found_{names[0]}", taken): tuple(names) for names in alike.values() if len(names) > 1}


def _free_id(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def linear_runs(workflow: WorkflowSpec, needs: Needs, consumers: Needs) -> dict[str, tuple[str, ...]]:
    """Maximal runs a, b, c … in which each waits for nothing but the one before, which nothing else waits for.

    Every step has the rule all_success and none is a member of a parallel group. The key is the first step.
    """
    barred = {step for group in workflow.groups if is_parallel(group) for step in group.steps}
    barred |= {step.id for step in workflow.steps if step.trigger_rule is not TriggerRule.ALL_SUCCESS}
    follower = {
        before[0]: name
        for name, before in needs.items()
        if len(before) == 1 and consumers[before[0]] == (name,) and not {name, before[0]} & barred
    }
    runs = {}
    for first in needs.keys() & follower.keys() - set(follower.values()):
        run = [first]
        while run[-1] in follower:
            run.append(follower[run[-1]])
        runs[first] = tuple(run)
    return {name: runs[name] for name in needs if name in runs}


def conflicting_writes(workflow: WorkflowSpec) -> tuple[str, ...]:
    """A sentence for each path that several members of one parallel group declare to write.

    Declared are a step's `outputs` and the write side of its context; `a` and `a.b` are in conflict too.
    """
    warnings = []
    for group in workflow.groups:
        if is_parallel(group):
            for path, steps in _shared_paths(workflow, group).items():
                named = _listed(steps)
                warnings.append(
                    f"group {group.id} is parallel_capable, yet {named} declare conflicting writes to '{path}'"
                )
    return tuple(warnings)


def _shared_paths(workflow: WorkflowSpec, group: GroupSpec) -> dict[str, tuple[str, ...]]:
    position = {name: index for index, name in enumerate(group.steps)}
    writers: dict[tuple[str, ...], dict[str, None]] = {}
    for name in position:
        step = workflow.step(name)
        for written in (*step.outputs, *(step.context.write or ())):
            writers.setdefault(tuple(written.split(".")), {})[name] = None
    shared = {}
    for path, steps in writers.items():
        above = {name for end in range(1, len(path)) for name in writers.get(path[:end], ())}
        if len(everyone := above | steps.keys()) > 1:
            shared[".".join(path)] = tuple(sorted(everyone, key=position.__getitem__))
    return shared


def _listed(names: tuple[str, ...]) -> str:
    shown, more = names[:_SHOWN_STEPS], len(names) - _SHOWN_STEPS
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
