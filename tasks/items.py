"""Agents for the items of mapped steps: small ones, for examples and measurements. They share the class `drills`."""

from __future__ import annotations

import re
from heapq import merge
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from orchestrator import AgentContext, agent
from tasks.drills import QUEUE, DrillFailed
from tasks.inputs import parse, shape

_WORD: Final = r"\w+"
_TEXT: Final = shape(str)
_NUMBER: Final = shape(float)
_NUMBERS: Final = shape(list[float])
_SLICES: Final = shape(list[list[float]])


class AtLeast(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    least: float = 1


class Every(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    every: Annotated[int, Field(ge=1)] = 100


_AT_LEAST: Final = shape(AtLeast)
_EVERY: Final = shape(Every)


@agent("count_words", queue=QUEUE)
def count_words(ctx: AgentContext) -> int:
    """How many words the item, a text, has."""
    return len(re.findall(_WORD, parse(ctx.item, "item", _TEXT)))


@agent("at_least", queue=QUEUE)
def at_least(ctx: AgentContext) -> bool:
    """A filter: whether the item, a number, is `least` or more."""
    return parse(ctx.item, "item", _NUMBER) >= parse(ctx.params, "with", _AT_LEAST).least


@agent("add_up", queue=QUEUE)
def add_up(ctx: AgentContext) -> float:
    """A reduce: the sum of many numbers."""
    numbers = parse(ctx.item, "item", _NUMBERS)
    return sum(numbers)


@agent("sort_slice", queue=QUEUE)
def sort_slice(ctx: AgentContext) -> list[float]:
    """A slice of a list of numbers, sorted."""
    numbers = parse(ctx.item, "item", _NUMBERS)
    return sorted(numbers)


@agent("merge_sorted", queue=QUEUE)
def merge_sorted(ctx: AgentContext) -> list[float]:
    """Sorted slices as one sorted list."""
    return list(merge(*parse(ctx.item, "item", _SLICES)))


@agent("flaky", queue=QUEUE)
def flaky(ctx: AgentContext) -> Any:
    """The item again; each `every`th one fails."""
    every = parse(ctx.params, "with", _EVERY).every
    if (ctx.index or 0) % every == every - 1:
        raise DrillFailed(f"item {ctx.index} fails as it was asked to")
    return ctx.item
