"""What an attempt and the one behind it are likely to need: templates are loaded, and large values of the context
fetched, while it still works.

Known without asking anybody: what a step's agent has rendered and read in this process, and what its module names,
which holds from the first attempt on. The plan's part are the links of a linear run, which a step's definition carries:
the first of them is likely to be the next attempt of this process.

What an undeclared read was the last time comes with the first read the next time: one round trip instead of several.
A value counts as large from `segments.LEAST` on. Smaller ones are fetched by the first read, all that are declared in
one round trip of less than a millisecond (`orchestrator bench memory`): there is nothing to gain from asking sooner.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Thread
from types import CodeType
from typing import Any

from orchestrator.context.fields import section_of
from orchestrator.context.reader import ContextReader
from orchestrator.context.segments import LEAST
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.routing import agent_queue
from orchestrator.engine.runtime import Runtime
from orchestrator.errors import OrchestratorError

LONGEST_NAME = 200
REMEMBERED, MOST_NAMES = 1000, 200
_READ: dict[tuple[str, str], tuple[frozenset[str], tuple[str, ...]]] = {}
"""(step, agent) -> what it has asked for in this process the last time, and which of these fields were large."""


def likely_templates(
    definition: Mapping[str, Any],
    rendered: Mapping[str, Collection[str]],
    folders: tuple[Path, ...],
    served: Collection[str],
) -> set[str]:
    """Names of templates for the agent of a step, and for that of the next link if its queue is `served` here.
    `rendered`: agent -> what it has rendered."""
    agents = (str(definition["agent"]), *(agent for _, agent in _following(definition, served)))
    return {name for agent in agents for name in (*rendered.get(agent, ()), *_named(agent, folders))}


def _following(definition: Mapping[str, Any], served: Collection[str]) -> list[tuple[str, str]]:
    """Step and agent of the next link, if this process may be given it."""
    links: Sequence[Any] = definition.get("next", ())[:1]
    return [(str(step), str(agent)) for step, agent, queue, _ in links if agent_queue(queue) in served]


def learn_reads(definition: Mapping[str, Any], reader: ContextReader) -> None:
    """An attempt has ended well: what has it read? Of steps that it wants it reads what is there when it asks."""
    if not reader.asked or len(reader.asked) > MOST_NAMES:
        return
    if len(_READ) >= REMEMBERED:
        _READ.clear()
    wanted = definition.get("wants", ())
    asked, large = (
        [name for name in names if section_of(name) not in wanted] for names in (reader.asked, reader.large(LEAST))
    )
    _READ[_name(definition)] = frozenset(asked), tuple(large)


def fields_ahead(runtime: Runtime, definition: Mapping[str, Any]) -> list[str]:
    """What comes with the first read of an attempt: the fields that the plan, or else its agent, says that the step
    reads, and what it has been seen to read."""
    if not runtime.settings.caching_system.cache_optimization.prefetching.prefetch_context:
        return []
    agent = REGISTRY.get(definition["agent"])
    declared = definition.get("read", () if agent is None or agent.reads is None else agent.reads)
    fields = [path for path in declared if path.count(".") == 1]
    seen, _ = _READ.get(_name(definition), (frozenset[str](), ())) if _learns(runtime) else (frozenset[str](), ())
    return [*fields, *sorted(seen.difference(fields))]


def _learns(runtime: Runtime) -> bool:
    settings = runtime.settings
    prefetches = settings.caching_system.cache_optimization.prefetching.prefetch_context
    return prefetches and settings.performance_monitoring.optimises("optimize_context_access_patterns")


def _name(definition: Mapping[str, Any]) -> tuple[str, str]:
    return str(definition["id"]), str(definition["agent"])


def read_ahead(
    runtime: Runtime, definition: Mapping[str, Any], reader: ContextReader, served: Collection[str]
) -> None:
    """Begin to fetch what this attempt is likely to read and, for the next link, to leave in shared memory what that
    one is. Nothing is sent unless large values are expected; nothing raises."""
    if not _READ or not _learns(runtime):
        return
    _, own = _READ.get(_name(definition), ((), ()))
    if own:
        reader.begin(own)
    later = {name for link in _following(definition, served) if link in _READ for name in _READ[link][1]} - set(own)
    if later:
        Thread(target=_bring, args=(reader, sorted(later)), name="context ahead", daemon=True).start()


def _bring(reader: ContextReader, names: Sequence[str]) -> None:
    with suppress(OrchestratorError):  # whoever needs them fetches them
        reader.bring(names)


def _named(agent: str, folders: tuple[Path, ...]) -> frozenset[str]:
    known = REGISTRY.get(agent)
    return frozenset() if known is None or not folders else named_in(known.function.__module__, folders)


@cache
def named_in(module: str, folders: tuple[Path, ...]) -> frozenset[str]:
    """The texts in the functions of a module that are names of templates. Each process looks once."""
    scope = vars(sys.modules[module]) if module in sys.modules else {}
    functions = (getattr(getattr(one, "function", one), "__code__", None) for one in scope.values())
    texts = {text for code in functions if code is not None for text in _texts(code)}
    likely = (text for text in texts if "." in text and len(text) <= LONGEST_NAME and text.isprintable())
    return frozenset(text for text in likely if any((folder / text).is_file() for folder in folders))


def _texts(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _texts(constant)
