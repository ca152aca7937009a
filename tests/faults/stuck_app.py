"""This deployment's application with agents that take their time, or never look up."""

from __future__ import annotations

import threading

from orchestrator import AgentContext, agent
from tests.faults import slow_agent


@agent("deaf", queue="drills")
def deaf(ctx: AgentContext) -> None:
    """Wait for ever, and never ask whether that is still wanted."""
    threading.Event().wait()


from config.celery_app import app  # noqa: E402 - the agent has to be declared before

__all__ = ["app", "slow_agent"]
