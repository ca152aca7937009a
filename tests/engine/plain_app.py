"""Plain Celery tasks in an application of ours, with our result backend or with Celery's own."""

from __future__ import annotations

import os
import signal
from typing import Any

from celery import Celery, Task, shared_task

from orchestrator.connection import broker_url
from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings

BACKEND = "PLAIN_BACKEND"
"""Environment variable: `ours` or `celery`."""

ERRBACKS = "errbacks"
"""string: how often one was called."""


@shared_task(name="plain.add")
def add(*numbers: int) -> int:
    return sum(numbers)


@shared_task(name="plain.total")
def total(numbers: list[int], *more: int) -> int:
    return sum(numbers) + sum(more)


@shared_task(name="plain.same")
def same(value: Any) -> Any:
    return value


@shared_task(name="plain.refuse")
def refuse(*_: Any) -> None:
    raise ValueError("refused")


@shared_task(name="plain.die")
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="plain.second_time", bind=True, max_retries=1)
def second_time(self: Task[Any, Any], value: int) -> int:
    """Succeed when it is tried again."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    return value


@shared_task(name="plain.instead", bind=True)
def instead(self: Task[Any, Any], value: int) -> Any:
    """Put another task in its own place."""
    self.replace(add.si(value, 1))


@shared_task(name="plain.hang", time_limit=1)
def hang() -> None:
    signal.pause()


@shared_task(name="plain.note", bind=True)
def note(self: Task[Any, Any], *_: Any, **__: Any) -> None:
    """An errback: say that it was called."""
    backend: Any = self.app.backend
    backend.client.incr(ERRBACKS)


def plain_app(url: str, backend: str) -> Celery:
    """The application of a worker, or of a client."""
    found = create_app(url, url, EngineSettings(), name=f"plain-{backend}", set_as_current=False)
    if backend == "celery":
        found.conf.update(result_backend=broker_url(url))
    return found


if BACKEND in os.environ:
    app = plain_app(os.environ["ORCHESTRATOR_STORE_URL"], os.environ[BACKEND])
    app.set_default()
