"""The barrier of a cross-validation: what the validators have found decides whether a group is released."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator import keys
from orchestrator.barrier.validation import Action, Decision, Report, ValidationResult, decide
from orchestrator.engine.join_context import merge_members
from orchestrator.engine.merging import mark
from orchestrator.engine.runtime import Runtime, log
from orchestrator.run.replies import GroupState, Moved, Refused
from orchestrator.workflow.models import CrossValidation


def judge_validation(runtime: Runtime, run_id: str, state: GroupState, *, overdue: bool) -> tuple[str, Moved | Refused]:
    """Decide and let the decision take effect; the action, and the ledger's answer. One more round trip to read."""
    definition = state.definition
    spec = CrossValidation.model_validate(definition["validation"])
    reports = _reports(runtime, run_id, state)
    decision = decide(spec, reports, overdue=overdue)
    if decision.action is Action.WAIT:
        return decision.action, Refused("waiting")
    log.info("run %s barrier %s: %s, %s", run_id, definition["group"], decision.action.value, decision.reason)
    joined = merge_members(runtime, run_id, definition, {}, releases=False, own=state.own_branches)
    answer = runtime.ledger.judge(
        run_id,
        definition["id"],
        "success" if decision.action is Action.RELEASE else "failed",
        action=decision.action.value,
        decision="; ".join((decision.reason, *decision.complaints)),
        members=definition["members"],
        seen=[member.state for member in state.members],
        branches=joined.branches,
        fields=joined.fields,
        marks=_marks(spec, definition, decision),
        early=True,
    )
    return decision.action, answer


def _reports(runtime: Runtime, run_id: str, state: GroupState) -> list[Report]:
    steps = {str(member.definition["id"]): member.state for member in state.members}
    fields = runtime.context.read(run_id, names=list(steps), branches=list(steps)).fields
    said: dict[str, dict[str, Any]] = {}
    for name, value in fields.items():
        step, _, key = name.partition(".")
        if key:
            said.setdefault(step, {})[key] = json.loads(value.text)
    return [
        Report(step, state, ValidationResult.model_validate(said[step]) if step in said else None)
        for step, state in steps.items()
    ]


def _marks(spec: CrossValidation, definition: Mapping[str, Any], decision: Decision) -> list[Mapping[str, str]]:
    group = keys.group_of(definition["id"])
    return [mark("validation", spec.quality_impact, complaint, group=group) for complaint in decision.complaints]
