"""The parallel patterns as an agent calls them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from orchestrator.workflow.builder import Workflow, pattern
from orchestrator.workflow.expansion import DEFAULT_CONCURRENCY


class PatternLink(Protocol):
    """The way from an attempt to the run of its items."""

    def pattern(self, workflow: Workflow, items: Iterable[Any] | None) -> Iterator[Any]: ...


class Patterns:
    """What an agent may have done to many items, each call in a run of its own. An agent that waits works on them too,
    so that one worker is enough; an attempt that comes after another one goes on with the same run."""

    @property
    def _patterns(self) -> PatternLink:
        raise NotImplementedError

    def scatter_gather(
        self, items: Iterable[Any], agent: str, *, concurrency: int = DEFAULT_CONCURRENCY, **keys: Any
    ) -> Iterator[Any]:
        """Have an agent work on each item, so many at a time, in a run of their own; their results in order. Keys as a
        mapped step has. Raises ItemsFailed. An attempt that comes after this one goes on with the same run."""
        step = {"agent": agent, "for_each": {"feed": True}, "concurrency": concurrency}
        return self._patterns.pattern(pattern("scatter_gather", **step, **keys), items)

    def pipeline(self, items: Iterable[Any], stages: Sequence[Mapping[str, Any]], **keys: Any) -> Iterator[Any]:
        """The same with stages, each `{"map": agent}`, `{"filter": agent}` or, the last, `{"reduce": agent}`."""
        workflow = pattern("pipeline", for_each={"feed": True}, pipeline=list(stages), **keys)
        return self._patterns.pattern(workflow, items)

    def fork_join(
        self, data: Sequence[Any], forks: int, agent: str, merge: str | None = None, **keys: Any
    ) -> Any:
        """Cut a list into so many slices, have an agent work on each, and another one merge what they return."""
        parts = {"forks": forks, "agent": agent} | ({} if merge is None else {"merge": merge})
        return next(self._patterns.pattern(pattern("fork_join", for_each=list(data), fork_join=parts, **keys), None))
