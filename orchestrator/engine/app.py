"""The Celery application: settings that the guarantees rest on, in one place."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from celery import Celery

from orchestrator.connection import broker_url, master_name
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.dead_messages import Undecodable
from orchestrator.engine.keeper import SweepTimer
from orchestrator.engine.mail import Mail
from orchestrator.engine.routing import CONTROL, DEFAULT_PRIORITY, REDIS_PRIORITIES, queues, redis_priority
from orchestrator.engine.runtime import Runtime
from orchestrator.engine.startup import Checks
from orchestrator.settings import EngineSettings

BACKEND = "orchestrator.engine.backend:LedgerBackend"
SENTINEL_BACKEND = "orchestrator.engine.backend:SentinelLedgerBackend"
BEAT_LOOKS = 5
"""How often in the time of its lock the leading beat renews it, and the others ask for it."""


def transport_options(settings: EngineSettings) -> dict[str, Any]:
    """Ten priority levels, and unacknowledged messages that come back soon after a worker died.

    kombu's own separator stays: a service with a plain Celery application shares queues and replies with ours.
    """
    return {
        "priority_steps": list(range(REDIS_PRIORITIES)),
        "queue_order_strategy": "priority",
        "body_encoding": "utf-8",  # JSON is text already; kombu's base64 makes every message a third larger
        "visibility_timeout": settings.engine.visibility_timeout,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": settings.engine.lease_seconds,  # kombu's 300 s: so long a death with it costs everybody
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def configuration(settings: EngineSettings) -> dict[str, Any]:
    """Celery's configuration, without URLs and queues."""
    return {
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "broker_transport_options": transport_options(settings),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # an outage of Redis ends no worker, however long it is
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,
        "task_default_queue": CONTROL,
        "task_default_priority": redis_priority(DEFAULT_PRIORITY),
        "task_track_started": False,
        "worker_prefetch_multiplier": 1,
        "worker_autoscaler": "orchestrator.engine.autoscaler:Autoscaler",
        "worker_hijack_root_logger": False,
        "result_backend_always_retry": True,
        "result_expires": 24 * 3600,
        "result_chord_join_timeout": 5.0,
        "beat_schedule": {
            "sweep": {
                "task": "orchestrator.sweep",
                "schedule": 5.0,
                "options": {"queue": CONTROL, "priority": redis_priority(10), "expires": 5.0},
            }
        },
        "beat_scheduler": "orchestrator.engine.beat:Scheduler",
        "beat_max_loop_interval": settings.engine.beat_lock_timeout / BEAT_LOOKS,
        "redbeat_lock_timeout": settings.engine.beat_lock_timeout,
        "redbeat_key_prefix": "orc:beat:",
        "redbeat_redis_options": {},  # the client is ours
        "timezone": "UTC",
    }


def create_app(
    broker: str,
    store: str,
    settings: EngineSettings,
    *,
    results: str | None = None,
    workflows: Iterable[Path] = (),
    templates: Iterable[Path] = (),
    name: str = "orchestrator",
    set_as_current: bool = True,
) -> Celery:
    """A Celery application that runs workflows.

    `broker`, `store` and `results` are Redis URLs, in redis-py's or in Celery's form. Import the modules of the agents
    before: each agent class gets a queue. `workflows` are definitions that workers register by name, `templates` the
    folders from which agents render. A client inside another Celery application passes `set_as_current=False`.
    """
    import orchestrator.engine.signals
    import orchestrator.engine.tasks  # noqa: F401 - registers the tasks

    results = results or store
    backend = SENTINEL_BACKEND if master_name(results) else BACKEND
    app = Celery(
        name,
        broker=broker_url(broker),
        backend=f"{backend}+{broker_url(results).removeprefix('redis+')}",  # Celery drops that prefix itself
        amqp="orchestrator.engine.transport:AMQP",
        set_as_current=set_as_current,
    )
    app.conf.update(configuration(settings), redbeat_redis_url=broker_url(store))
    if master_name(broker):
        app.conf.broker_transport_options["master_name"] = master_name(broker)
    if master_name(results):
        app.conf.result_backend_transport_options = {"master_name": master_name(results)}
    app.conf.task_queues = queues(agent.queue for agent in REGISTRY.values())
    app.steps["consumer"].update((Checks, SweepTimer, Undecodable))
    mail = Mail(app, store)
    runtime = Runtime(
        store, settings, templates=tuple(templates), mail=mail, render=mail.rendered, broker_url=broker
    )  # fmt: skip
    app.orchestrator = runtime  # type: ignore[attr-defined]
    app.orchestrator_workflows = tuple(workflows)  # type: ignore[attr-defined]
    return app
