"""The deployment's scheduler: redbeat's, which keeps schedule and lock in the store, on a client of ours. Of several
beats one leads; when it dies or freezes, another takes over as soon as its lock has expired."""

from __future__ import annotations

from typing import Any

from celery import Celery
from redbeat import RedBeatScheduler

from orchestrator.connection import connect
from orchestrator.engine import startup
from orchestrator.engine.runtime import runtime_of


class Scheduler(RedBeatScheduler):  # type: ignore[misc, unused-ignore]
    """Ends with an error when it no longer leads; whoever supervises it starts it again, as one of the others."""

    def __init__(self, app: Celery, **options: Any) -> None:
        startup.require(app)
        app.redbeat_redis = connect(runtime_of(app).store_url, text=True)  # type: ignore[attr-defined]
        super().__init__(app, **options)
