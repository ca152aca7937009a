"""What a barrier commits: its members' branches merged in their declared order, and stand-ins for those without; and
what it finds in that which should not be so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from orchestrator.context.consistency import Violation, evaluate
from orchestrator.context.fields import FILLED, FieldWrite, assemble, split
from orchestrator.context.policy import ConflictPolicy
from orchestrator.context.store import SharedWrite
from orchestrator.engine.merging import Findings, conflict_id, findings, mark, merge_rules, merge_writes
from orchestrator.engine.runtime import Runtime
from orchestrator.run.store import Payload
from orchestrator.workflow.models import BarrierSpec
from orchestrator.workflow.sharing import ConsistencyRule, OnViolation


class Joined(Struct, frozen=True):
    """The members whose branches are merged, the payload of the merge, and what it left to decide. `failed`: what the
    policy takes for a failure of the group; the main line keeps what it has there, the records tell the rest.
    `marks` say what is not as it should be, as JSON; `absorbed` are fields of other groups' branches, which members had
    read, and which had to be merged with theirs."""

    branches: tuple[str, ...]
    fields: list[Payload]
    left: Findings
    failed: str = ""
    marks: tuple[Mapping[str, str], ...] = ()
    absorbed: tuple[tuple[str, str], ...] = ()


def merge_members(
    runtime: Runtime,
    run_id: str,
    definition: Mapping[str, Any],
    filled: Mapping[str, Mapping[str, Any]],
    *,
    releases: bool = True,
    own: tuple[str, ...] | None = None,
) -> Joined:
    """Read the branches of a group, by its barrier's definition, and merge them in memory; one round trip, and another
    one to look at its consistency rules when the barrier is going to release somebody.

    What a step wrote into its own namespace needs no merge and is not fetched: the script that commits takes it over.
    `own`: the branches, when it is known that there is nothing else in any of them, so that nothing has to be read.
    """
    known: tuple[tuple[str, ...], list[SharedWrite]] | None = None if own is None else (own, [])
    branches, writes = known or runtime.context.shared_writes(run_id, definition["members"])
    by_field: dict[str, list[SharedWrite]] = {}
    for write in writes:
        by_field.setdefault(write.field, []).append(write)
    fields, failed = [], []
    conflicts: dict[str, Mapping[str, Any]] = {}
    rules = merge_rules(definition)
    for field, found in by_field.items():
        outcome = merge_writes(runtime, field, found, rules)
        if outcome.failed:
            failed.append(outcome.failed)
        else:
            fields.append(FieldWrite(field, outcome.text, found[0].version))
        conflicts |= outcome.conflicts
    fields += _stand_ins(runtime, filled)
    violations = _violations(runtime, run_id, definition, fields) if releases else ()
    late = ConflictPolicy(runtime.settings.engine.decision_fallback)
    records = [one.to_conflict(definition["group"], late) for one in violations]
    conflicts |= {conflict_id(record): record for record in records}
    failed += [str(one) for one in violations if one.rule.on_violation is OnViolation.FAIL]
    payloads: list[Payload] = [field.payload() for field in fields]
    marks = _marks(runtime, definition["group"], filled, violations)
    absorbed = tuple((one.writer.step, one.field) for one in writes if one.writer.step not in branches)
    return Joined(branches, payloads, findings(runtime, conflicts), "; ".join(failed), marks, absorbed)


def _stand_ins(runtime: Runtime, filled: Mapping[str, Mapping[str, Any]]) -> list[FieldWrite]:
    mark = f"{FILLED}:{impact_of_filling(runtime)}"
    limit = runtime.settings.engine.max_value_bytes
    return [field for step, document in filled.items() for field in split(step, document, limit=limit, mark=mark)]


def impact_of_filling(runtime: Runtime) -> str:
    """How much worse the deployment takes a run to be in which defaults stand for results: low, medium or high."""
    strategies = runtime.settings.barrier_synchronization.timeout_handling.timeout_strategies
    return strategies.continue_with_partial.quality_impact


def _violations(
    runtime: Runtime, run_id: str, definition: Mapping[str, Any], fields: Sequence[FieldWrite]
) -> tuple[Violation, ...]:
    """The rules of the group that do not hold in what its barrier is about to commit: the main line, over it the
    branches of the members, over these the merged fields and stand-ins."""
    rules: tuple[ConsistencyRule, ...] = BarrierSpec.model_validate(definition["barrier"]).consistency
    phase = runtime.settings.barrier_synchronization.phases.phase_4_synchronization
    if not rules or "validate_cross_agent_consistency" not in phase:
        return ()
    sections = {path.split(".")[0] for rule in rules for path in rule.paths}
    reading = runtime.context.read(run_id, names=sorted(sections), branches=definition["members"])
    texts = {name: value.text for name, value in reading.fields.items()}
    texts |= {field.field: field.text for field in fields if field.text is not None}
    return evaluate(rules, assemble((name, json.loads(text)) for name, text in texts.items()))


def _marks(
    runtime: Runtime, group: str, filled: Mapping[str, Any], violations: Sequence[Violation]
) -> tuple[Mapping[str, str], ...]:
    """What marks the run. Where a person decides, the mark is left until somebody accepts the violation."""
    found: list[tuple[str, str, str]] = [
        ("consistency", one.rule.quality_impact, str(one)) for one in violations if one.rule.on_violation == "record"
    ]
    if filled:
        found.append(("partial", impact_of_filling(runtime), f"defaults stand in for {', '.join(filled)}"))
    return tuple(mark(kind, level, message, group=group) for kind, level, message in found)
