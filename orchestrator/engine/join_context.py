"""What a barrier commits: its members' branches merged in their declared order, and stand-ins for those without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.context.fields import FILLED, FieldWrite, split
from orchestrator.context.store import SharedWrite
from orchestrator.engine.merging import Edit, conflict_payloads, merge_edit
from orchestrator.engine.runtime import Runtime
from orchestrator.run.store import Payload


@dataclass(frozen=True, slots=True)
class Joined:
    """The members whose branches are merged, the payload of the merge, and what it left to decide."""

    branches: tuple[str, ...]
    fields: list[Payload]
    conflicts: list[Payload]


def merge_members(
    runtime: Runtime, run_id: str, members: Sequence[str], filled: Mapping[str, Mapping[str, Any]]
) -> Joined:
    """Read the branches and merge them in memory; one round trip. What a step wrote into its own namespace needs no
    merge and is not fetched: the script that commits takes it over."""
    branches, writes = runtime.context.shared_writes(run_id, members)
    fields: dict[str, FieldWrite] = {}
    conflicts: dict[str, Mapping[str, Any]] = {}
    for write in writes:
        before = fields.get(write.field)
        outcome = merge_edit(runtime, _edit(write, write.ours if before is None else before.text))
        fields[write.field] = FieldWrite(write.field, outcome.text, write.version)
        conflicts |= outcome.conflicts
    handling = runtime.settings.barrier_synchronization.timeout_handling.timeout_strategies
    mark = f"{FILLED}:{handling.continue_with_partial.quality_impact}"
    limit = runtime.settings.engine.max_value_bytes
    stand_ins = [field for step, document in filled.items() for field in split(step, document, limit=limit, mark=mark)]
    payloads: list[Payload] = [field.payload() for field in (*fields.values(), *stand_ins)]
    return Joined(branches, payloads, conflict_payloads(conflicts))


def _edit(write: SharedWrite, ours: str | None) -> Edit:
    return Edit(write.field, write.step, 0, write.base, ours, write.theirs or "null")
