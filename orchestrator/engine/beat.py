"""The deployment's scheduler: redbeat's, which keeps schedule and lock in the store, on a client of ours. Of several
beats one leads; when it dies or freezes, another takes over as soon as its lock has expired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab
from redbeat import RedBeatScheduler

from orchestrator.connection import connect
from orchestrator.engine import registry, startup
from orchestrator.engine.routing import CONTROL
from orchestrator.engine.runtime import runtime_of

BACKLOG = 10
"""So many messages that go out of date may wait in a queue."""


def scheduled(app: Celery) -> dict[str, dict[str, Any]]:
    """Beat's entries for the registered workflows that have a schedule; celery's crontab knows more than ours."""
    workflows: tuple[Path, ...] = app.orchestrator_workflows  # type: ignore[attr-defined]
    return {
        f"workflow:{one.name}": {
            "task": "orchestrator.submit",
            "schedule": crontab.from_string(one.schedule),
            "kwargs": {"workflow": one.name},
            "options": {"queue": CONTROL},
        }
        for one in registry.read(workflows)
        if one.schedule
    }


class Scheduler(RedBeatScheduler):  # type: ignore[misc, unused-ignore]
    """Ends with an error when it no longer leads; whoever supervises it starts it again, as one of the others."""

    def __init__(self, app: Celery, **options: Any) -> None:
        startup.require(app)
        app.redbeat_redis = connect(runtime_of(app).store_url, text=True)  # type: ignore[attr-defined]
        app.conf.beat_schedule.update(scheduled(app))
        super().__init__(app, **options)

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send what is due, unless it goes out of date and enough of it waits: nobody is there who takes it."""
        goes: dict[str, Any] = entry.options or {}
        if "expires" in goes and producer is not None and producer.channel._size(goes["queue"]) >= BACKLOG:
            self.reserve(entry)
            return None
        return super().apply_async(entry, producer=producer, advance=advance, **options)
