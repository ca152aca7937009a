"""Merging what several steps have written into one field of the context, as texts; what cannot be merged is decided by
the deployment's policy, and recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from orchestrator.context import policy
from orchestrator.context.codec import pack
from orchestrator.context.joining import Branch, ConflictRecord, Joined, join
from orchestrator.context.merge_models import ABSENT
from orchestrator.context.policy import Action, ConflictPolicy, ConflictSpec, Contest, Writer, decide
from orchestrator.context.store import SharedWrite
from orchestrator.context.values import canonical
from orchestrator.engine import schemas
from orchestrator.engine.runtime import Runtime, log
from orchestrator.run.models import QualityMark
from orchestrator.run.store import Payload, Undecided
from orchestrator.workflow.sharing import MergeRules

MESSAGE_CHARACTERS = 500
"""Of what a mark says; the conflict's record tells all."""
MERGE_LIMIT = 64_000_000
"""Bytes of a merged field: two values of the allowed size may give a larger one."""


class Edit(Struct, frozen=True):
    """A writer's value of a field, as canonical JSON; None for no value."""

    writer: Writer
    text: str | None


class Outcome(Struct, frozen=True):
    """The text of the field with all edits, None when it has no value any more, and the conflicts that were found, as
    JSON documents by id. `failed` says what could not be merged when the policy is that this fails; the text is of no
    use then."""

    text: str | None
    conflicts: Mapping[str, Mapping[str, Any]]
    failed: str = ""


class Findings(Struct, frozen=True):
    """Conflicts as the ledger takes them: their records, and those that a person has to decide."""

    records: list[Payload]
    undecided: list[Undecided]


def conflict_spec(runtime: Runtime) -> ConflictSpec:
    """How the deployment handles conflicts."""
    engine = runtime.settings.engine
    late = {"decision_timeout": engine.decision_timeout or None, "otherwise": ConflictPolicy(engine.decision_fallback)}
    return policy.conflict_spec(runtime.settings.context_conflicts).model_copy(update=late)


def merge_edits(runtime: Runtime, field: str, base: str | None, edits: Sequence[Edit], rules: MergeRules) -> Outcome:
    """Merge the edits of one field, which all started from `base`, in the given order, by the workflow's rules. Merged
    to what its schema refuses, they are not accepted: then the policy chooses one of them."""
    changed = [edit for edit in edits if edit.text != base]
    if len({edit.text for edit in changed}) <= 1:
        return Outcome((changed[0] if changed else edits[0]).text, {})
    joined = _joined(runtime, field, base, changed, rules)
    text = _text(field, joined.value)
    complaint = "" if text is None else schemas.complaint(field, text)
    if complaint:
        log.warning("what %s wrote is not merged: %s", ", ".join(edit.writer.step for edit in changed), complaint)
        joined = _joined(runtime, field, base, changed, rules, merge=False)
        text = _text(field, joined.value)
    places = ", ".join(str(record.conflict) for record in joined.failed)
    steps = ", ".join(edit.writer.step for edit in changed)
    failed = f"what {steps} wrote cannot be merged: {places}" if places else ""
    writers = {edit.writer.step: edit.writer for edit in changed}
    records = [_record(field, record, conflict_spec(runtime), writers) for record in joined.records]
    if complaint:
        records = [record | {"reason": f"merged, {complaint}; {record['reason']}".rstrip("; ")} for record in records]
    return Outcome(text, {conflict_id(record): record for record in records}, failed)


def _joined(
    runtime: Runtime, field: str, base: str | None, edits: Sequence[Edit], rules: MergeRules, *, merge: bool = True
) -> Joined:
    """The edits in one value; without `merge`, the policy chooses one of them whole."""
    spec = conflict_spec(runtime)
    return join(
        _value(base),
        [Branch(edit.writer, _value(edit.text)) for edit in edits],
        spec if merge else spec.model_copy(update={"merge": False}),
        rules,
        at=tuple(field.split(".", 1)),
        now=max(edit.writer.committed for edit in edits) / 1_000_000,
    )


def _text(field: str, value: Any) -> str | None:
    return None if value is ABSENT else canonical(value, limit=MERGE_LIMIT, what=f"the merged '{field}'")


def merge_writes(runtime: Runtime, field: str, writes: Sequence[SharedWrite], rules: MergeRules) -> Outcome:
    """Merge what branches have made of one field into what the main line has: all at once when they started from one
    value, else one after the other, each from its own."""
    now = Edit(writes[0].standing, writes[0].ours)
    if len({write.base for write in writes}) == 1:
        edits = [now, *(Edit(one.writer, one.theirs) for one in writes)]
        return merge_edits(runtime, field, writes[0].base, edits, rules)
    outcome = Outcome(now.text, {})
    for write in writes:
        outcome = merge_onto(runtime, field, outcome, write.base, [now, Edit(write.writer, write.theirs)], rules)
        now = Edit(max(now.writer, write.writer, key=lambda writer: writer.committed), outcome.text)
    return outcome


def merge_onto(
    runtime: Runtime, field: str, before: Outcome, base: str | None, edits: Sequence[Edit], rules: MergeRules
) -> Outcome:
    """The next merge of a field after another one, whose conflicts and failure are kept."""
    after = merge_edits(runtime, field, base, edits, rules)
    return Outcome(after.text, {**before.conflicts, **after.conflicts}, before.failed or after.failed)


def _value(text: str | None) -> Any:
    return ABSENT if text is None else json.loads(text)


def _record(field: str, record: ConflictRecord, spec: ConflictSpec, writers: Mapping[str, Writer]) -> dict[str, Any]:
    """A conflict as it is kept. An open one tells which side stands when nobody decides."""
    found: dict[str, Any] = {"field": field, **record.to_json(), "state": "resolved"}
    if record.decision.action is Action.WAIT:
        ours = tuple(writers[name] for name in record.ours)
        late = decide(ConflictSpec(policy=spec.otherwise), Contest(ours, writers[record.theirs]))
        found |= {"state": "open", "otherwise": late.action.value, "reason": ""}
    return found


def conflict_id(record: Mapping[str, Any]) -> str:
    """It says what the conflict is about, so that a repeated merge records it once."""
    return blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=6).hexdigest()


def merge_rules(definition: Mapping[str, Any]) -> MergeRules:
    """The workflow's rules, which travel in the definitions of barriers and of steps outside groups."""
    return MergeRules.model_validate(definition.get("merge", {}))


def findings(runtime: Runtime, conflicts: Mapping[str, Mapping[str, Any]]) -> Findings:
    """Conflicts as the ledger takes them."""
    timeout = runtime.settings.engine.decision_timeout or None
    undecided: list[Undecided] = [(name, timeout) for name, record in conflicts.items() if record["state"] == "open"]
    return Findings([conflict_payload(name, record) for name, record in conflicts.items()], undecided)


def conflict_payload(name: str, record: Mapping[str, Any]) -> Payload:
    """A conflict's record as `payload.lua` reads it."""
    return name, pack(json.dumps(record, separators=(",", ":")))


def mark(kind: str, level: str, message: str, **where: str) -> Mapping[str, str]:
    """Something that is not as it should be in a `group` or `step`, as the ledger takes it."""
    found = QualityMark(kind=kind, level=level, message=message[:MESSAGE_CHARACTERS], **where)
    return found.model_dump(exclude_unset=True)
