"""What a worker's main process does beside its work: renew the leases of its attempts, end attempts that are no longer
its own and keep its deliveries (in threads, so that neither a busy loop nor a warm shutdown lets one lapse), and on the
consumer's timer take its turn at the sweep and collect dead children."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable
from time import time
from typing import TYPE_CHECKING, Any

from celery import Celery, bootsteps
from celery.worker import state as worker_state
from celery.worker.request import Request

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine import recovery
from orchestrator.engine.canvas import STEP
from orchestrator.engine.delivery import keep_deliveries
from orchestrator.engine.fleet import FleetMember
from orchestrator.engine.liveness import Liveness
from orchestrator.engine.policy import LOOKS
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.engine.transport import stopping
from orchestrator.environment import Environment
from orchestrator.errors import OrchestratorError, SettingsError
from orchestrator.metrics.forwarding import channels
from orchestrator.run.waiting import places

if TYPE_CHECKING:
    from orchestrator.engine.forwarding import Forwarder

REAP_SECONDS = 0.5
"""How often dead children are looked for; Celery's own look every 5 s is the first chance after a missed one."""

SWEEP_TURN = "orc:sweep"
"""string with an expiry: a sweep was begun within the last interval."""

FIRST_LOOK_SECONDS = 0.2
"""How long after its start a worker looks at the fleet: its first step, if one waits, has begun by then."""

DELIVERY_LOOKS = 5
"""How often in a visibility timeout the worker's deliveries are kept; so many lost attempts but one do no harm."""


