"""Telling a run that waits its turn from one whose queues nobody serves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.cli.connect import alive_workers
from orchestrator.engine.registry import known_agents
from orchestrator.engine.routing import agent_queue
from orchestrator.errors import StoreUnavailable
from orchestrator.run.models import RunStatus, StepState

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.workflow.plan import Plan

PATIENCE = 5.0
"""Seconds without any step running before the workers are asked which queues they serve."""
_REPLY_TIMEOUT = 2.0
_GOING = (StepState.RUNNING, StepState.RETRYING)


class Stalled:
    """Looks at each status of a run; raises StoreUnavailable when its queued steps can never start as things are."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self._client = client
        self._plan = plan
        self._since: float | None = None

    def __call__(self, status: RunStatus) -> None:
        waiting = [step.id for step in status.steps.values() if step.state is StepState.QUEUED]
        if not waiting or any(step.state in _GOING for step in status.steps.values()):
            self._since = None
            return
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since >= PATIENCE:
            self._since = now
            self._ask(waiting)

    def _ask(self, waiting: list[str]) -> None:
        served = served_queues(self._client)
        if served is None:
            return
        needed = {queue_of(self._plan, step, known_agents(self._client.redis)) for step in waiting}
        if not served & needed:
            classes = ",".join(sorted(queue.partition(".")[2] for queue in needed))
            remedy = f"start one with `orchestrator worker --agents {classes}`"
            raise StoreUnavailable(f"no worker takes from {', '.join(sorted(needed))}: {remedy}")


def queue_of(plan: Plan, step: str, agents: Mapping[str, Mapping[str, object]]) -> str:
    """The queue that a step is sent to."""
    spec = plan.workflow.step(step)
    return agent_queue(spec.queue or str(agents.get(spec.agent, {}).get("queue") or spec.agent))


def served_queues(client: Client) -> set[str] | None:
    """The queues that some worker takes from; None when one that is there has not answered in time."""
    alive = alive_workers(client)
    if not alive:
        return set()
    replies = client.app.control.inspect(timeout=_REPLY_TIMEOUT, limit=len(alive)).active_queues() or {}
    if not replies.keys() >= set(alive):
        return None
    return {str(queue["name"]) for listed in replies.values() for queue in listed}
