"""A deployment for `bench cache`: an agent that waits for something, as for a model's answer, and then renders."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from orchestrator.bench.cache import FOLDER, FORESEES, URL
from orchestrator.engine.agent import agent
from orchestrator.engine.agent_context import AgentContext
from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings

WAIT_SECONDS = 1.0


@agent("author", cache=True, version="1")
def author(ctx: AgentContext) -> dict[str, Any]:
    """Wait, render, and say how long that took; another result for every number of a run."""
    parts = [{"name": f"part {ctx.inputs['number']}"}] * 20
    time.sleep(WAIT_SECONDS)
    begun = time.perf_counter()
    ctx.render("page.j2", parts=parts)
    return {"seconds": time.perf_counter() - begun}


foresees = os.environ.get(FORESEES) == "1"
settings = EngineSettings.model_validate(
    {"caching_system": {"cache_optimization": {"prefetching": {"prefetch_templates": foresees}}}}
)
app = create_app(os.environ[URL], os.environ[URL], settings, templates=[Path(os.environ[FOLDER])])
