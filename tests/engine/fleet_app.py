"""A deployment with two classes of agents; a worker is slow as long as a test wants."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.settings import Environment, load_engine
from tests.workers import eventually

SLOW = "FLEET_SLOW"
"""Environment variable: a file; as long as it is there, this worker takes six times as long."""


@agent("lift", queue="heavy")
def lift(ctx: AgentContext) -> dict[str, Any]:
    """Take `seconds`, or longer: up to the time that the file `until` is there."""
    slow = os.environ.get(SLOW)
    time.sleep(float(ctx.params["seconds"]) * (6 if slow and Path(slow).exists() else 1))
    eventually(Path(ctx.params.get("until", "/")).exists, within=60, what="the test lets it end")
    return {}


@agent("glance", queue="light")
def glance(ctx: AgentContext) -> dict[str, Any]:
    """The same for the other class."""
    return lift(ctx)


@agent("stretch", queue="elastic")
def stretch(ctx: AgentContext) -> dict[str, Any]:
    """The same for a class whose pool grows and shrinks."""
    return lift(ctx)


@agent("squeeze", queue="narrow")
def squeeze(ctx: AgentContext) -> dict[str, Any]:
    """The same for a class whose worker is short of memory."""
    return lift(ctx)


environment = Environment.load()
store = environment.store_url or ""
app = create_app(store, store, load_engine(environment.engine_file or ""))
