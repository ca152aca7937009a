"""Conflicts that wait for a person: what was decided takes its place, and the run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery import Celery

from orchestrator.context.fields import FieldWrite
from orchestrator.context.merge_models import ABSENT
from orchestrator.context.models import ContextConflict
from orchestrator.context.paths import Item, Path, path_from_json, show
from orchestrator.context.store import ContextStore
from orchestrator.context.values import canonical
from orchestrator.engine import schemas
from orchestrator.engine.commits import MERGES
from orchestrator.engine.join import follow
from orchestrator.engine.merging import MERGE_LIMIT, conflict_payload, mark
from orchestrator.errors import Conflict, InvalidValue, NotFound, RunStateError
from orchestrator.run.replies import Moved, Refused
from orchestrator.run.store import Ledger

SIDES = ("base", "ours", "theirs")
ACCEPT = "accept"
"""The decision that a rule need not hold."""
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
    on when it was the last one. A violated rule can be accepted as well (`accept`), which marks the run; a side or a
    value settles it at every path of an `equal` rule, a value at the first path of a `subset` rule.

    Raises NotFound, InvalidValue, and RunStateError when it is decided or the run over.
    """
    found = {conflict.id: conflict for conflict in contexts.conflicts(run_id)}.get(conflict_id)
    if found is None:
        raise NotFound(f"run {run_id} has no conflict '{conflict_id}'")
    places = _places(found, choice)
    chosen = value if choice is None else _side(found, choice)
    if chosen is ABSENT and choice is None:
        raise InvalidValue(f"choose a side of the conflict ({', '.join(SIDES)}) or give a value")
    reason = f"{'decided by hand' if by_hand else 'nobody decided in time'}: {choice or 'a new value'}"
    winner = {"ours": ", ".join(found.ours_by), "theirs": found.theirs_by}.get(choice or "", "")
    record = found.model_dump(mode="json", exclude={"id"}, exclude_unset=True) | {
        "state": "resolved", "by_hand": by_hand, "reason": reason, "winner": winner, "action": choice or "value",
    }  # fmt: skip
    for _ in range(MERGES):
        fields = [field.payload() for field in _written(contexts, run_id, found, places, chosen)]
        answer = ledger.resolve(
            run_id,
            conflict_id,
            author=BY_HAND,
            fields=fields,
            record=conflict_payload(conflict_id, record),
            marks=_marks(found, reason) if choice == ACCEPT else (),
        )
        if isinstance(answer, Refused):
            raise RunStateError(f"conflict {conflict_id} of run {run_id} waits for nobody: {answer.why}")
        if isinstance(answer, Moved):
            follow(app, run_id, answer)
            return ContextConflict(id=conflict_id, **record)
    raise Conflict(f"'{found.field}' could not be written: others were faster {MERGES} times")


def _places(found: ContextConflict, choice: str | None) -> list[Path]:
    """Where the decision is written: each path begins with a section and one of its keys."""
    if found.kind == "write":
        return [path_from_json(found.path)]
    if choice == ACCEPT:
        return []
    wanted = found.paths if found.equal else found.paths[:1]
    if choice is not None and not found.equal:
        raise InvalidValue(f"neither side settles '{found.place}'; write {ACCEPT}, or give a value for {wanted[0]}")
    paths = [tuple(path.split(".")) for path in wanted]
    if any("*" in path or len(path) == 1 for path in paths):
        raise InvalidValue(f"'{found.place}' is about more than one value; the only decision is {ACCEPT}")
    return list(paths)


def _side(found: ContextConflict, choice: str) -> Any:
    words = SIDES if found.kind == "write" else (ACCEPT, *SIDES[1:])
    if choice not in words:
        raise InvalidValue(f"'{choice}' is no side of this conflict; write one of {', '.join(words)}")
    return getattr(found, choice) if choice in found.sides else ABSENT


def _marks(found: ContextConflict, reason: str) -> list[Mapping[str, str]]:
    return [mark(found.kind, found.quality_impact, f"{found.reason}; {reason}", group=found.group)]


def _written(
    contexts: ContextStore, run_id: str, found: ContextConflict, places: Sequence[Path], chosen: Any
) -> Iterator[FieldWrite]:
    """The fields that the paths lead into, with the chosen value in its places."""
    by_field: dict[str, list[Path]] = {}
    for place in places:
        by_field.setdefault(".".join(str(part) for part in place[:2]), []).append(place[2:])
    for name, inner in by_field.items():
        seen = contexts.read(run_id, names=[name]).fields.get(name)
        value = ABSENT if seen is None else json.loads(seen.text)
        for path in inner:
            value = _replaced(value, path, chosen, found)
        text = None if value is ABSENT else canonical(value, limit=MERGE_LIMIT, what=f"'{name}'")
        complaint = "" if text is None else schemas.complaint(name, text)
        if complaint:
            raise InvalidValue(f"that decision does not stand: {complaint}")
        yield FieldWrite(name, text, 0 if seen is None else seen.version)


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
