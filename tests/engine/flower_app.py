"""A deployment of its own: agents for runs that are looked at and steered through Flower."""

from __future__ import annotations

import logging
from itertools import count
from pathlib import Path
from typing import Any

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings, Environment, load_engine
from tests.workers import QUICK_ENGINE, eventually


@agent("adder", queue="flower")
def adder(ctx: AgentContext) -> dict[str, Any]:
    """Nothing to do but to keep files, if there are any to keep."""
    for name, content in ctx.params.get("files", {}).items():
        ctx.artifact(name, content)
    return {"done": True}


@agent("flaky", queue="flower")
def flaky(ctx: AgentContext) -> dict[str, Any]:
    """Fail at first."""
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return {"attempt": ctx.attempt, "client_secret": "hidden"}


@agent("waiter", queue="flower")
def waiter(ctx: AgentContext) -> dict[str, Any]:
    """Say that it has begun, log what the test wants, report progress if it shall, wait until it may end, fail as long
    as the test wants."""
    log = logging.getLogger("agent")
    log.info("attempt %d begins", ctx.attempt)
    folder = Path(ctx.params["folder"])
    (folder / f"begun-{ctx.step_id}").touch()
    words, looks = folder / f"say-{ctx.step_id}", count()

    def may_go() -> bool:
        if next(looks) % 10 == 0 and ctx.params.get("moves"):
            ctx.progress(0.5, "moving")
        if words.exists():
            log.info("%s", words.read_text())
            words.unlink()
        return ctx.cancelled or (folder / "go").exists() or (folder / f"go-{ctx.step_id}").exists()

    eventually(may_go, within=60, what="the test lets the step go on")
    if (folder / f"fail-{ctx.step_id}").exists():
        raise ValueError("the test lets it fail")
    return {"attempt": ctx.attempt}


@agent("planner", queue="flower")
def planner(ctx: AgentContext) -> dict[str, Any]:
    """Nothing, and in one run alone: what was planned for it is never replaced by what it took."""
    return {}


@agent("deputy", queue="flower")
def deputy(ctx: AgentContext) -> dict[str, Any]:
    """Write the same place as others do."""
    ctx.write("board.title", ctx.params["value"])
    return {}


def settings() -> EngineSettings:
    """Quick, a person decides what cannot be merged, and nicknames are shown to nobody either."""
    found = load_engine(QUICK_ENGINE).model_dump(mode="json")
    conflicts = found["context_conflicts"]
    conflicts["conflict_types"]["write_write_conflict"]["resolution"] = "manual_conflict_resolution"
    conflicts["resolution_mechanisms"]["conflict_prevention"]["ownership_rules"] = {"deputy": ["board"]}
    found["engine"]["masked_names"].append("nick*")
    return EngineSettings.model_validate(found)


store = Environment.load(strict=False).store_url or ""
workflows = [Path(__file__).with_name("registered.yaml")]
app = create_app(store, store, settings(), workflows=workflows)