class Ticker(threading.Thread):
    """Calls `act` every `seconds`, and whenever `wake` is set, until the process ends, whatever it raises. It begins
    after `first` seconds, if that is given."""

    def __init__(
        self,
        name: str,
        seconds: float,
        act: Callable[[], object],
        wake: threading.Event | None = None,
        first: float | None = None,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._seconds = seconds
        self._first = seconds if first is None else first
        self._act = act
        self._wake = wake or threading.Event()

    def run(self) -> None:
        wait = self._first
        while True:
            self._wake.wait(wait)
            self._wake.clear()
            wait = self._seconds
            try:
                self._act()
            except OrchestratorError as error:
                log.warning("%s: %s", self.name, error)
            except Exception:  # noqa: BLE001 - a thread that ended here would let everything lapse
                log.exception("%s", self.name)


def start_threads(consumer: Any) -> None:
    """Start what keeps leases and deliveries alive as long as this process lives, and looks whether it works."""
    app, pool = consumer.app, consumer.pool
    runtime = runtime_of(app)
    settings = runtime.settings.engine
    liveness = Liveness(app, pool)
    sampling = runtime.settings.resource_manager.load_balancing.resource_monitoring.sampling_interval

    unstarted: set[str] = set()
    queues = frozenset(app.amqp.queues.consume_from)

    def keep() -> None:
        nonlocal unstarted
        liveness.count_stuck(renew(runtime, _active(), pool))
        notify(runtime, consumer.event_dispatcher)
        before, unstarted = unstarted, waiting_for_a_child()
        runtime.notices.behind = not before.isdisjoint(unstarted)
        runtime.notices.off = not queues <= set(app.amqp.queues.consume_from)

    def look() -> None:
        if runtime.member is None:
            runtime.member = FleetMember(consumer, queues)
        runtime.member.look()

    notify(runtime, consumer.event_dispatcher)
    for name, seconds, act in (
        ("lease keeper", settings.renew_seconds, keep),
        ("delivery keeper", settings.visibility_timeout / DELIVERY_LOOKS, lambda: keep_deliveries(app, _held())),
        ("liveness", settings.liveness_timeout / LOOKS, liveness.look),
    ):
        Ticker(name, seconds, act).start()
    forwarder = forwarder_of(runtime)
    if forwarder is not None:
        Ticker("alerts", sampling, forwarder.forward).start()
    first = min(FIRST_LOOK_SECONDS, sampling)  # soon: the others are to know of this worker
    Ticker("fleet", sampling, look, runtime.samples.wanted, first).start()


def notify(runtime: Runtime, dispatcher: Any) -> None:
    """Let the children know what has changed: Flower may have asked for events of tasks, or the worker may stop."""
    groups = getattr(dispatcher, "groups", None)
    runtime.notices.watched = bool(getattr(dispatcher, "enabled", False)) and (not groups or "task" in groups)
    runtime.notices.stopping = stopping()


def stops(runtime: Runtime) -> None:
    """The worker is told to stop. Called by a signal handler: a thread does what may wait."""
    runtime.notices.stopping = True
    runtime.samples.wanted.set()


def forwarder_of(runtime: Runtime) -> Forwarder | None:
    """What sends alerts to people, when somebody is named. A mistake there is logged: work goes on without."""
    environment = Environment.load(strict=False)
    try:
        found = channels(runtime.settings.alerting, environment.webhook_url, environment.smtp_password)
    except SettingsError as error:
        log.error("alerts are not sent: %s", error)
        return None
    if not found:
        return None
    from orchestrator.engine.forwarding import Forwarder  # few deployments name somebody

    return Forwarder(runtime.client, runtime.hostname, found)


def _active() -> tuple[Request, ...]:
    return _copy(worker_state.active_requests)


def _held() -> tuple[Request, ...]:
    """Those that run, also over a reconnection, and those that wait for a child; not yet acknowledged."""
    return (*_copy(worker_state.active_requests), *_copy(worker_state.reserved_requests))


def waiting_for_a_child() -> set[str]:
    """The ids of messages that were taken and not begun."""
    active = {request.id for request in _active()}
    return {request.id for request in _copy(worker_state.reserved_requests)} - active


def _copy(requests: Iterable[Request]) -> tuple[Request, ...]:
    while True:
        try:
            return tuple(requests)
        except RuntimeError:  # the main thread changed the set meanwhile
            continue


class SweepTimer(bootsteps.StartStopStep):
    """Starts the timers when the consumer runs; part of every worker of an application of ours."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._entries: list[Any] = []
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        """Called at every (re)connection of the consumer."""
        settings = runtime_of(consumer.app).settings.engine
        self._entries = [
            consumer.timer.call_repeatedly(settings.sweep_seconds, _sweep, (consumer.app,), priority=10),
        ]
        reap = getattr(consumer.pool, "maintain_pool", None)
        if reap is not None:
            self._entries.append(consumer.timer.call_repeatedly(REAP_SECONDS, reap))

    def stop(self, consumer: Any) -> None:
        for entry in self._entries:
            entry.cancel()
        self._entries = []


def _sweep(app: Celery) -> None:
    runtime = runtime_of(app)
    runtime.turns += 1
    try:
        with guarded():
            turn = runtime.client.set(
                SWEEP_TURN, runtime.owner, nx=True, px=int(runtime.settings.engine.sweep_seconds * 900)
            )
        if turn:
            recovery.sweep(app)
    except OrchestratorError as error:
        log.warning("sweep: %s", error)


def renew(runtime: Runtime, requests: Iterable[Request], pool: Any) -> list[Request]:
    """Renew the lease of every active attempt, and end the children of attempts that are over without their doing.
    Returns the requests of such attempts that have a thread instead, which cannot be ended: they are fenced.

    Those are: all requests of a step that was taken from this worker, requests that were begun before the one that has
    run the step's last attempt for a lease, and those that are older than a lease where that attempt is nobody's here.
    """
    stuck: list[Request] = []
    active: dict[str, dict[str | tuple[str, int], list[Request]]] = {}
    gone_on = places(runtime.client, runtime.owner)
    for request in requests:
        if request.type == STEP:  # its name is the shadow that Flower shows
            run_id, step = request.args[:2]
            place = gone_on.get(request.id)
            at, known = (run_id, step) if place is None else (place.run_id, place[1:])
            active.setdefault(at, {}).setdefault(known, []).append(request)
    lease = runtime.settings.engine.lease_seconds
    for run_id, listed in active.items():
        steps = [one for one in listed if isinstance(one, str)]
        attempts = [one for one in listed if not isinstance(one, str)]
        found = runtime.ledger.renew(run_id, steps, owner=runtime.owner, lease=lease, attempts=attempts)
        for one, pid in found.items():
            stuck += [request for request in _over(listed[one], pid, lease) if not _end(request, pool)]
    announce(runtime)
    runtime.renewed()
    return stuck


def _over(requests: list[Request], pid: int, lease: float) -> list[Request]:
    if not pid:
        return requests
    current = [request for request in requests if _pid(request) == pid]
    if not current:  # a message that has come twice is refused at once, and no reason to end a child
        return [request for request in requests if request.time_start and time() - request.time_start > lease]
    begun = max(request.time_start or 0.0 for request in current)
    if time() - begun < lease:  # whoever has just failed may still judge its barrier, or tell of it
        return []
    threads = pid == os.getpid()
    return [
        request for request in requests if (threads or _pid(request) != pid) and (request.time_start or 0.0) < begun
    ]


def _pid(request: Request) -> int:
    return int(request.worker_pid or 0)


def _end(request: Request, pool: Any) -> bool:
    """End the child whose attempt is no longer ours, by its pid. False: it is a thread."""
    pid = _pid(request)
    if pid == os.getpid():
        return False
    if pid and getattr(pool, "signal_safe", False):
        log.warning("ending process %d: its attempt of %s is over", pid, request.id)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return True


def announce(runtime: Runtime) -> None:
    """Say that this worker is alive; it is forgotten two leases after its last word."""
    with guarded():
        runtime.client.set(
            keys.worker_key(runtime.hostname), runtime.owner, px=int(runtime.settings.engine.lease_seconds * 2000)
        )
