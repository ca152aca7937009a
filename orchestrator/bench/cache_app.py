"""A deployment for `bench cache`: an agent that waits for something, as for a model's answer, and one that renders."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from orchestrator.bench.cache import FOLDER, FORESEES, URL
from orchestrator.engine.agent import agent
from orchestrator.engine.agent_context import AgentContext
from orchestrator.engine.app import create_app
from orchestrator.engine.templates import forget_children
from orchestrator.settings import EngineSettings

WAIT_SECONDS = 0.5
PAGE = "page.j2"  # not named in a function: that this is rendered is learned from the first run


@agent("thinker", queue="bench")
def thinker(ctx: AgentContext) -> None:
    """Wait."""
    time.sleep(WAIT_SECONDS)


@agent("author", queue="bench")
def author(ctx: AgentContext) -> dict[str, Any]:
    """Render, after some time if that is wanted, say how long it took, and leave no process for the next one."""
    parts = [{"name": f"part {ctx.inputs['number']}"}] * 20
    time.sleep(WAIT_SECONDS if ctx.params.get("waits") else 0)
    begun = time.perf_counter()
    ctx.render(PAGE, parts=parts)
    seconds = time.perf_counter() - begun
    forget_children()
    return {"seconds": seconds}


foresees = os.environ.get(FORESEES) == "1"
settings = EngineSettings.model_validate(
    {"caching_system": {"cache_optimization": {"prefetching": {"prefetch_templates": foresees}}}}
)
app = create_app(os.environ[URL], os.environ[URL], settings, templates=[Path(os.environ[FOLDER])])
