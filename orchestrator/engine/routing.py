"""Where messages go: one queue per agent class, one for control, and priorities as each broker wants them."""

from __future__ import annotations

from collections.abc import Iterable

from kombu import Exchange, Queue

CONTROL = "control"
REDIS_PRIORITIES = 10
LOWEST, HIGHEST = 0, 10
DEFAULT_PRIORITY = 5


def agent_queue(agent_class: str) -> str:
    """The queue of an agent class."""
    return f"agents.{agent_class}"


def queues(classes: Iterable[str]) -> list[Queue]:
    """The queues that a worker for these agent classes may consume, control first."""
    names = [CONTROL, *(agent_queue(name) for name in sorted(set(classes)))]
    return [Queue(name, Exchange(name), routing_key=name) for name in names]


def redis_priority(priority: int) -> int:
    """Ours (0-10, higher is sooner) on Redis' scale (0-9, 0 is soonest)."""
    urgency = min(HIGHEST, max(LOWEST, priority))
    return REDIS_PRIORITIES - 1 - round(urgency * (REDIS_PRIORITIES - 1) / HIGHEST)
