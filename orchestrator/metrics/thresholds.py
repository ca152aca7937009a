"""Alarms of monitored figures: raised once for all workers that see the same, and ended once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import redis

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.metrics.alerts import Alert, Severity, raise_alert
from orchestrator.metrics.policy import Watched, watch

Metric = Literal["cpu_usage", "memory_usage", "response_time", "queue_depth"]
_WORDS: Mapping[Metric, tuple[str, str]] = {
    "cpu_usage": ("processors are in use", "%"),
    "memory_usage": ("memory is in use", "%"),
    "response_time": ("steps take on average", "s"),
    "queue_depth": ("steps wait", ""),
}
CLEARED = "_cleared"


class Thresholds:
    """What one worker watches. `limits`: metric -> threshold; a metric without one is not watched."""

    def __init__(self, client: redis.Redis, limits: Mapping[Metric, float]) -> None:
        self._client = client
        self._limits = limits
        self._watched: dict[tuple[Metric, str], Watched] = {}

    def alarms(self, subjects: Collection[str]) -> set[str]:
        """The metrics of which one of these has an alarm, as far as this worker has seen."""
        return {metric for (metric, subject), one in self._watched.items() if one.raised and subject in subjects}

    def see(self, metric: Metric, subject: str, value: float) -> Alert | None:
        """A figure of a worker or a queue. The alert that this call has raised, of an alarm that begins or ends: one
        round trip then, none as long as nothing changes."""
        limit = self._limits.get(metric)
        if limit is None:
            return None
        before = self._watched.get((metric, subject), Watched())
        now = self._watched[metric, subject] = watch(before, value, limit)
        if now.raised is None or now.raised == before.raised:
            return None
        alert = _alert(metric, subject, value, limit, begins=now.raised)
        name = f"{metric}/{subject}"
        with guarded():
            first = self._client.hsetnx(keys.ALARMS, name, "1") if now.raised else self._client.hdel(keys.ALARMS, name)
        if not first:
            return None  # another worker has told it, or there was no alarm
        raise_alert(self._client, alert)
        return alert


def forget(client: redis.Redis, subject: str) -> None:
    """A worker that is gone has no alarms; one round trip."""
    with guarded():
        client.hdel(keys.ALARMS, *(f"{metric}/{subject}" for metric in _WORDS))


def _alert(metric: Metric, subject: str, value: float, limit: float, *, begins: bool) -> Alert:
    what, unit = _WORDS[metric]
    figure, edge = f"{value:.3g} {unit}".strip(), f"{limit:.3g} {unit}".strip()
    rest = f"from {edge} on that is too much" if begins else f"below {edge} again"
    message = f"{subject}: {what}: {figure}, {rest}"
    return Alert(
        kind=metric if begins else metric + CLEARED,
        message=message,
        severity=Severity.WARNING if begins else Severity.INFO,
        subject=subject,
    )
