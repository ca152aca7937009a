"""Results of single items of mapped steps, taken from the cache and put there, as `remembering.py` does for steps.

An item is known by all that a step is known by, and by itself: the agent and its version, the parameters, what it may
touch and has been seen to read, the item. Its place is no part of that, so that a list may grow anywhere. Nobody waits
for another one's item. What an agent has told in messages, or has made of an item's place, is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.cache.levels import READS, Level
from orchestrator.context.reader import ContextReader, Inputs
from orchestrator.engine.access import StepAccess
from orchestrator.engine.agent import Agent
from orchestrator.engine.agent_context import AgentContext
from orchestrator.engine.remembering import Reads, key_of
from orchestrator.engine.runtime import Runtime, log
from orchestrator.engine.versions import version_of
from orchestrator.errors import OrchestratorError


class ItemMemory:
    """What a lane remembers of its agent's items. `recalled` counts those that were not computed. With `anew`, nothing
    is taken from the cache, only put there."""

    def __init__(
        self,
        runtime: Runtime,
        agent: Agent,
        known_by: Mapping[str, Any],
        reader: ContextReader,
        inputs: Inputs,
        *,
        max_age: float | None,
        anew: bool,
    ) -> None:
        self.recalled = 0
        self._reads, self._results = runtime.cache(READS), runtime.cache(Level.AGENT_OUTPUT)
        self._agent, self._reader, self._inputs, self._max_age, self._anew = agent, reader, inputs, max_age, anew
        self._first = key_of(["item", known_by])
        found = self._reads.get(self._first)
        self._seen = None if found is None else Reads.load(found.value)

    def recall(self, item: str) -> str | None:
        """The result of an item as canonical JSON; None when the agent has to work. One round trip."""
        if self._seen is None or self._anew:
            return None
        found = self._results.get(self._second(item, self._seen), max_age=self._max_age)
        if found is None:
            return None
        self.recalled += 1
        return found.value.decode()

    def remember(self, item: str, result: str, cost: float, context: AgentContext) -> None:
        """Keep what the agent has made of an item in so many seconds."""
        if context.placed or context.messages.used:
            return
        before, name = self._seen, self._agent.name
        seen = (before or Reads()) | Reads(frozenset(self._reader.asked), frozenset(self._inputs.asked))
        try:
            unasked = before is None and not self._anew
            self._results.put(self._second(item, seen), result.encode(), family=name, cost=cost, unasked=unasked)
            if seen != before:
                self._reads.put(self._first, seen.dump(), family=name, cost=cost)
        except OrchestratorError as error:  # the item has ended well
            log.warning("the result of an item of agent %s is not cached: %s", name, error)
        self._seen = seen

    def _second(self, item: str, seen: Reads) -> str:
        content = self._reader.content(sorted(seen.context))
        return key_of([self._first, item, content, self._inputs.content(seen.inputs)])


def item_memory_of(
    runtime: Runtime,
    definition: Mapping[str, Any],
    agent: Agent,
    access: StepAccess,
    params: Mapping[str, Any],
    reader: ContextReader,
    inputs: Inputs,
    *,
    anew: Callable[[], bool],
) -> ItemMemory | None:
    """What remembers the items of a mapped step that this agent works on, if the step or else the agent wants that."""
    wanted = definition.get("cache", agent.cache)
    if wanted is False or "locks" in definition or "group_locks" in definition:
        return None
    version = agent.version or version_of(agent.function, runtime.templates)
    if version is None:
        return None
    known_by = {
        "version": version, "agent": agent.name, "step": definition["id"], "with": params,
        "wants": definition.get("wants"), "rules": access.rules.model_dump(mode="json"),
    }  # fmt: skip
    max_age = None if wanted is True else float(wanted)
    return ItemMemory(runtime, agent, known_by, reader, inputs, max_age=max_age, anew=anew())
