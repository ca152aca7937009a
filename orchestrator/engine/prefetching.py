"""Which templates an attempt and the one behind it are likely to render: they are loaded while it still works.

Known without asking anybody: what an agent has rendered in this process, and what its module names, which holds from
the first attempt on. The plan's part are the links of a linear run, which a step's definition carries: the first of
them is likely to be the next attempt of this process.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.routing import agent_queue

LONGEST_NAME = 200


def likely_templates(
    definition: Mapping[str, Any],
    rendered: Mapping[str, Collection[str]],
    folders: tuple[Path, ...],
    served: Collection[str],
) -> set[str]:
    """Names of templates for the agent of a step, and for that of the next link if its queue is `served` here.
    `rendered`: agent -> what it has rendered."""
    following = (str(agent) for _, agent, queue, _ in definition.get("next", ())[:1] if agent_queue(queue) in served)
    agents = (str(definition["agent"]), *following)
    return {name for agent in agents for name in (*rendered.get(agent, ()), *_named(agent, folders))}


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
