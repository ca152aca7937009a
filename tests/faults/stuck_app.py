"""This deployment's application with an agent that never looks up."""

from __future__ import annotations

import threading

from orchestrator import AgentContext, agent


@agent("deaf", queue="drills")
def deaf(ctx: AgentContext) -> None:
    """Wait for ever, and never ask whether that is still wanted."""
    threading.Event().wait()


from config.celery_app import app  # noqa: E402 - the agent has to be declared before

__all__ = ["app"]
