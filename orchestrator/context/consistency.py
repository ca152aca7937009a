"""Rules between the outputs of a group, looked at when its barrier joins them: what has to be equal, what contained.

consistency:
  - equal: [ux_expert.ui_spec.platform, architect.system_architecture.platform]
  - subset: ["ux_expert.user_journeys.*.story_id", "pm.user_stories.*.id"]
    message: a journey tells a story that nobody wrote
    blocking: true
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from orchestrator.context.values import canonical, same
from orchestrator.fields import Frozen

RulePath = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}(\.([A-Za-z0-9_-]{1,64}|\*)){0,15}$", max_length=256),
]
"""A path into the context; `*` stands for every item of a list or every value of a mapping."""

_SHOWN = 5


class ConsistencyRule(Frozen):
    """Either `equal`: all paths hold the same value, or `subset`: everything at the first path is found at the second.

    For `subset` a list counts as its items, a mapping as its keys, anything else as itself. `message` is for people.
    With `blocking`, a violation fails the group; otherwise it only marks the run.
    """

    equal: Annotated[tuple[RulePath, ...], Field(min_length=2)] | None = None
    subset: tuple[RulePath, RulePath] | None = None
    message: str = ""
    blocking: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.equal is None) == (self.subset is None):
            raise ValueError("a rule is either `equal: [path, path]` or `subset: [path, path]`")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        return self.equal or self.subset or ()

    def __str__(self) -> str:
        return " == ".join(self.equal) if self.equal else " within ".join(self.paths)


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold. `values` has what stands at each path, without those where nothing stands."""

    rule: ConsistencyRule
    values: Mapping[str, Any]
    complaint: str

    def __str__(self) -> str:
        return f"{self.rule.message}: {self.complaint}" if self.rule.message else self.complaint

    def to_json(self) -> dict[str, Any]:
        """`{"rule", "values": {path: value}, "message", "blocking"}`."""
        values = dict(self.values)
        return {"rule": str(self.rule), "values": values, "message": str(self), "blocking": self.rule.blocking}


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
