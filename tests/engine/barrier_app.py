"""A deployment of its own: agents that need a second turn, for workers of the tests."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.errors import AgentError
from orchestrator.settings import Environment, load_engine
from tests.workers import eventually


@agent("worker", queue="barriers")
def worker(ctx: AgentContext) -> dict[str, Any]:
    """Do it at once, report progress for a while (`moves`, in seconds) or up to a time (`until`, a file), fail in the
    first `fails` attempts, or stand still in the first `hangs` of them."""
    if ctx.attempt <= ctx.params.get("hangs", 0):
        eventually(lambda: ctx.cancelled, within=60, what="somebody ends this attempt")
    if ctx.attempt <= ctx.params.get("fails", 0):
        raise AgentError(f"attempt {ctx.attempt} fails")
    for number in range(int(ctx.params.get("moves", 0) * 20)):
        eventually(_Soon(), within=1, what="a twentieth of a second")
        ctx.progress(min(1.0, number / 100), "moving")
    if "until" in ctx.params:
        eventually(partial(_moved, ctx), within=60, what="the test lets it end")
    return {"attempt": ctx.attempt}


def _moved(ctx: AgentContext) -> bool:
    ctx.progress(0.5, "moving")
    return Path(ctx.params["until"]).exists()


class _Soon:
    """False once: `eventually` then waits for its short while."""

    def __init__(self) -> None:
        self._asked = 0

    def __call__(self) -> bool:
        self._asked += 1
        return self._asked > 2


environment = Environment.load()
app = create_app(str(environment.store_url), str(environment.store_url), load_engine(environment.engine_file or ""))
