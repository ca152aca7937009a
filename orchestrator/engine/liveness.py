"""A worker that no longer takes messages, or whose threads are stuck in attempts that are over, ends itself, so that
whoever supervises it starts it anew."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from time import monotonic
from typing import Any

from celery import Celery
from celery.worker import state as worker_state
from celery.worker.request import Request

from orchestrator.engine.depths import depths
from orchestrator.engine.fleet import slots_of
from orchestrator.engine.policy import Pulse, Watch, watch
from orchestrator.engine.runtime import log, runtime_of
from orchestrator.engine.transport import stopping
from orchestrator.errors import StoreUnavailable

REPLACED = 70
"""Exit status of a worker that wants to be started anew."""


class Liveness:
    """One worker's own view of itself, from a thread of its main process."""

    def __init__(self, app: Celery, pool: Any) -> None:
        self._app = app
        self._pool = pool
        self._runtime = runtime_of(app)
        self._watch = Watch()
        self._stuck: dict[int, float] = {}
        self._replaced = False

    def look(self) -> None:
        """Look whether the worker still takes messages, and replace it when it has not for too long."""
        self._watch = watch(self._watch, self._pulse())
        if self._watch.broken:
            self._replace(self._watch.broken)

    def count_stuck(self, over: Iterable[Request]) -> None:
        """`over` are the requests that still have a thread although their attempts are over. An agent may take
        `cancel_grace` to notice; when too many have not, replace the worker."""
        settings = self._runtime.settings.engine
        now = monotonic()
        self._stuck = {id(request): self._stuck.get(id(request), now) for request in over}
        stuck = sum(now - since > settings.cancel_grace for since in self._stuck.values())
        if stuck >= settings.stuck_threads:
            self._replace(f"{stuck} of its threads are stuck in attempts that are over")

    def _pulse(self) -> Pulse:
        return Pulse(
            turns=self._runtime.turns,
            taken=sum(worker_state.total_count.values()),
            held=len(worker_state.reserved_requests),
            slots=slots_of(self._pool),
            waiting=self._waiting(),
            stopping=stopping(),
        )

    def _waiting(self) -> int | None:
        try:
            return sum(depths(self._app, self._app.amqp.queues.consume_from).values())
        except StoreUnavailable:
            return None

    def _replace(self, reason: str) -> None:
        """Stop warmly, and when that takes too long at once: what is cut off goes to another worker by its lease."""
        if self._replaced or stopping():
            return
        self._replaced = True
        log.critical("this worker ends to be started anew: %s", reason)
        worker_state.should_stop = REPLACED  # type: ignore[assignment, unused-ignore]
        last = threading.Timer(self._runtime.settings.engine.replace_grace, os._exit, (REPLACED,))
        last.daemon = True
        last.start()
