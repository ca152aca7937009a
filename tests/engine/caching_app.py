"""A deployment of its own: agents whose results may be cached, and that say where they have worked."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings, Environment, Runtime
from tests.workers import eventually

QUICK = Runtime(lease_seconds=4.5, renew_seconds=0.5, sweep_seconds=0.3, lost_after=2.0)
CACHES = {"cache_levels": {"agent_output_cache": {"ttl": "1h"}}}


def worked(ctx: AgentContext) -> int:
    """Leave a line where the test looks, which is no result; returns how many there were before."""
    path = Path(ctx.params["log"])
    before = path.read_text().splitlines() if path.exists() else []
    with path.open("a") as log:
        log.write(f"{ctx.step_id}\n")
    return before.count(ctx.step_id)


@agent("baker", queue="caching", cache=True, version="1")
def baker(ctx: AgentContext) -> dict[str, Any]:
    """Bake what its parameters say: out of inputs and of what other steps have made."""
    worked(ctx)
    used = {name: ctx.inputs[name] for name in ctx.params.get("inputs", ())}
    used |= {path: ctx.get(path) for path in ctx.params.get("paths", ())}
    ctx.artifact("recipe.txt", f"{ctx.step_id} of {sorted(used.items())}\n")
    for section in ctx.params.get("shared", ()):
        ctx.write(f"{section}.{ctx.step_id}", len(used))
    return {"used": used, **ctx.params.get("gives", {})}


@agent("shop", queue="caching")
def shop(ctx: AgentContext) -> dict[str, Any]:
    """Count how often it was asked: not to be cached, unless a step wants it so."""
    return {"count": worked(ctx)}


@agent("slow", queue="caching", cache=True, version="1")
def slow(ctx: AgentContext) -> dict[str, Any]:
    """Work until the test lets it go on; die at the first time if it is told to."""
    before = worked(ctx)
    if before == 0:
        eventually(Path(ctx.inputs["go"]).exists, within=60, what="the test lets it go on")
        if ctx.params.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
    return {"before": before}


@agent("locking", queue="caching", cache=True, version="1")
def locking(ctx: AgentContext) -> dict[str, Any]:
    """Read under a lock: what is there now is no snapshot."""
    with ctx.lock("board"):
        return {"count": worked(ctx), "board": ctx.get("board")}


@agent("chatty", queue="caching", cache=True, version="1")
def chatty(ctx: AgentContext) -> dict[str, Any]:
    """Tell others something, which an earlier result could not do again."""
    ctx.messages.publish("news", {"from": ctx.step_id})
    return {"count": worked(ctx)}


environment = Environment.load()
settings = EngineSettings.model_validate({"engine": QUICK.model_dump(), "caching_system": CACHES})
app = create_app(str(environment.store_url), str(environment.store_url), settings)
