"""A definition in words: what `explain` says."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.errors import NotFound
from orchestrator.units import format_duration
from orchestrator.workflow.models import (
    BarrierSpec,
    CrossValidation,
    FailureCriteria,
    GroupSpec,
    LockMode,
    RetryPolicy,
    StepSpec,
    TriggerRule,
)
from orchestrator.workflow.plan import Plan
from orchestrator.workflow.sharing import MergeRules

_RULES = {
    TriggerRule.ALL_SUCCESS: "all of them have succeeded",
    TriggerRule.ALL_FAILED: "all of them have failed",
    TriggerRule.ALL_DONE: "all of them have ended, however they ended",
    TriggerRule.ALL_DONE_MIN_ONE_SUCCESS: "all of them have ended and at least one has succeeded",
    TriggerRule.ONE_SUCCESS: "one of them has succeeded",
    TriggerRule.ONE_FAILED: "one of them has failed",
    TriggerRule.ONE_DONE: "one of them has succeeded or failed",
    TriggerRule.NONE_FAILED: "all of them have ended and none has failed",
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: "all have ended, none has failed, and at least one has succeeded",
    TriggerRule.NONE_SKIPPED: "all of them have ended and none was skipped",
    TriggerRule.ALL_SKIPPED: "all of them were skipped",
    TriggerRule.ALWAYS: "at any time",
}
_STRATEGIES = {
    "extend_timeout": "give more time while there is progress",
    "continue_with_partial": "go on with what there is, gaps filled with defaults",
    "abort_and_fallback": "run the unfinished ones again, one after another",
}
_FAILURES = {
    FailureCriteria.ALL: "goes on with less as long as one of them succeeds",
    FailureCriteria.ANY: "fails with the first of them that does",
}
_VIOLATIONS = {
    "record": "marks the run",
    "fail": "fails the group",
    "manual": "waits for a person to decide",
}


def find_step(plan: Plan, step: str) -> str:
    """The id, if the plan has that step. Raises NotFound with a suggestion."""
    if step not in plan.steps:
        raise unknown_step(step, plan.order, f"workflow '{plan.workflow.name}'")
    return step


def unknown_step(step: str, known: Sequence[str], where: str) -> NotFound:
    """The error for a step that is not there, with the name that was probably meant."""
    close = difflib.get_close_matches(step, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"steps: {', '.join(known[:20])}"
    return NotFound(f"{where} has no step '{step}'; {hint}")


def step_facts(plan: Plan, name: str) -> dict[str, Any]:
    """What is known about one step, as JSON values; `says` holds the sentences."""
    step, planned = plan.workflow.step(name), plan.steps[name]
    group = next((group for group in plan.workflow.groups if group.id == planned.group), None)
    return {
        "agent": step.agent,
        "description": step.description,
        "waits_for": list(planned.needs),
        "then": list(planned.consumers),
        "says": [*_start(step, plan), *_data(step), *_bounds(step), *_place(plan, name), *_joined(group, name)],
    }


def text(plan: Plan, stories: Mapping[str, Mapping[str, Any]], *, whole: bool) -> str:
    """The stories as a page; `whole`: with what belongs to the workflow itself."""
    lines = list(_workflow(plan)) if whole else []
    for name, facts in stories.items():
        title = name if facts["agent"] == name else f"{name} (agent {facts['agent']})"
        lines.append(f"{title}: {facts['description']}" if facts["description"] else title)
        lines += [f"  - {sentence}" for sentence in facts["says"]]
    return "\n".join(lines)


def _workflow(plan: Plan) -> Iterator[str]:
    workflow = plan.workflow
    yield f"{workflow.name}, version {workflow.version}" + (f": {workflow.description}" if workflow.description else "")
    for name, declared in workflow.inputs.items():
        need = "required" if declared.required else f"default {_short(declared.default)}"
        example = f", for example {_short(declared.example)}" if declared.example is not None else ""
        about = f": {declared.description}" if declared.description else ""
        yield f"input {name} ({need}{example}){about}"
    if workflow.timeout is not None:
        yield f"the whole run may take {format_duration(workflow.timeout)}"
    if workflow.max_parallel is not None:
        yield f"at most {workflow.max_parallel} of its steps run at a time"
    if workflow.fairness_key is not None:
        yield f"it shares what pools give with all runs of '{workflow.fairness_key}'"
    if workflow.fairness_weight != 1:
        yield f"it gets {workflow.fairness_weight:g} times the share of pools of a run of weight 1"
    for group in workflow.groups:
        if group.description or group.name:
            yield f"group {group.id}: {' - '.join(part for part in (group.name, group.description) if part)}"
    yield from _merging(workflow.merge)
    yield ""


def _merging(rules: MergeRules) -> Iterator[str]:
    for path, key in rules.identity.items():
        yield f"the items of {path} are told apart by {key} when edits are merged"
    if rules.ordered:
        yield f"in {', '.join(rules.ordered)} the order counts when edits are merged"
    if rules.whole:
        yield f"{', '.join(rules.whole)} is never taken apart: two different edits are a conflict"


def _start(step: StepSpec, plan: Plan) -> Iterator[str]:
    needs = plan.steps[step.id].needs
    if not needs:
        yield "starts at once: it waits for nothing"
    elif len(needs) == 1 and step.trigger_rule is TriggerRule.ALL_SUCCESS:
        yield f"starts when {needs[0]} has succeeded"
    else:
        yield f"waits for {', '.join(needs)} and starts when {_RULES[step.trigger_rule]}"
    for barrier in plan.steps[step.id].needs_groups:
        yield f"needs all of group {barrier}, so it waits for that group's barrier"
    if step.wants:
        yield f"uses what {', '.join(step.wants)} has written if it is there by then, and never waits for it"
    if step.validates:
        yield f"checks {', '.join(step.validates)} after completion"


def _data(step: StepSpec) -> Iterator[str]:
    reads = sorted({*step.inputs, *(step.context.read or ())})
    writes = [f"{step.id}.{path}" for path in step.outputs] + list(step.context.write or ())
    yield f"reads {', '.join(reads)}" if reads else "reads whatever its agent declares"
    yield f"writes {', '.join(dict.fromkeys(writes))}" if writes else f"may write anything below {step.id}.*"
    if step.with_:
        yield f"gets the parameters {_short(dict(step.with_))}"
    if step.locks:
        yield f"starts when it has the locks {_locks(step.locks)}, and holds them until it ends"
    if isinstance(step.cache, bool):
        yield f"{'takes' if step.cache else 'never takes'} its result from the cache{' if it is there' * step.cache}"
    elif step.cache is not None:
        yield f"takes its result from the cache if it is there and at most {format_duration(step.cache)} old"
    if step.defaults is not None:
        gap = f"fill in {_short(dict(step.defaults))} for it" if step.defaults else "go on without it"
        yield f"a barrier may {gap}"


def _locks(locks: Mapping[str, LockMode]) -> str:
    return ", ".join(f"{section} (to {mode})" for section, mode in locks.items())


def _bounds(step: StepSpec) -> Iterator[str]:
    if step.timeout is not None:
        yield f"an attempt is ended after {format_duration(step.timeout)}"
    if step.idle_timeout is not None:
        yield f"an attempt is ended after {format_duration(step.idle_timeout)} without progress"
    if step.schedule_timeout is not None:
        yield f"it waits at most {format_duration(step.schedule_timeout)} for a worker"
    yield _attempts(step.retry)
    resources = step.resources
    if not resources.empty:
        held = [f"cpu {_amount(resources.cpu)}"] if resources.cpu else []
        held += [f"memory {_amount(resources.memory)}"] if resources.memory else []
        held += [f"{name} {_amount(amount)}" for name, amount in resources.pools.items()]
        yield f"holds {', '.join(held)} while it runs"
    yield from _limits(step)


def _limits(step: StepSpec) -> Iterator[str]:
    limit, rate = step.concurrency_limit, step.rate_limit
    if limit is not None:
        more = {"queue": "waits", "skip": "is skipped", "cancel_running": "cancels the runs of those"}
        yield f"is one of at most {limit.limit} of '{limit.group}' at a time; one more {more[limit.on_conflict]}"
    if rate is not None:
        of = f"together with all of '{rate.key}'" if rate.key else f"of all that {step.agent} does"
        yield f"begins no more often than {' and '.join(rate.limits)}, {of}"


def _attempts(retry: RetryPolicy) -> str:
    if retry.maximum_attempts == 1:
        return "is tried once"
    count = "without end" if retry.maximum_attempts == 0 else f"up to {retry.maximum_attempts} times"
    pause = f"after {format_duration(retry.initial_interval)}, then {retry.backoff_coefficient:g} times as long"
    never = retry.non_retryable_error_types
    return f"is tried {count}, again {pause}" + (f"; not after {', '.join(never)}" if never else "")


def _place(plan: Plan, name: str) -> Iterator[str]:
    planned = plan.steps[name]
    took = format_duration(planned.duration_seconds)
    if planned.on_critical_path:
        yield f"takes about {took} on the critical path: any delay of it delays the run; priority {planned.priority}"
    else:
        slack = format_duration(round(planned.slack_seconds, 3))
        yield f"takes about {took}, may be {slack} late without delaying the run; priority {planned.priority}"


def _joined(group: GroupSpec | None, name: str) -> Iterator[str]:
    if group is None:
        return
    others = [step for step in group.steps if step != name]
    if not others or not group.parallel_capable:
        yield f"belongs to group {group.id}, which has no barrier"
        return
    yield f"runs side by side with {', '.join(others)} in group {group.id}; their barrier {_barrier(group.barrier)}"


def _barrier(barrier: BarrierSpec) -> str:
    enough = f"at least {barrier.min_success} of them succeed" if barrier.min_success else _RULES[barrier.trigger_rule]
    parts = [f"opens when {enough}"]
    if barrier.failure_criteria is not None:
        parts.append(_FAILURES[barrier.failure_criteria])
    if barrier.timeout is not None:
        order = "; then ".join(_STRATEGIES[strategy] for strategy in barrier.on_timeout)
        parts.append(f"after {format_duration(barrier.timeout)} it would {order}")
    for rule in barrier.consistency:
        sign = "equals" if rule.equal else "is within"
        parts.append(f"it checks that {f' {sign} '.join(rule.paths)}, and otherwise {_VIOLATIONS[rule.on_violation]}")
    if barrier.cross_validation.enabled:
        parts.append(_validation(barrier.cross_validation))
    return ", ".join(parts)


def _validation(spec: CrossValidation) -> str:
    who = ", ".join(spec.validation_agents) or "its members"
    what = "fails the group" if spec.blocking else "marks the run"
    return (
        f"before it releases anybody, {who} validate what the others wrote within "
        f"{format_duration(spec.validation_timeout)}; what they object to {what}"
    )


def _amount(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _short(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 200 else shown[:199] + "…"
