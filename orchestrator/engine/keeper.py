"""What a worker's main process does on its timer: renew the leases of its attempts, end attempts that are no longer
its own, and take its turn at the sweep."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from typing import Any, cast

from celery import Celery, bootsteps
from celery.worker import state as worker_state
from celery.worker.request import Request

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine import recovery
from orchestrator.engine.canvas import STEP
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.errors import OrchestratorError

REAP_SECONDS = 0.5
"""How often dead children are looked for; Celery's own look every 5 s is the first chance after a missed one."""

SWEEP_TURN = "orc:sweep"
"""string with an expiry: a sweep was begun within the last interval."""


class LeaseKeeper(bootsteps.StartStopStep):
    """Starts the timers when the consumer runs; part of every worker of an application of ours."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._entries: list[Any] = []
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        """Called at every (re)connection of the consumer."""
        settings = runtime_of(consumer.app).settings.engine
        self._entries = [
            consumer.timer.call_repeatedly(settings.renew_seconds, _renew, (consumer,), priority=10),
            consumer.timer.call_repeatedly(settings.sweep_seconds, _sweep, (consumer.app,), priority=10),
        ]
        reap = getattr(consumer.pool, "maintain_pool", None)
        if reap is not None:
            self._entries.append(consumer.timer.call_repeatedly(REAP_SECONDS, reap))

    def stop(self, consumer: Any) -> None:
        for entry in self._entries:
            entry.cancel()
        self._entries = []


def _renew(consumer: Any) -> None:
    try:
        renew(runtime_of(consumer.app), worker_state.active_requests, consumer.pool)
    except OrchestratorError as error:
        log.warning("leases could not be renewed: %s", error)


def _sweep(app: Celery) -> None:
    runtime = runtime_of(app)
    try:
        with guarded():
            turn = runtime.client.set(
                SWEEP_TURN, runtime.owner, nx=True, px=int(runtime.settings.engine.sweep_seconds * 900)
            )
        if turn:
            recovery.sweep(app)
    except OrchestratorError as error:
        log.warning("sweep: %s", error)


def renew(runtime: Runtime, requests: Iterable[Request], pool: Any) -> None:
    """Renew the lease of every active attempt; end those that were taken from this worker, or cancelled.

    Of two requests for one step, only the later one can be the current attempt.
    """
    active: dict[str, dict[str, Request]] = {}
    for request in sorted(requests, key=lambda request: request.time_start or 0.0):
        if request.type == STEP:  # its name is the shadow that Flower shows
            run_id, step = request.args[:2]
            earlier = active.setdefault(run_id, {}).get(step)
            if earlier is not None:
                _end(earlier, pool)
            active[run_id][step] = request
    lease = runtime.settings.engine.lease_seconds
    for run_id, steps in active.items():
        for step in runtime.ledger.renew(run_id, steps, owner=runtime.owner, lease=lease):
            _end(steps[step], pool)
    announce(runtime)


def _end(request: Request, pool: Any) -> None:
    """End the child whose attempt is no longer ours, by its pid. A thread cannot be ended: it is fenced."""
    pid = cast("int | None", request.worker_pid)
    if pid and pid != os.getpid() and getattr(pool, "signal_safe", False):
        log.warning("ending process %d: its attempt of %s is over", pid, request.id)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def announce(runtime: Runtime) -> None:
    """Say that this worker is alive; it is forgotten two leases after its last word."""
    with guarded():
        runtime.client.set(
            keys.worker_key(runtime.hostname), runtime.owner, px=int(runtime.settings.engine.lease_seconds * 2000)
        )
