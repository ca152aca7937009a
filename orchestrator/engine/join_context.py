"""What a barrier commits: its members' branches merged in their declared order, and stand-ins for those without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.context.fields import FILLED, FieldWrite, split
from orchestrator.context.store import SharedWrite
from orchestrator.engine.merging import Edit, Findings, Outcome, findings, merge_edits
from orchestrator.engine.runtime import Runtime
from orchestrator.run.store import Payload


@dataclass(frozen=True, slots=True)
class Joined:
    """The members whose branches are merged, the payload of the merge, and what it left to decide. `failed`: what the
    policy takes for a failure of the group; the main line keeps what it has there, the records tell the rest."""

    branches: tuple[str, ...]
    fields: list[Payload]
    left: Findings
    failed: str = ""


def merge_members(
    runtime: Runtime, run_id: str, members: Sequence[str], filled: Mapping[str, Mapping[str, Any]]
) -> Joined:
    """Read the branches and merge them in memory; one round trip. What a step wrote into its own namespace needs no
    merge and is not fetched: the script that commits takes it over."""
    branches, writes = runtime.context.shared_writes(run_id, members)
    by_field: dict[str, list[SharedWrite]] = {}
    for write in writes:
        by_field.setdefault(write.field, []).append(write)
    fields, failed = [], []
    conflicts: dict[str, Mapping[str, Any]] = {}
    for field, found in by_field.items():
        outcome = _merged(runtime, field, found)
        if outcome.failed:
            failed.append(outcome.failed)
        else:
            fields.append(FieldWrite(field, outcome.text, found[0].version))
        conflicts |= outcome.conflicts
    mark = f"{FILLED}:{impact_of_filling(runtime)}"
    limit = runtime.settings.engine.max_value_bytes
    stand_ins = [field for step, document in filled.items() for field in split(step, document, limit=limit, mark=mark)]
    payloads: list[Payload] = [field.payload() for field in (*fields, *stand_ins)]
    return Joined(branches, payloads, findings(runtime, conflicts), "; ".join(failed))


def impact_of_filling(runtime: Runtime) -> str:
    """How much worse the deployment takes a run to be in which defaults stand for results: low, medium or high."""
    strategies = runtime.settings.barrier_synchronization.timeout_handling.timeout_strategies
    return strategies.continue_with_partial.quality_impact


def _merged(runtime: Runtime, field: str, writes: Sequence[SharedWrite]) -> Outcome:
    """All edits at once when they started from one value; else one after the other, each from its own."""
    now = Edit(writes[0].standing, writes[0].ours)
    if len({write.base for write in writes}) == 1:
        return merge_edits(runtime, field, writes[0].base, [now, *(Edit(one.writer, one.theirs) for one in writes)])
    conflicts: dict[str, Mapping[str, Any]] = {}
    failed = ""
    for write in writes:
        outcome = merge_edits(runtime, field, write.base, [now, Edit(write.writer, write.theirs)])
        failed = failed or outcome.failed
        now = Edit(max(now.writer, write.writer, key=lambda writer: writer.committed), outcome.text)
        conflicts |= outcome.conflicts
    return Outcome(now.text or "null", conflicts, failed)
