"""Mapped steps: one agent, or a pipeline of them, over many items. How many items make a chunk, how many chunks may
wait.

A mapped step is one step of the run. What runs are chunks of its items: a chunk is what is stored, handed out, leased
and accounted for; an item alone would cost as many commands as a step does. Per stage `concurrency` lanes take one
chunk after another, and a lane of one stage takes none while the next stage has enough to do, so that a stage starts
while the one before still runs and what is under way stays bounded, whatever the number of items.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.fields import ContextPath, Frozen, Identifier, PositiveCount

T = TypeVar("T")

DEFAULT_CONCURRENCY = 4
MAX_CONCURRENCY = 256
LARGEST_CHUNK = 500
CHUNKS_PER_LANE = 8
"""A list is cut so that each lane gets about so many chunks: the last ones then end at about the same time."""
ROOM = 2
"""So many chunks per lane may wait at a stage; then the stage before takes no more."""
CHUNK_SECONDS = 0.5
"""A feeder makes chunks that take about so long."""


class StageKind(StrEnum):
    """`map`: item to result. `filter`: keeps the items for which the agent says true. `reduce`: many items to one
    value, chunk by chunk in order, then over the values of the chunks. `merge`: all results, once, at the end."""

    MAP = "map"
    FILTER = "filter"
    REDUCE = "reduce"
    MERGE = "merge"


Concurrency = Annotated[PositiveCount, Field(le=MAX_CONCURRENCY)]


class StageSpec(Frozen):
    """One stage of a pipeline, as `{map: parse, concurrency: 4}`; exactly one of map, filter and reduce."""

    map: Identifier | None = None
    filter: Identifier | None = None
    reduce: Identifier | None = None
    concurrency: Concurrency = DEFAULT_CONCURRENCY
    with_: Mapping[str, Any] | None = Field(default=None, alias="with")

    @model_validator(mode="after")
    def _one_kind(self) -> StageSpec:
        if sum(agent is not None for agent in (self.map, self.filter, self.reduce)) != 1:
            raise ValueError("a stage has one of map, filter and reduce; write {map: AGENT}")
        return self

    @property
    def kind(self) -> StageKind:
        return next(kind for kind in StageKind if getattr(self, kind, None) is not None)

    @property
    def agent(self) -> str:
        return str(getattr(self, self.kind))


class ForkJoin(Frozen):
    """A list cut into `forks` slices of about the same length, an agent for each slice, and one that merges what they
    return (none: lists are joined)."""

    forks: Annotated[PositiveCount, Field(le=MAX_CONCURRENCY)]
    agent: Identifier
    merge: Identifier | None = None


class Feed(Frozen):
    """The items come from a Python process while the step runs."""

    feed: Literal[True]


def _items(value: object) -> object:
    """A path of the context or of an input, with or without `${...}` and `inputs.`; a list; or `{feed: true}`."""
    if isinstance(value, str):
        return path_of(value)
    if isinstance(value, Mapping) and set(value) != {"feed"}:
        raise ValueError("items are a list, or the path of one; write for_each: pm.user_stories")
    return list(value) if isinstance(value, tuple) else value


def path_of(text: str) -> str:
    """`${inputs.rows}`, `inputs.rows` and `rows` are one path."""
    found = re.fullmatch(r"\s*\$\{\s*(.*?)\s*\}\s*", text)
    return (found[1] if found else text).removeprefix("inputs.")


Items = Annotated[ContextPath | list[Any] | Feed, BeforeValidator(_items)]


class Stage(Frozen):
    """A stage as it runs: what an agent does with what comes from the stage before, in so many lanes."""

    kind: StageKind
    agent: str
    concurrency: int
    with_: Mapping[str, Any] | None = Field(default=None, alias="with")


class Mapped(Protocol):
    """The keys of a step that make it a mapped one."""

    @property
    def agent(self) -> str: ...
    @property
    def for_each(self) -> Any: ...
    @property
    def concurrency(self) -> int | None: ...
    @property
    def chunk_size(self) -> int | None: ...
    @property
    def pipeline(self) -> Sequence[StageSpec]: ...
    @property
    def fork_join(self) -> ForkJoin | None: ...
    @property
    def barrier(self) -> Any: ...


def check_mapped(step: Mapped) -> None:
    """Raises ValueError for keys of a mapped step that do not go together."""
    if step.for_each is None:
        for key in ("concurrency", "chunk_size", "item_timeout", "pipeline", "fork_join", "barrier"):
            if getattr(step, key):
                raise ValueError(f"'{key}' needs the items it is for; write for_each: pm.user_stories")
        return
    if step.pipeline and step.fork_join is not None:
        raise ValueError("a step has a pipeline or a fork_join; remove one of them")
    if step.fork_join is not None and (step.concurrency or step.chunk_size or isinstance(step.for_each, Feed)):
        raise ValueError("fork_join cuts a list into its forks; remove concurrency and chunk_size")
    if step.pipeline and step.concurrency:
        raise ValueError("each stage of a pipeline has its own concurrency; move it there")
    if any(stage.reduce for stage in step.pipeline[:-1]):
        raise ValueError("a reduce leaves one value; write it as the last stage")
    barrier = step.barrier
    if barrier is not None and (barrier.timeout or barrier.consistency or barrier.cross_validation.enabled):
        raise ValueError(
            "of a barrier, a mapped step has trigger_rule, min_success, on_timeout, extension and max_extensions; "
            "its timeout is the step's own"
        )


def stages_of(step: Mapped) -> tuple[Stage, ...]:
    """What a mapped step does with its items; nothing for any other step."""
    if step.for_each is None:
        return ()
    if step.fork_join is not None:
        forks = step.fork_join
        first = Stage(kind=StageKind.MAP, agent=forks.agent, concurrency=forks.forks)
        return (first, Stage(kind=StageKind.MERGE, agent=forks.merge, concurrency=1)) if forks.merge else (first,)
    if not step.pipeline:
        return (Stage(kind=StageKind.MAP, agent=step.agent, concurrency=step.concurrency or DEFAULT_CONCURRENCY),)
    stages = tuple(
        Stage(kind=one.kind, agent=one.agent, concurrency=one.concurrency, with_=one.with_) for one in step.pipeline
    )
    last = stages[-1]
    if last.kind is not StageKind.REDUCE:
        return stages
    return (*stages, last.model_copy(update={"kind": StageKind.MERGE, "concurrency": 1}))


def chunk_size(total: int, concurrency: int, given: int | None = None) -> int:
    """How many items of a list of `total` make a chunk."""
    return given or max(1, min(LARGEST_CHUNK, -(-total // (concurrency * CHUNKS_PER_LANE))))


def next_chunk_size(last: int, ended: int, seconds: float, given: int | None = None) -> int:
    """The size of a feeder's next chunk: `ended` items took `seconds` of work so far. It at most doubles."""
    if given:
        return given
    if not ended:
        return last
    wanted = CHUNK_SECONDS * ended / seconds if seconds > 0 else LARGEST_CHUNK
    return int(max(1, min(2 * last, wanted, LARGEST_CHUNK)))


def room(concurrency: int) -> int:
    """How many chunks may wait at a stage."""
    return ROOM * concurrency


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def slices(items: list[T], count: int) -> list[list[T]]:
    """`count` slices whose lengths differ by at most one; fewer when there are fewer items."""
    count = min(count, len(items))
    base, more = divmod(len(items), count) if count else (0, 0)
    ends = [number * base + min(number, more) for number in range(count + 1)]
    return [items[ends[at] : ends[at + 1]] for at in range(count)]
