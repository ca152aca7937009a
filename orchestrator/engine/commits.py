"""The end of a successful attempt: what it wrote is committed with its completion, merged with what others wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.context.codec import unpack
from orchestrator.context.fields import FieldWrite
from orchestrator.context.policy import Writer
from orchestrator.context.reader import ContextReader
from orchestrator.context.store import MAX_VALUE_BYTES, moment
from orchestrator.engine.merging import Edit, Outcome, findings, merge_edits, merge_rules
from orchestrator.engine.runtime import Runtime, log
from orchestrator.errors import Conflict, LeaseLost
from orchestrator.run.replies import Claimed, Clash, Moved, Refused, Standing, Unlocked

MERGES = 200
"""So often a commit is merged again with what others committed meanwhile. Each time one of them has got through."""


@dataclass(frozen=True, slots=True)
class Written:
    """What an attempt wants to commit: fields of the context, files by name, and the tokens of the locks under which
    it wrote."""

    fields: tuple[FieldWrite, ...]
    files: Mapping[str, bytes]
    locks: Mapping[str, int] = field(default_factory=dict)


def complete(
    runtime: Runtime, run_id: str, granted: Claimed, reader: ContextReader, written: Written
) -> Moved | Refused:
    """Complete the attempt and commit what it wrote; one round trip, and one more for each time that another writer was
    faster. Raises Conflict when that happens too often, or when the policy is that conflicts fail."""
    step = granted.definition["id"]
    originals = {write.field: write for write in written.fields}
    fields = dict(originals)
    found: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    for _ in range(MERGES):
        left = findings(runtime, {name: record for one in found.values() for name, record in one.items()})
        answer = runtime.ledger.finish(
            run_id,
            step,
            "success",
            token=granted.token,
            snapshot=granted.version,
            fields=[write.payload() for write in fields.values()],
            conflicts=left.records,
            undecided=left.undecided,
            files=written.files,
            locks=written.locks,
        )
        if isinstance(answer, Unlocked):
            raise LeaseLost(
                f"step '{step}' lost the lock of '{answer.section}' before what it wrote under it was committed"
            )
        if not isinstance(answer, Clash):
            return answer
        for standing in answer.fields:
            log.info("run %s step %s: merging %s, which others have changed", run_id, step, standing.field)
            original = originals[standing.field]
            outcome = _merged(runtime, granted, reader, standing, original)
            if outcome.failed:
                raise Conflict(outcome.failed)
            fields[standing.field] = replace(original, text=outcome.text, read_at=standing.version)
            found[standing.field] = outcome.conflicts
    raise Conflict(f"step '{step}' could not commit {', '.join(fields)}: others were faster {MERGES} times")


def _merged(
    runtime: Runtime, granted: Claimed, reader: ContextReader, standing: Standing, original: FieldWrite
) -> Outcome:
    field = standing.field
    seen = reader.seen(field)
    ours = unpack(standing.packed, field, limit=MAX_VALUE_BYTES) if standing.packed else None
    first = Writer(standing.author, moment(standing.at), standing.priority)
    second = Writer(granted.definition["id"], first.committed + 1, granted.definition["priority"])
    base = None if seen is None else seen.text
    edits = [Edit(first, ours), Edit(second, original.text)]
    return merge_edits(runtime, field, base, edits, merge_rules(granted.definition))
