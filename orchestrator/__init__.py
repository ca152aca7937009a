"""Parallel multi-agent workflows on Celery: the front door. Every name here is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.barrier.validation import ValidationResult
    from orchestrator.client import AsyncClient, AsyncRunHandle, Client, RunHandle
    from orchestrator.engine.agent import Agent, agent
    from orchestrator.engine.agent_context import AgentContext
    from orchestrator.errors import (
        AgentError,
        BackpressureError,
        InvalidValue,
        InvalidWorkflow,
        MissingInput,
        OrchestratorError,
    )
    from orchestrator.workflow.builder import Workflow

_HOMES = {
    "Agent": "orchestrator.engine.agent",
    "AgentContext": "orchestrator.engine.agent_context",
    "AgentError": "orchestrator.errors",
    "AsyncClient": "orchestrator.client",
    "AsyncRunHandle": "orchestrator.client",
    "BackpressureError": "orchestrator.errors",
    "Client": "orchestrator.client",
    "InvalidValue": "orchestrator.errors",
    "InvalidWorkflow": "orchestrator.errors",
    "MissingInput": "orchestrator.errors",
    "OrchestratorError": "orchestrator.errors",
    "RunHandle": "orchestrator.client",
    "ValidationResult": "orchestrator.barrier.validation",
    "Workflow": "orchestrator.workflow.builder",
    "agent": "orchestrator.engine.agent",
}

__all__ = [
    "Agent",
    "AgentContext",
    "AgentError",
    "AsyncClient",
    "AsyncRunHandle",
    "BackpressureError",
    "Client",
    "InvalidValue",
    "InvalidWorkflow",
    "MissingInput",
    "OrchestratorError",
    "RunHandle",
    "ValidationResult",
    "Workflow",
    "agent",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'orchestrator' has no attribute '{name}'")
    return getattr(import_module(home), name)
