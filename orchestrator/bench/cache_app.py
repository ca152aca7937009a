"""A deployment for `bench cache`: an agent that waits for something, as for a model's answer, one that renders, and two
that write and read a large text. The writer's worker leaves nothing in shared memory: it is another host's."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random
from typing import Any

from orchestrator.bench.cache import ELSEWHERE, FOLDER, FORESEES, URL
from orchestrator.bench.context import value_of
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


@agent("writer", queue=ELSEWHERE)
def writer(ctx: AgentContext) -> dict[str, Any]:
    """A text of so many bytes."""
    return {"text": value_of(ctx.params["bytes"], Random(ctx.inputs["number"]))}


@agent("reader", queue="bench")
def reader(ctx: AgentContext) -> dict[str, Any]:
    """Read it, after some time if that is wanted, and say how long it took."""
    time.sleep(WAIT_SECONDS if ctx.params.get("waits") else 0)
    begun = time.perf_counter()
    ctx.read("write.text")
    return {"seconds": time.perf_counter() - begun}


foresees = os.environ.get(FORESEES) == "1"
prefetching = {"prefetch_templates": foresees, "prefetch_context": foresees}
settings = EngineSettings.model_validate(
    {
        "caching_system": {"cache_optimization": {"prefetching": prefetching}},
        "engine": {"shared_memory": 0 if os.environ.get(ELSEWHERE) else "128MB"},
    }
)
app = create_app(os.environ[URL], os.environ[URL], settings, templates=[Path(os.environ[FOLDER])])
