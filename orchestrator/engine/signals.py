"""Celery's signals, each connected to one call."""

from __future__ import annotations

import gc
import os
from typing import Any

from celery import current_app, signals

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine import dead_messages, keeper, registry, startup
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.runtime import log, runtime_of
from orchestrator.errors import OrchestratorError
from orchestrator.processes import die_with_parent

READY_FD = "ORCHESTRATOR_READY_FD"
"""Environment variable: a file descriptor that gets one byte when the worker takes tasks."""


@signals.worker_init.connect
def _enter(sender: Any = None, **_: Any) -> None:
    import orchestrator.engine.onward  # noqa: F401 - what children need for their first step is loaded before they fork

    runtime_of(sender.app).enter_worker(sender.hostname)


@signals.worker_init.connect
def _freeze(**_: Any) -> None:
    gc.freeze()  # Celery collects before each fork, and what is loaded now stays: nobody has to look at it again


@signals.worker_ready.connect
def _announce(sender: Any = None, **_: Any) -> None:
    keeper.start_threads(sender)
    startup.survey_later(sender.app)
    ready(sender.app)


@signals.worker_shutting_down.connect
def _hurry(**_: Any) -> None:
    keeper.stops(runtime_of(current_app))


@signals.worker_process_init.connect
def _tie(**_: Any) -> None:
    die_with_parent()


@signals.worker_process_init.connect
def _begin(**_: Any) -> None:
    runtime_of(current_app).notices.waits(False)  # the one before it may have died so


@signals.worker_shutdown.connect
def _leave(sender: Any = None, **_: Any) -> None:
    leave(sender.app)


@signals.task_unknown.connect
def _unknown(sender: Any = None, message: Any = None, exc: Any = None, **_: Any) -> None:
    dead_messages.keep(sender.app, message, dead_messages.UNKNOWN_TASK, exc)


@signals.task_rejected.connect
def _rejected(sender: Any = None, message: Any = None, exc: Any = None, **_: Any) -> None:
    dead_messages.keep(sender.app, message, dead_messages.REJECTED, exc)


def ready(app: Any) -> None:
    """A worker takes tasks from now on: publish what it knows, and tell whoever waits for it."""
    runtime = runtime_of(app)
    try:
        registry.publish(runtime, REGISTRY.values(), app.orchestrator_workflows)
        keeper.announce(runtime)
    except OrchestratorError as error:
        log.error("the worker could not publish its agents: %s", error)
    descriptor = os.environ.pop(READY_FD, "")  # a worker that starts again, by SIGHUP, has something else there
    if descriptor:
        os.write(int(descriptor), b"1")


def leave(app: Any) -> None:
    """A worker stops: forget it at once; when Redis is gone too, its word expires by itself."""
    runtime = runtime_of(app)
    try:
        if runtime.member is not None:
            runtime.member.leave()
        with guarded():
            runtime.client.delete(keys.worker_key(runtime.hostname))
    except OrchestratorError as error:
        log.info("the worker could not sign off: %s", error)
