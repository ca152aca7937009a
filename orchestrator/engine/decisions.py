"""Conflicts that wait for a person: what was decided takes its place, and the run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from celery import Celery

from orchestrator.context.fields import FieldWrite
from orchestrator.context.merge_models import ABSENT
from orchestrator.context.models import ContextConflict
from orchestrator.context.paths import Item, Path, path_from_json, show
from orchestrator.context.store import ContextStore
from orchestrator.context.values import canonical
from orchestrator.engine.commits import MERGES
from orchestrator.engine.join import follow
from orchestrator.engine.merging import MERGE_LIMIT, conflict_payload
from orchestrator.errors import Conflict, InvalidValue, NotFound, RunStateError
from orchestrator.run.replies import Moved, Refused
from orchestrator.run.store import Ledger

SIDES = ("base", "ours", "theirs")
BY_HAND = "resolve"
"""The author of versions that a person made by deciding."""


def resolve(
    app: Celery,
    ledger: Ledger,
    contexts: ContextStore,
    run_id: str,
    conflict_id: str,
    choice: str | None = None,
    *,
    value: Any = ABSENT,
    by_hand: bool = True,
) -> ContextConflict:
    """Decide an open conflict for one of its sides (`base`, `ours`, `theirs`) or for another value, and let the run go
    on when it was the last one. Raises NotFound, InvalidValue, and RunStateError when it is decided or the run over."""
    found = {conflict.id: conflict for conflict in contexts.conflicts(run_id)}.get(conflict_id)
    if found is None:
        raise NotFound(f"run {run_id} has no conflict '{conflict_id}'")
    chosen = value if choice is None else _side(found, choice)
    if chosen is ABSENT and choice is None:
        raise InvalidValue(f"choose a side of the conflict ({', '.join(SIDES)}) or give a value")
    reason = f"{'decided by hand' if by_hand else 'nobody decided in time'}: {choice or 'a new value'}"
    winner = {"ours": ", ".join(found.ours_by), "theirs": found.theirs_by}.get(choice or "", "")
    record = found.model_dump(mode="json", exclude={"id"}, exclude_unset=True) | {
        "state": "resolved", "by_hand": by_hand, "reason": reason, "winner": winner, "action": choice or "value",
    }  # fmt: skip
    for _ in range(MERGES):
        seen = contexts.read(run_id, names=[found.field]).fields.get(found.field)
        before = ABSENT if seen is None else json.loads(seen.text)
        after = _replaced(before, path_from_json(found.path)[2:], chosen, found)
        text = None if after is ABSENT else canonical(after, limit=MERGE_LIMIT, what=f"'{found.field}'")
        field = FieldWrite(found.field, text, 0 if seen is None else seen.version)
        answer = ledger.resolve(
            run_id, conflict_id, author=BY_HAND, fields=[field.payload()], record=conflict_payload(conflict_id, record)
        )
        if isinstance(answer, Refused):
            raise RunStateError(f"conflict {conflict_id} of run {run_id} waits for nobody: {answer.why}")
        if isinstance(answer, Moved):
            follow(app, run_id, answer)
            return ContextConflict(id=conflict_id, **record)
    raise Conflict(f"'{found.field}' could not be written: others were faster {MERGES} times")


def _side(found: ContextConflict, choice: str) -> Any:
    if choice not in SIDES:
        raise InvalidValue(f"'{choice}' is no side of a conflict; write one of {', '.join(SIDES)}")
    return getattr(found, choice) if choice in found.sides else ABSENT


def _replaced(value: Any, path: Path, chosen: Any, found: ContextConflict) -> Any:
    """The value with another one at the path; ABSENT takes out what is there."""
    if not path:
        return chosen
    part, *rest = path
    if isinstance(value, Mapping) and isinstance(part, str):
        inner = _replaced(value.get(part, ABSENT), tuple(rest), chosen, found)
        kept = {key: item for key, item in value.items() if key != part}
        return kept if inner is ABSENT else kept | {part: inner}
    if isinstance(value, list) and isinstance(part, Item):
        places = [at for at, item in enumerate(value) if isinstance(item, dict) and item.get(part.key) == part.value]
        at = places[0] if places else len(value)
        inner = _replaced(value[at] if places else ABSENT, tuple(rest), chosen, found)
        return [*value[:at], *(() if inner is ABSENT else (inner,)), *value[at + 1 :]]
    raise Conflict(f"{show(path)} is no longer a place in '{found.field}'; give the conflict up with its present value")
