"""The end of a successful attempt: what it wrote is committed with its completion, merged with what others wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.context.codec import unpack
from orchestrator.context.fields import FieldWrite
from orchestrator.context.reader import ContextReader
from orchestrator.context.store import MAX_VALUE_BYTES
from orchestrator.engine.merging import Edit, conflict_payloads, merge_edit
from orchestrator.engine.runtime import Runtime, log
from orchestrator.errors import Conflict
from orchestrator.run.replies import Claimed, Clash, Moved, Refused

MERGES = 200
"""So often a commit is merged again with what others committed meanwhile. Each time one of them has got through."""


@dataclass(frozen=True, slots=True)
class Written:
    """What an attempt wants to commit: fields of the context, and files by name."""

    fields: tuple[FieldWrite, ...]
    files: Mapping[str, bytes]


def complete(
    runtime: Runtime, run_id: str, granted: Claimed, reader: ContextReader, written: Written
) -> Moved | Refused:
    """Complete the attempt and commit what it wrote; one round trip, and one more for each time that another writer was
    faster. Raises Conflict when that happens too often."""
    step = granted.definition["id"]
    fields = {write.field: write for write in written.fields}
    conflicts: dict[str, Mapping[str, Any]] = {}
    for _ in range(MERGES):
        answer = runtime.ledger.finish(
            run_id,
            step,
            "success",
            token=granted.token,
            snapshot=granted.version,
            fields=[write.payload() for write in fields.values()],
            conflicts=conflict_payloads(conflicts),
            files=written.files,
        )
        if not isinstance(answer, Clash):
            return answer
        log.info("run %s step %s: merging %s, which others have changed", run_id, step, ", ".join(answer.fields))
        originals = {write.field: write for write in written.fields}
        for field, (version, packed) in answer.fields.items():
            seen = reader.seen(field)
            outcome = merge_edit(
                runtime,
                Edit(
                    field=field,
                    author=step,
                    attempt=granted.token,
                    base=None if seen is None else seen.text,
                    ours=unpack(packed, field, limit=MAX_VALUE_BYTES) if packed else None,
                    theirs=originals[field].text,
                ),
            )
            fields[field] = replace(originals[field], text=outcome.text, read_at=version)
            conflicts |= outcome.conflicts
    raise Conflict(f"step '{step}' could not commit {', '.join(fields)}: others were faster {MERGES} times")
