"""What is told about a run's context: its versions, and what differs between them."""

from __future__ import annotations

from typing import Any, Literal

from orchestrator.fields import Frozen


class FieldChange(Frozen):
    """A field that a version changed. `before` and `after` are content hashes, None for no value; `before_version` is
    the version that had set the field, 0 for none. `mark`: `filled` when a default stands in."""

    field: str
    before_version: int
    before: str | None
    after: str | None
    mark: str = ""


class Version(Frozen):
    """One commit. `author` is a step, a barrier (`@<group>`) or `restore`, `attempt` the step's fencing token, `at`
    Redis' time in seconds; `hash` covers the change and all versions before it. `names` are snapshots kept of it."""

    version: int
    parent: int
    author: str
    attempt: int
    at: float
    hash: str
    changed: tuple[FieldChange, ...]
    names: tuple[str, ...] = ()


class ContextConflict(Frozen):
    """Edits of one place that could not both hold. `place` is where, `ours_by` are the steps behind `ours`, which was
    there before; a side without a value is None. `winner` is the step whose edit stands and `reason` says why. Until
    somebody decides, an `open` one leaves ours in its place; `otherwise` is the side that stands if nobody does.

    One of the kind `consistency` is a rule of a group that does not hold: `place` is the rule, ours and theirs what
    stands at two of its `paths`; all of it stays there, unless somebody decides for one value."""

    id: str
    kind: Literal["write", "consistency"] = "write"
    field: str
    path: tuple[Any, ...]
    place: str
    group: str = ""
    paths: tuple[str, ...] = ()
    equal: bool = False
    ours_by: tuple[str, ...]
    theirs_by: str
    action: str
    winner: str
    reason: str
    state: Literal["open", "resolved"]
    by_hand: bool = False
    otherwise: str = ""
    quality_impact: str = ""
    base: Any = None
    ours: Any = None
    theirs: Any = None

    @property
    def sides(self) -> frozenset[str]:
        """The sides that have a value, which may be null."""
        return frozenset({"base", "ours", "theirs"} & self.model_fields_set)


class Difference(Frozen):
    """A field that differs between two versions, with both values."""

    field: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None
