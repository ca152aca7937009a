"""What an agent is: a plain callable with a name, and the context object that it is called with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from orchestrator.errors import NotFound


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent. `reads` and `writes` are context paths, `defaults` what a barrier may fill in for it."""

    name: str
    function: Callable[..., Any]
    reads: tuple[str, ...] | None
    writes: tuple[str, ...] | None
    defaults: Mapping[str, Any] | None
    output: type[BaseModel] | None
    version: str


REGISTRY: dict[str, Agent] = {}
