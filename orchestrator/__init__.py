"""Parallel multi-agent workflows on Celery: the front door. Every name here is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.engine.agent import Agent, agent
    from orchestrator.engine.agent_context import AgentContext
    from orchestrator.errors import AgentError, InvalidValue, MissingInput, OrchestratorError

_HOMES = {
    "Agent": "orchestrator.engine.agent",
    "agent": "orchestrator.engine.agent",
    "AgentContext": "orchestrator.engine.agent_context",
    "AgentError": "orchestrator.errors",
    "InvalidValue": "orchestrator.errors",
    "MissingInput": "orchestrator.errors",
    "OrchestratorError": "orchestrator.errors",
}

__all__ = ["Agent", "AgentContext", "AgentError", "InvalidValue", "MissingInput", "OrchestratorError", "agent"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'orchestrator' has no attribute '{name}'")
    return getattr(import_module(home), name)
