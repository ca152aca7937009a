"""What `doctor` asks, asked by workers and beats as well: whether Redis and the settings keep what runs rest on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import redis
from celery import Celery, bootsteps

from orchestrator import checks
from orchestrator.checks import Check
from orchestrator.connection import broker_url, guarded
from orchestrator.engine.runtime import log, runtime_of
from orchestrator.environment import unknown_variables
from orchestrator.errors import OrchestratorError
from orchestrator.metrics.lateness import lateness
from orchestrator.run.reader import RunReader

REFUSED = 2
"""Exit status of a worker or a beat that refuses to start: its settings, or those of Redis, have to be changed."""
REPLY_SECONDS = 1.0
"""How long the workers of a broker have to answer."""
SLOW_SECONDS = 5.0
"""How long those have that say in the store that they are there."""
SURVEY = "orc:survey"
"""string with an expiry: a worker has begun to ask the others."""
SURVEY_SECONDS = 60


class Checks(bootsteps.StartStopStep):
    """Looks whenever a worker has connected: Redis may have come back with other settings."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, consumer: Any) -> None:
        require(consumer.app)


def of_server(client: redis.Redis) -> Iterator[Check]:
    """What one Redis says of itself; one round trip. Raises StoreUnavailable."""
    before = time.time()
    with guarded():
        pipe = client.pipeline(transaction=False)
        pipe.time()
        pipe.info()
        (seconds, micros), info = pipe.execute()
    after = time.time()
    there = int(seconds) + int(micros) / 1e6
    skew = max(before - there, min(after - there, 0.0))  # it was asked between the two: what lies there is no skew
    yield from (checks.server_version(info), checks.eviction(info), checks.persistence(info), checks.clock(skew))


def of_app(app: Celery) -> Iterator[Check]:
    """What the application's settings say; asks nobody."""
    yield checks.content(app.conf)
    runtime = getattr(app, "orchestrator", None)
    lease = runtime.settings.engine.lease_seconds if runtime else 0.0
    yield checks.visibility(app.conf.broker_transport_options, lease)


def of_store(app: Celery) -> Iterator[Check]:
    """What the deployment has left in its store. Raises StoreUnavailable."""
    runtime = getattr(app, "orchestrator", None)
    if runtime:
        found = lateness(runtime.client)
        yield checks.lateness(found.count, found.p95, runtime.settings.engine.sweep_seconds)


def of_fleet(app: Celery) -> Iterator[Check]:
    """What the workers of this broker answer, those of other applications included; takes about REPLY_SECONDS, and
    longer when one that is there is too busy to answer at once."""
    control = app.control
    configured = control.inspect(timeout=REPLY_SECONDS).conf() or {}
    late = sorted(_announced(app) - set(configured))
    if late:
        configured |= control.inspect(late, timeout=SLOW_SECONDS, limit=len(late)).conf() or {}
    consumed = control.inspect(timeout=SLOW_SECONDS, limit=len(configured)).active_queues() if configured else None
    yield checks.workers(sorted(configured))
    if consumed:
        names = frozenset(queue["name"] for listed in consumed.values() for queue in listed)
        yield from checks.queues(_waiting(app), names)
    options = {name: conf.get("broker_transport_options") or {} for name, conf in configured.items()}
    yield checks.others(app.conf.broker_transport_options, options)


def _announced(app: Celery) -> set[str]:
    runtime = getattr(app, "orchestrator", None)
    return set(RunReader(runtime.client).workers()) if runtime else set()


def _waiting(app: Celery) -> dict[str, int]:
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return {name: int(channel._size(name)) for name in app.amqp.queues}


def require(app: Celery) -> None:
    """Log what is wrong with the store, the broker and the settings. Raises SystemExit when nothing could be promised;
    a server that does not answer is no reason: whoever needs it waits for it."""
    lacking = [check for check in _asked(app) if check.status != "ok"]
    errors = [check for check in lacking if check.blocks and check.status == "fail"]
    for check in lacking:
        if check not in errors:
            log.warning("%s", _line(check))
    for check in errors:
        log.critical("will not start: %s", _line(check))  # the last words, which a supervisor shows
    if errors:
        raise SystemExit(REFUSED)


def _line(check: Check) -> str:
    return f"{check.name}: {check.message}" + (f"; {check.remedy}" if check.remedy else "")


def _asked(app: Celery) -> Iterator[Check]:
    for problem in unknown_variables(os.environ):
        yield Check(problem.path, "warn", problem.message, problem.hint)
    yield from of_app(app)
    try:
        store = runtime_of(app)
        yield from of_server(store.client)
        if broker_url(store.store_url) != app.conf.broker_write_url:
            yield from _of_broker(app)
    except OrchestratorError as error:
        yield Check("redis", "warn", f"not looked at: {error}")


def _of_broker(app: Celery) -> Iterator[Check]:
    with guarded(), app.connection_for_write() as connection:
        channel: Any = connection.channel()
        yield from of_server(channel.client)


def survey_later(app: Celery) -> None:
    """Look at the fleet when workers that were started together are there; one of them does it."""
    timer = threading.Timer(2 * runtime_of(app).settings.engine.lease_seconds, _survey, (app,))
    timer.daemon = True
    timer.start()


def _survey(app: Celery) -> None:
    runtime = runtime_of(app)
    try:
        with guarded():
            first = runtime.client.set(SURVEY, runtime.owner, nx=True, ex=SURVEY_SECONDS)
        lacking = [check for check in of_fleet(app) if check.status != "ok"] if first else []
    except Exception:  # noqa: BLE001 - of broker, transport or store alike
        log.info("the other workers could not be asked", exc_info=True)
        return
    for check in lacking:
        log.warning("%s", _line(check))
