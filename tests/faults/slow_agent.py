"""An agent whose first attempt lasts until somebody ends it."""

from __future__ import annotations

import threading

from orchestrator import AgentContext, agent


@agent("slow_at_first", queue="drills")
def slow_at_first(ctx: AgentContext) -> dict[str, int]:
    """Take `seconds`; whoever has to do it again takes `again`, by default no time at all."""
    threading.Event().wait(float(ctx.params["seconds"] if ctx.attempt == 1 else ctx.params.get("again", 0)))
    return {"attempt": ctx.attempt}
