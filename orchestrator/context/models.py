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
    """Two edits of one place that could not both hold. `path` leads from the field to the place; `author` and
    `attempt` wrote `theirs`, `ours` was there before. A side without a value is None. `resolution` is how it was
    decided, `state` whether it is (`resolved`) or waits for a decision (`open`)."""

    id: str
    field: str
    path: tuple[Any, ...]
    author: str
    attempt: int
    resolution: str
    state: Literal["open", "resolved"]
    base: Any = None
    ours: Any = None
    theirs: Any = None


class Difference(Frozen):
    """A field that differs between two versions, with both values."""

    field: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None
