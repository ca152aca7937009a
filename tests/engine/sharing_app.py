"""A deployment of its own: agents that write into one shared section, for workers of the tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings, Environment
from tests.workers import eventually

OWNERS = {"adder": ["board"], "nobody_here": ["locked"]}


@agent("adder", queue="sharing", schemas={"board.parts": dict[str, bool | int]})
def adder(ctx: AgentContext) -> dict[str, Any]:
    """Add an entry under the step's name to the shared board."""
    if ctx.attempt <= ctx.params.get("fails", 0):
        raise ValueError("the test lets it fail")
    if "after" in ctx.params:
        eventually(Path(ctx.params["after"]).exists, within=60, what="it is this one's turn")
    if ctx.params.get("signs"):
        ctx.write("board.order", [*ctx.get("board.order", []), ctx.step_id])
    ctx.write(f"board.parts.{ctx.step_id}", ctx.params.get("value", True))
    text = {"text": ctx.params["word"] * 300_000} if "word" in ctx.params else {}
    return {"saw": ctx.get("board.parts"), **text}


@agent("watcher", queue="sharing")
def watcher(ctx: AgentContext) -> dict[str, Any]:
    """Read, say so, and read again when told to: another key of the same section, and a new reader's first key."""
    first = ctx.get("board.parts")
    Path(ctx.params["started"]).touch()
    eventually(Path(ctx.params["go"]).exists, within=60, what="the test lets the reader go on")
    return {"first": first, "again": ctx.get("board.parts"), "all": ctx.get("board"), "writer": ctx.get("writer")}


@agent("drafter", queue="sharing")
def drafter(ctx: AgentContext) -> dict[str, Any]:
    """Show a draft, wait, and return the final value."""
    ctx.write("plan", "draft", publish=True)
    Path(ctx.params["started"]).touch()
    eventually(Path(ctx.params["go"]).exists, within=60, what="the test lets the author go on")
    return {"plan": "final"}


@agent("peeker", queue="sharing")
def peeker(ctx: AgentContext) -> dict[str, Any]:
    """Look, when the test lets it, at what another step has written or not finished."""
    eventually(Path(ctx.params["after"]).exists, within=60, what="there is something to see")
    path = ctx.params.get("path", "drafter.plan")
    return {"saw": ctx.get(path), "mark": ctx.mark(path)}


@agent("trespasser", queue="sharing")
def trespasser(ctx: AgentContext) -> dict[str, Any]:
    """Write where the parameter says."""
    ctx.write(ctx.params["path"], 1)
    return {}


def look(ctx: AgentContext) -> dict[str, Any]:
    """Object to what the others have not written as the parameter says; or hang, or die, at every attempt."""
    if ctx.params.get("validation") == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while ctx.params.get("validation") == "hang":
        ctx.progress(0.5)
    words = {step: ctx.read(f"{step}.word") for step in ctx.validates}
    findings = [f"{step} says {word}" for step, word in words.items() if word != "yes"]
    return {"valid": not findings, "findings": findings}


@agent("speaker", queue="sharing", validate=look, reads=["nobody_here"], writes=["word"])
def speaker(ctx: AgentContext) -> dict[str, Any]:
    """Say a word."""
    return {"word": ctx.params.get("word", "yes")}


environment = Environment.load()
settings = EngineSettings.model_validate(
    {"context_conflicts": {"resolution_mechanisms": {"conflict_prevention": {"ownership_rules": OWNERS}}}}
)
app = create_app(str(environment.store_url), str(environment.store_url), settings)
