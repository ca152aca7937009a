"""A worker's part in the fleet: every `sampling_interval` it tells what its attempts took."""

from __future__ import annotations

from celery import Celery

from orchestrator.engine.runtime import runtime_of
from orchestrator.fleet import learning


class Fleet:
    """One worker's view, from a thread of its main process."""

    def __init__(self, app: Celery) -> None:
        self._runtime = runtime_of(app)

    def look(self) -> None:
        """Take what the children have measured, and keep it where plans are made."""
        learning.learn(self._runtime.client, self._runtime.samples.take())
