"""The six agents called one after the other, without Celery: what a run would have in its context at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator import Agent, AgentContext
from tasks import analyst, architect, developer, pm, qa, ux_expert

ROOT = Path(__file__).parents[3]
TEMPLATES = ROOT / "tasks" / "templates"
SIX = (analyst, pm, ux_expert, architect, developer, qa)


@dataclass
class Outcome:
    """What all agents returned, by step id, and all their artifacts."""

    context: dict[str, dict[str, Any]] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)

    def text(self, name: str) -> str:
        return self.artifacts[name].decode()

    @property
    def features(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.context["analyst"]["project_brief"]["structured_data"]["features"]
        return found


def context_for(agent: Agent, outcome: Outcome, brief: str | None = None, **params: Any) -> AgentContext:
    inputs = {} if brief is None else {"brief": brief}
    return AgentContext.for_test(
        inputs=inputs, context=outcome.context, params=params, step_id=agent.name, templates=[TEMPLATES]
    )


def run_agents(brief: str, agents: tuple[Agent, ...] = SIX) -> Outcome:
    outcome = Outcome()
    for agent in agents:
        ctx = context_for(agent, outcome, brief)
        outcome.context[agent.name] = agent(ctx)
        outcome.artifacts.update(ctx.artifacts)
    return outcome


@cache
def shipped(name: str) -> Outcome:
    return run_agents((ROOT / "config" / "briefs" / f"{name}.md").read_text(encoding="utf-8"))
