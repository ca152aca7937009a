"""The end of a successful attempt: what it wrote is committed with its completion, merged with what others wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.barrier.policy import ALL_SUCCEEDED
from orchestrator.context.codec import unpack
from orchestrator.context.fields import FieldWrite, base_payload
from orchestrator.context.policy import Writer
from orchestrator.context.reader import ContextReader
from orchestrator.context.store import MAX_VALUE_BYTES, SharedWrite, moment
from orchestrator.engine import turns
from orchestrator.engine.merging import Edit, Findings, Outcome, findings, mark, merge_onto, merge_rules, merge_writes
from orchestrator.engine.runtime import Runtime, log
from orchestrator.errors import Conflict, LeaseLost
from orchestrator.run.replies import Claimed, Clash, Moved, Refused, Standing, Unlocked
from orchestrator.run.store import Payload

MERGES = 200
"""So often a commit is merged again with what others committed meanwhile. Each time one of them has got through."""

_RELEASE = (ALL_SUCCEEDED.action.value, ALL_SUCCEEDED.reason)


class Written(Struct, frozen=True):
    """What an attempt wants to commit: fields of the context, files by name, the tokens of the locks under which it
    wrote, the outputs that its step declares and has not written, and what else is said of the run's quality. `source`:
    where it is from, if from the cache."""

    fields: tuple[FieldWrite, ...]
    files: Mapping[str, bytes]
    locks: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    source: str = ""
    marks: tuple[Mapping[str, str], ...] = ()


def complete(
    runtime: Runtime,
    run_id: str,
    granted: Claimed,
    reader: ContextReader,
    written: Written,
    *,
    apart: bool = False,
) -> Moved | Refused:
    """Complete the attempt and commit what it wrote, `cached` when that is an earlier result; one round trip, and one
    more for each time that another writer was faster. `apart`: it is a mapped step's, whose lanes have ended. Raises
    Conflict when that happens too often, or when the policy is that conflicts fail."""
    step = granted.definition["id"]
    merging = _Merging(runtime, run_id, granted, reader, {write.field: write for write in written.fields})
    for _ in range(MERGES):
        merging.take_branches()
        payloads = [write.payload() for write in merging.fields.values()]
        texts = [write.text for write in merging.fields.values()]
        runtime.segments.put(run_id, [(str(row[2]), text) for row, text in zip(payloads, texts, strict=True)])
        left = merging.left()
        answer = runtime.ledger.finish(
            run_id,
            step,
            "cached" if written.source else "success",
            token=granted.token,
            reason=written.source,
            snapshot=granted.version,
            seen=granted.branches,
            absorbed=merging.absorbed,
            fields=payloads,
            conflicts=left.records,
            bases=_bases(granted, reader, written),
            undecided=left.undecided,
            files=written.files,
            locks=written.locks,
            marks=[*_marks(step, written), *written.marks],
            apart=apart,
            onward=None if apart else turns.onward(run_id),
            release=_RELEASE if "group" in granted.definition else None,
        )
        turns.moved(run_id, answer)
        if isinstance(answer, Unlocked):
            raise LeaseLost(
                f"step '{step}' lost the lock of '{answer.section}' before what it wrote under it was committed"
            )
        if not isinstance(answer, Clash):
            return answer
        for standing in answer.fields:
            merging.take(standing)
    raise Conflict(f"step '{step}' could not commit {', '.join(merging.fields)}: others were faster {MERGES} times")


def _bases(granted: Claimed, reader: ContextReader, written: Written) -> list[Payload]:
    """What a member of a group started from when it read branches; else the ledger knows it by the version."""
    if not granted.branches or "group" not in granted.definition:
        return []
    fields = [write.field for write in written.fields if write.read_at is not None]
    return [base_payload(name, reader.base(name)) for name in fields]


def _marks(step: str, written: Written) -> list[Mapping[str, str]]:
    if not written.missing:
        return []
    message = f"{step} did not write {', '.join(written.missing)}, which it declares"
    return [mark("output", "medium", message, step=step)]


class _Merging:
    """What an attempt commits, as it is merged with what others have written. `fields` go to the ledger, `found` are
    the conflicts by field, `absorbed` what other branches have come in with it."""

    def __init__(
        self,
        runtime: Runtime,
        run_id: str,
        granted: Claimed,
        reader: ContextReader,
        originals: Mapping[str, FieldWrite],
    ) -> None:
        self.fields = dict(originals)
        self.found: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self.absorbed: list[tuple[str, str]] = []
        self._runtime, self._run_id, self._granted, self._reader = runtime, run_id, granted, reader
        self._originals = originals

    def left(self) -> Findings:
        """What could not be merged."""
        if not self.found:
            return Findings([], [])
        return findings(self._runtime, {name: record for one in self.found.values() for name, record in one.items()})

    def take_branches(self) -> None:
        """Somebody outside a group who has read branches and writes the same fields brings those edits along: they come
        before its own, and the main line may have gone on beside them."""
        if not self._granted.branches or "group" in self._granted.definition:
            return
        shared = [write.field for write in self._originals.values() if write.read_at is not None]
        if not shared:
            return
        _, writes = self._runtime.context.shared_writes(self._run_id, self._granted.branches)
        by_field, rules = dict[str, list[SharedWrite]](), merge_rules(self._granted.definition)
        for write in writes:
            if write.field in shared:
                by_field.setdefault(write.field, []).append(write)
        self.absorbed = [(write.writer.step, write.field) for found in by_field.values() for write in found]
        for name, found in by_field.items():
            before = merge_writes(self._runtime, name, found, rules)
            latest = max((write.writer for write in found), key=lambda writer: writer.committed)
            self._settle(name, found[0].version, before, latest)

    def take(self, standing: Standing) -> None:
        """The main line's field has changed since it was read."""
        name = standing.field
        log.info("run %s step %s: merging %s", self._run_id, self._granted.definition["id"], name)
        text = unpack(standing.packed, name, limit=MAX_VALUE_BYTES) if standing.packed else None
        writer = Writer(standing.author, moment(standing.at), standing.priority)
        self._settle(name, standing.version, Outcome(text, {}), writer)

    def _settle(self, name: str, version: int, before: Outcome, first: Writer) -> None:
        definition = self._granted.definition
        original = self._originals[name]
        mine = Edit(Writer(definition["id"], first.committed + 1, definition["priority"]), original.text)
        edits = [Edit(first, before.text), mine]
        outcome = merge_onto(self._runtime, name, before, self._reader.base(name), edits, merge_rules(definition))
        if outcome.failed:
            raise Conflict(outcome.failed)
        self.fields[name] = replace(original, text=outcome.text, read_at=version)
        self.found[name] = outcome.conflicts
