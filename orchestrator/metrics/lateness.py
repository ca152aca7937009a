"""How late deadlines fire: the store's time at which one took effect, minus the time that was set for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import redis

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.fields import Frozen

KEPT = 1000
"""So many deadlines are kept, the newest."""


class Lateness(Frozen):
    """Of the newest `count` deadlines of a deployment, in seconds."""

    count: int = 0
    p50: float = 0.0
    p95: float = 0.0
    worst: float = 0.0


def record(client: redis.Redis, seconds: float) -> None:
    """A deadline took effect so many seconds after its time; one round trip."""
    with guarded():
        pipe = client.pipeline(transaction=False)
        pipe.lpush(keys.LATENESS, f"{seconds:.4f}")
        pipe.ltrim(keys.LATENESS, 0, KEPT - 1)
        pipe.execute()


def lateness(client: redis.Redis) -> Lateness:
    """What was recorded; one round trip."""
    with guarded():
        found: Any = client.lrange(keys.LATENESS, 0, -1)
    return summary([float(value) for value in found])


def summary(values: Sequence[float]) -> Lateness:
    """Percentiles by nearest rank."""
    if not values:
        return Lateness()
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    return Lateness(count=len(ordered), p50=rank(0.5), p95=rank(0.95), worst=ordered[-1])
