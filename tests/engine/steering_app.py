"""A deployment of its own: agents that a test holds back, lets fail, and cannot talk to, for workers of the tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings, Environment, load_engine
from tests.workers import QUICK_ENGINE, eventually


@agent("worker", queue="steering")
def worker(ctx: AgentContext) -> dict[str, Any]:
    """Say that it has begun, wait until it may end, fail as long as the test wants; its effect is a line."""
    folder = Path(ctx.params["folder"])
    (folder / f"begun-{ctx.step_id}").touch()
    if ctx.params.get("wait"):
        eventually((folder / "go").exists, within=60, what="the test lets the step go on")
    if (folder / f"fail-{ctx.step_id}").exists():
        raise ValueError("the test lets it fail")
    with (folder / "effects").open("a") as effects:
        effects.write(f"{ctx.step_id}#{ctx.attempt}\n")
    return {"attempt": ctx.attempt}


@agent("deaf", queue="steering")
def deaf(ctx: AgentContext) -> dict[str, Any]:
    """Never look at whether the run is cancelled."""
    file = Path(ctx.params["folder"]) / "pid"
    file.with_suffix(".new").write_text(str(os.getpid()))
    file.with_suffix(".new").rename(file)
    eventually(lambda: False, within=300, what="nothing")
    return {}


@agent("polite", queue="steering")
def polite(ctx: AgentContext) -> dict[str, Any]:
    """End as soon as the run is cancelled, and say so."""
    (Path(ctx.params["folder"]) / f"begun-{ctx.step_id}").touch()
    eventually(lambda: ctx.cancelled, within=60, what="the run is cancelled")
    (Path(ctx.params["folder"]) / "noticed").touch()
    return {}


@agent("bomb", queue="steering")
def bomb(ctx: AgentContext) -> dict[str, Any]:
    """Kill the own process in the first `times` attempts."""
    if ctx.attempt <= ctx.params["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"attempt": ctx.attempt}


environment = Environment.load()
found = load_engine(QUICK_ENGINE)
# Who is cancelled has all the time to end: a test makes the grace period of others be over.
settings: EngineSettings = found.model_copy(update={"engine": found.engine.model_copy(update={"cancel_grace": 60.0})})
app = create_app(environment.store_url or "", environment.store_url or "", settings)
