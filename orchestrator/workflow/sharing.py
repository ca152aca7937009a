"""What a workflow says about values that several steps have a hand in: how their edits are merged, and what has to
hold between the outputs of a group.

merge:
  identity: {board.cards: number}
  ordered: [board.columns]
  whole: [board.diagram]
execution_groups:
  design:
    agents: [ux_expert, architect]
    consistency:
      - equal: [ux_expert.ui_spec.platform, architect.system_architecture.platform]
        message: the design and the architecture are for different platforms
      - subset: ["ux_expert.user_journeys.*.story_id", "pm.user_stories.*.id"]
        on_violation: manual
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from orchestrator.fields import ContextPath, Frozen

DEFAULT_IDENTITY = "id"

QualityLevel = Literal["low", "medium", "high"]
"""How much it matters for the result of a run that something in it is not as it should be."""

RulePath = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}(\.([A-Za-z0-9_-]{1,64}|\*)){0,15}$", max_length=256),
]
"""A path into the context; `*` stands for every item of a list or every value of a mapping."""


class OnViolation(StrEnum):
    """RECORD: the run goes on, marked. FAIL: the group fails. MANUAL: the run waits for a person to decide."""

    RECORD = "record"
    FAIL = "fail"
    MANUAL = "manual"


class ConsistencyRule(Frozen):
    """Either `equal`: all paths hold the same value, or `subset`: everything at the first path is found at the second.

    The barrier of the group looks at it when it has merged its members' work, before it releases anybody. For `subset`
    a list counts as its items, a mapping as its keys, anything else as itself. A rule about a step that wrote nothing
    is not judged. A violation is always kept as a conflict of the run, whatever `on_violation` makes of it;
    `quality_impact` is its weight in the run's marks, and `message` is for people.
    """

    equal: Annotated[tuple[RulePath, ...], Field(min_length=2)] | None = None
    subset: tuple[RulePath, RulePath] | None = None
    message: str = ""
    on_violation: OnViolation = OnViolation.RECORD
    quality_impact: QualityLevel = "medium"

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


class MergeRules(Frozen):
    """How values are merged where the kind of the value does not say enough.

    Paths are those of the context (`board.cards`); items of lists are not named in them, so that `board.cards.notes`
    means the notes of every card. `identity` names the key by which the items of a list are known (otherwise `id`),
    `ordered` lists whose order counts more than their elements, and `whole` what is never taken apart, such as a
    diagram: if two change it, that is a conflict.
    """

    identity: Mapping[ContextPath, str] = Field(default_factory=dict)
    ordered: tuple[ContextPath, ...] = ()
    whole: tuple[ContextPath, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that a rule names."""
        return (*self.identity, *self.ordered, *self.whole)

    def identity_at(self, path: Sequence[object]) -> str:
        """The key that tells the items of the list at a path apart; names lead there, list items are left out."""
        return self.identity.get(_rule_path(path), DEFAULT_IDENTITY)

    def is_ordered(self, path: Sequence[object]) -> bool:
        return bool(self.ordered) and _rule_path(path) in self.ordered

    def is_whole(self, path: Sequence[object]) -> bool:
        return bool(self.whole) and _rule_path(path) in self.whole

    def keeping_whole(self, path: Sequence[object]) -> MergeRules:
        """These rules, and what stands at the path is not taken apart either."""
        return self.model_copy(update={"whole": (*self.whole, _rule_path(path))})


def _rule_path(path: Sequence[object]) -> str:
    return ".".join(part for part in path if isinstance(part, str))
