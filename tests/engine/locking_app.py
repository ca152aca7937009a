"""A deployment of its own: agents that take locks, for workers of the tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path
from time import monotonic
from typing import Any

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.errors import AgentError, LeaseLost
from orchestrator.settings import Environment, load_engine
from tests.workers import eventually

OWNERS = {"holder": ["held"]}


@agent("counter", queue="locking")
def counter(ctx: AgentContext) -> dict[str, Any]:
    """Count the board up: nothing is lost, and nothing has to be merged."""
    if "after" in ctx.params:
        eventually(Path(ctx.params["after"]).exists, within=60, what="another one holds the lock")
    with ctx.lock("board", write=True, timeout=ctx.params.get("timeout")) as lock:
        number = ctx.get("board.count", 0) + 1
        ctx.write("board.count", number)
    with ctx.lock("board", write=True) as again:
        assert again.token == lock.token, "what was written keeps its lock until it is committed"
    return {"number": number, "token": lock.token, "waited": lock.waited}


@agent("holder", queue="locking")
def holder(ctx: AgentContext) -> dict[str, Any]:
    """Hold the board until told otherwise, or die holding it at the first attempt."""
    with ctx.lock("held", write=True), ctx.lock("board", write=True) as lock:
        Path(ctx.params["started"]).touch()
        if ctx.params.get("dies") and ctx.attempt == 1:
            os.kill(os.getpid(), 9)
        begun = monotonic()
        eventually(Path(ctx.params["go"]).exists, within=60, what="the test lets the holder go on")
    return {"token": lock.token, "held": monotonic() - begun}


@agent("sleepwalker", queue="locking")
def sleepwalker(ctx: AgentContext) -> dict[str, Any]:
    """Count the board up; the first attempt stands still under its lock, and goes on whatever it is told then."""
    with ctx.lock("board", write=True) as lock:
        number = ctx.get("board.count", 0) + 1
        if ctx.attempt == 1:
            Path(ctx.params["started"]).touch()
            eventually(Path(ctx.params["go"]).exists, within=60, what="the test lets it go on")
        ctx.write("board.count", number)
    try:
        with ctx.lock("board", write=True):
            pass
    except LeaseLost as error:
        Path(ctx.params["lost"]).write_text(str(error))
    return {"number": number, "token": lock.token}


@agent("tally", queue="locking")
def tally(ctx: AgentContext) -> dict[str, Any]:
    """Count the board up under the lock that the workflow declares."""
    number = ctx.get("board.count", 0) + 1
    ctx.write("board.count", number)
    return {"number": number}


@agent("patient", queue="locking")
def patient(ctx: AgentContext) -> Awaitable[dict[str, Any]]:
    """Wait for the board once another one holds it."""
    eventually(Path(ctx.params["started"]).exists, within=60, what="another one holds the lock")
    return _side_by_side(ctx)


async def _side_by_side(ctx: AgentContext) -> dict[str, Any]:
    """Wait for the board beside other work, of which its holder waits for a sign of life."""

    async def wait() -> float:
        async with ctx.alock("board", write=True) as lock:
            ctx.write("board.count", ctx.get("board.count", 0) + 1)
            return lock.waited

    async def work() -> None:
        try:
            async with asyncio.timeout(0.2), ctx.alock("held", write=True):
                raise AssertionError("somebody else holds it")
        except TimeoutError:
            await asyncio.to_thread(Path(ctx.params["go"]).touch)

    waiting, _ = await asyncio.gather(wait(), work())
    return {"waited": waiting}


@agent("free", queue="locking")
def free(ctx: AgentContext) -> dict[str, Any]:
    """Need no lock."""
    return {}


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
