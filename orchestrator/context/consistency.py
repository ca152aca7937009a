"""Rules between the outputs of a group, looked at when its barrier joins them: what has to be equal, what contained."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from orchestrator.context.policy import ConflictPolicy
from orchestrator.context.values import canonical, same
from orchestrator.workflow.sharing import ConsistencyRule, OnViolation

_SHOWN = 5


class Violation(Struct, frozen=True):
    """A rule that does not hold. `values` has what stands at each path, without those where nothing stands."""

    rule: ConsistencyRule
    values: Mapping[str, Any]
    complaint: str

    def __str__(self) -> str:
        return f"{self.rule.message}: {self.complaint}" if self.rule.message else self.complaint

    def to_conflict(self, group: str, late: ConflictPolicy) -> dict[str, Any]:
        """The record of a conflict (see `models.ContextConflict`): ours is what stands at the first path, theirs what
        stands at the first other one that differs. `late` says what becomes of it when a person should decide and
        does not: with FAIL the run fails, with any other word it goes on as it is."""
        first = self.rule.paths[0]
        other = next((path for path in self.rule.paths[1:] if not self._equals_first(path)), self.rule.paths[-1])
        sides = {"ours": first, "theirs": other}
        waits = self.rule.on_violation is OnViolation.MANUAL
        found = {
            "kind": "consistency",
            "group": group,
            "field": ".".join(first.split(".")[:2]),
            "path": first.split("."),
            "place": str(self.rule),
            "paths": list(self.rule.paths),
            "equal": self.rule.equal is not None,
            "ours_by": [first.split(".")[0]],
            "theirs_by": other.split(".")[0],
            "action": "wait" if waits else self.rule.on_violation.value,
            "winner": "",
            "reason": str(self),
            "quality_impact": self.rule.quality_impact,
            "state": "open" if waits else "resolved",
        } | {side: self.values[path] for side, path in sides.items() if path in self.values}
        if waits:
            found["otherwise"] = "fail" if late is ConflictPolicy.FAIL else "accept"
        return found

    def _equals_first(self, path: str) -> bool:
        first = self.rule.paths[0]
        return first in self.values and path in self.values and same(self.values[first], self.values[path])


def evaluate(rules: Iterable[ConsistencyRule], documents: Mapping[str, Any]) -> tuple[Violation, ...]:
    """The violations, in the order of the rules. `documents` maps step ids and shared sections to what they hold.

    A rule about a step that wrote nothing at all, because it failed or was skipped, is not judged; one about a step
    that left out the value is violated.
    """
    found = (_judge(rule, documents) for rule in rules)
    return tuple(violation for violation in found if violation is not None)


def _judge(rule: ConsistencyRule, documents: Mapping[str, Any]) -> Violation | None:
    if any(path.split(".")[0] not in documents for path in rule.paths):
        return None
    values = {path: found for path in rule.paths for found in _found(path, documents)}
    missing = [path for path in rule.paths if path not in values]
    if missing:
        return Violation(rule, values, f"nothing stands at {', '.join(missing)}")
    if rule.equal is not None:
        first, *others = values.items()
        different = [path for path, value in others if not same(first[1], value)]
        if not different:
            return None
        told = "; ".join(f"{path} is {_short(values[path])}" for path in (first[0], *different))
        return Violation(rule, values, told)
    part, whole = (_elements(values[path]) for path in rule.paths)
    outside = [element for text, element in part.items() if text not in whole]
    if not outside:
        return None
    told = ", ".join(_short(element) for element in outside[:_SHOWN])
    more = f" and {len(outside) - _SHOWN} more" if len(outside) > _SHOWN else ""
    return Violation(rule, values, f"{rule.paths[0]} has {told}{more}, which {rule.paths[1]} has not")


def _found(path: str, documents: Mapping[str, Any]) -> Iterator[Any]:
    """The value at a path, if there is one. With `*`, the list of all values found, which skips what lacks a key."""
    before, star, after = path.partition(".*")
    values: list[Any] = [documents]
    for part in before.split("."):
        values = [inner for value in values for inner in _inside(value, part)]
    if not star:
        yield from values
    elif values:
        for part in f"*{after}".split("."):
            values = [inner for value in values for inner in _inside(value, part)]
        yield values


def _inside(value: Any, part: str) -> Iterable[Any]:
    if part == "*":
        if isinstance(value, Mapping):
            return value.values()
        return value if isinstance(value, list) else ()
    return (value[part],) if isinstance(value, Mapping) and part in value else ()


def _elements(value: Any) -> dict[str, Any]:
    """Canonical text -> element."""
    elements = list(value) if isinstance(value, Mapping | list) else [value]
    return {canonical(element, limit=sys.maxsize, what="an element"): element for element in elements}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"
