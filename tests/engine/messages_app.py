"""A deployment of its own: agents that talk to each other, for workers of the tests."""

from __future__ import annotations

from typing import Any

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.settings import Environment, load_engine


@agent("asker", queue="talking")
def asker(ctx: AgentContext) -> dict[str, Any]:
    """Asks, and hands over the answer; its first attempt dies when it has heard one."""
    ctx.messages.publish("question", {"number": 20}, to="answerer", key="question")
    answer = ctx.messages.receive("answer", timeout=60)
    assert answer is not None
    if ctx.attempt == 1:
        raise RuntimeError("the first attempt fails")
    return {"answer": answer.data, "of": answer.step}


@agent("answerer", queue="talking")
async def answerer(ctx: AgentContext) -> dict[str, Any]:
    """Doubles the number that it is asked about, then waits for a service."""
    question = await ctx.messages.areceive("question", timeout=60)
    assert question is not None
    ctx.messages.publish("answer", question.data["number"] * 2)
    word = await ctx.messages.areceive("word", timeout=60)
    return {"word": word and word.data, "asked_by": question.step}


@agent("deaf", queue="talking")
def deaf(ctx: AgentContext) -> dict[str, Any]:
    """Waits for what nobody says."""
    ctx.messages.receive("nothing")
    return {}


environment = Environment.load()
settings = load_engine(environment.engine_file or "")
app = create_app(str(environment.store_url), str(environment.store_url), settings)
