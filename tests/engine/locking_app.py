"""A deployment of its own: agents that take locks, for workers of the tests."""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic
from typing import Any

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.errors import AgentError
from orchestrator.settings import Environment, load_engine
from tests.workers import eventually

OWNERS = {"counter": ["board"], "holder": ["held"]}


@agent("counter", queue="locking")
def counter(ctx: AgentContext) -> dict[str, Any]:
    """Count the board up: nothing is lost, and nothing has to be merged."""
    if "after" in ctx.params:
        eventually(Path(ctx.params["after"]).exists, within=20, what="another one holds the lock")
    with ctx.lock("board", write=True, timeout=ctx.params.get("timeout")) as lock:
        number = ctx.get("board.count", 0) + 1
        ctx.write("board.count", number)
    with ctx.lock("board", write=True) as again:
        assert again.token == lock.token, "what was written keeps its lock until it is committed"
    return {"number": number, "token": lock.token, "waited": lock.waited}


@agent("holder", queue="locking")
def holder(ctx: AgentContext) -> dict[str, Any]:
    """Hold the board until told otherwise, or die holding it at the first attempt."""
    with ctx.lock("board", write=True) as lock:
        Path(ctx.params["started"]).touch()
        if ctx.params.get("dies") and ctx.attempt == 1:
            os.kill(os.getpid(), 9)
        begun = monotonic()
        eventually(Path(ctx.params["go"]).exists, within=20, what="the test lets the holder go on")
    return {"token": lock.token, "held": monotonic() - begun}


@agent("nesting", queue="locking")
def nesting(ctx: AgentContext) -> dict[str, Any]:
    """Ask twice."""
    with ctx.lock("board"):
        try:
            with ctx.lock("board", write=True):
                return {"refused": ""}
        except AgentError as error:
            return {"refused": str(error)}


environment = Environment.load()
settings = load_engine(environment.engine_file or "")
owned = {"context_conflicts": {"resolution_mechanisms": {"conflict_prevention": {"ownership_rules": OWNERS}}}}
settings = settings.model_validate(settings.model_dump(exclude_defaults=True) | owned)
app = create_app(str(environment.store_url), str(environment.store_url), settings)
