"""What a merge answers: the merged value, and conflicts, which may be settled while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, Literal

from msgspec import Struct

from orchestrator.context.paths import Path, path_from_json, path_to_json, show


class _Absence(Enum):
    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final[Literal[_Absence.ABSENT]] = _Absence.ABSENT
"""Stands where nothing is: before something was added, and after it was deleted. None is the JSON value null."""


class MergeConflict(Struct, frozen=True):
    """Two edits of one place that cannot both hold. Each side is a JSON value, or ABSENT where it was deleted or was
    not there yet."""

    path: Path
    base: Any
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"'{show(self.path)}' was changed by both sides"

    def swapped(self) -> MergeConflict:
        """The same conflict, seen from the other side."""
        return MergeConflict(self.path, self.base, self.theirs, self.ours)

    def to_json(self) -> dict[str, Any]:
        """`{"path": [...], "base", "ours", "theirs"}`, in which a side that is absent is left out."""
        sides = {"base": self.base, "ours": self.ours, "theirs": self.theirs}
        return {"path": path_to_json(self.path), **{name: side for name, side in sides.items() if side is not ABSENT}}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> MergeConflict:
        """The inverse of `to_json`."""
        base, ours, theirs = (row.get(side, ABSENT) for side in ("base", "ours", "theirs"))
        return cls(path_from_json(row["path"]), base, ours, theirs)


class Chosen(Struct, frozen=True):
    """What takes the place of a conflict; ABSENT deletes it."""

    value: Any


Choose = Callable[[MergeConflict], Chosen | None]
"""Settles a conflict while the merge goes on, or leaves it open with None."""


class Merged(Struct, frozen=True):
    """`value` holds both edits, and ours wherever a conflict is left open. `conflicts` are those, in the order of
    their paths. Parts of the value may be shared with the three that were merged."""

    value: Any
    conflicts: tuple[MergeConflict, ...] = ()
