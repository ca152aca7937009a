"""Merging what several steps have written into one field of the context, as texts; what cannot be merged is decided by
the deployment's policy, and recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from orchestrator.context.codec import pack
from orchestrator.context.merge import ABSENT, MergeConflict, MergeRules, merge
from orchestrator.context.values import canonical
from orchestrator.engine.runtime import Runtime
from orchestrator.run.store import Payload

MERGE_LIMIT = 64_000_000
"""Bytes of a merged field: two values of the allowed size may give a larger one."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A writer's value of a field beside the one that is there, as canonical JSON; None for no value. `base` is what
    the writer started from."""

    field: str
    author: str
    attempt: int
    base: str | None
    ours: str | None
    theirs: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The text of the field with both edits, and the conflicts that were found, as JSON documents by id."""

    text: str
    conflicts: Mapping[str, Mapping[str, Any]]


def merge_edit(runtime: Runtime, edit: Edit, rules: MergeRules | None = None) -> Outcome:
    """Merge an edit into what is there. Where both changed the same, what is there stays: the first writer wins."""
    if edit.ours == edit.base or edit.ours is None:
        return Outcome(edit.theirs, {})
    if edit.theirs in (edit.ours, edit.base):
        return Outcome(edit.ours, {})
    path = tuple(edit.field.split(".", 1))
    base, ours, theirs = (ABSENT if text is None else json.loads(text) for text in (edit.base, edit.ours, edit.theirs))
    merged = merge(base, ours, theirs, rules or MergeRules(), at=path)
    text = canonical(merged.value, limit=MERGE_LIMIT, what=f"the merged '{edit.field}'")
    return Outcome(text, dict(_record(edit, conflict) for conflict in merged.conflicts))


def _record(edit: Edit, conflict: MergeConflict) -> tuple[str, dict[str, Any]]:
    """A conflict as it is kept. Its id says what it is about, so that a repeated merge records it once."""
    digest = blake2b(f"{edit.field}\0{edit.author}\0{edit.attempt}\0{conflict.path}".encode(), digest_size=6)
    record = {
        "field": edit.field,
        "author": edit.author,
        "attempt": edit.attempt,
        "resolution": "first_writer",
        "state": "resolved",
        **conflict.to_json(),
    }
    return digest.hexdigest(), record


def conflict_payloads(conflicts: Mapping[str, Mapping[str, Any]]) -> list[Payload]:
    """Conflicts as `commit.lua` reads them."""
    return [(name, pack(json.dumps(record, separators=(",", ":")))) for name, record in conflicts.items()]
