"""The edits that several branches made of one field, joined into one value: merged, and decided where they collide.

Branches are merged in the order in which they are given, which is that of the definition, so that the value does not
depend on who arrived first. Only the policy looks at the order of commits, and only where two edits collide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct, field

from orchestrator.context.merge import DEFAULT_RULES, merge
from orchestrator.context.merge_models import ABSENT, Chosen, MergeConflict
from orchestrator.context.paths import Item, Path, show
from orchestrator.context.policy import Action, ConflictSpec, Contest, Decision, Writer, decide
from orchestrator.context.values import same
from orchestrator.workflow.sharing import MergeRules


class Branch(Struct, frozen=True):
    """What one step made of the field: a JSON value, or ABSENT if it deleted it."""

    writer: Writer
    value: Any


class ConflictRecord(Struct, frozen=True):
    """A conflict, the steps that made its sides, and what was decided; GIVEN means by a person."""

    conflict: MergeConflict
    ours: tuple[str, ...]
    theirs: str
    decision: Decision

    def to_json(self) -> dict[str, Any]:
        """`{"path", "place", "base", "ours", "theirs", "ours_by", "theirs_by", "action", "winner", "reason"}`."""
        return {
            **self.conflict.to_json(),
            "place": show(self.conflict.path),
            "ours_by": list(self.ours),
            "theirs_by": self.theirs,
            "action": self.decision.action.value,
            "winner": self.decision.winner,
            "reason": self.decision.reason,
        }


class Joined(Struct, frozen=True):
    """`value` is complete unless `waiting` or `failed`, where ours still stands in it. `records` holds every conflict,
    whatever became of it."""

    value: Any
    records: tuple[ConflictRecord, ...] = ()

    @property
    def waiting(self) -> tuple[ConflictRecord, ...]:
        """Conflicts that a person has to decide."""
        return tuple(record for record in self.records if record.decision.action is Action.WAIT)

    @property
    def failed(self) -> tuple[ConflictRecord, ...]:
        """Conflicts that fail the run."""
        return tuple(record for record in self.records if record.decision.action is Action.FAIL)


def join(
    base: Any,
    branches: Sequence[Branch],
    spec: ConflictSpec,
    rules: MergeRules = DEFAULT_RULES,
    *,
    at: Path = (),
    decided: Mapping[Path, Chosen] | None = None,
    now: float = 0.0,
    asked_at: float | None = None,
) -> Joined:
    """Join the branches of one field. Raises nothing.

    `decided` maps the path of a conflict to what a person chose there: give the same branches again with it, and the
    merge goes on from there. `now` and `asked_at` as in `policy.Contest`.
    """
    if not spec.merge:
        rules = rules.keeping_whole(at)
    judge = _Judge(spec, at, decided or {}, now, asked_at)
    value = base
    for index, branch in enumerate(branches):
        choose = partial(judge.choose, branches[:index], branch.writer)
        value = merge(base, value, branch.value, rules, at=at, choose=choose).value
    return Joined(value, tuple(judge.records))


class _Judge(Struct):
    spec: ConflictSpec
    at: Path
    decided: Mapping[Path, Chosen]
    now: float
    asked_at: float | None
    records: list[ConflictRecord] = field(default_factory=list)

    def choose(self, earlier: Sequence[Branch], theirs: Writer, conflict: MergeConflict) -> Chosen:
        ours = _authors(conflict, earlier, conflict.path[len(self.at) :])
        chosen = self.decided.get(conflict.path)
        if chosen is not None:
            decision = Decision(Action.GIVEN, reason="decided by hand")
        else:
            decision = decide(self.spec, Contest(ours, theirs, self.now, self.asked_at))
            chosen = Chosen(conflict.theirs if decision.action is Action.THEIRS else conflict.ours)
        self.records.append(ConflictRecord(conflict, tuple(writer.step for writer in ours), theirs.step, decision))
        return chosen


def _authors(conflict: MergeConflict, earlier: Sequence[Branch], inside: Path) -> tuple[Writer, ...]:
    """The earlier branches that changed the place; all of them if what they made together differs from each."""
    changed = [branch.writer for branch in earlier if not _same(_at(branch.value, inside), conflict.base)]
    return tuple(changed) or tuple(branch.writer for branch in earlier)


def _at(value: Any, path: Path) -> Any:
    for part in path:
        if isinstance(part, Item):
            items = value if isinstance(value, list) else []
            value = next(
                (item for item in items if isinstance(item, dict) and item.get(part.key) == part.value), ABSENT
            )
        else:
            value = value.get(part, ABSENT) if isinstance(value, dict) else ABSENT
    return value


def _same(one: Any, other: Any) -> bool:
    return one is other if one is ABSENT or other is ABSENT else same(one, other)
