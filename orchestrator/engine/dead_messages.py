"""Messages that a worker takes and cannot run: Celery logs and drops them, we keep what they said."""

from __future__ import annotations

from typing import Any

from celery import bootsteps

from orchestrator.engine.runtime import log, runtime_of
from orchestrator.errors import OrchestratorError
from orchestrator.run import dead_letters
from orchestrator.run.dead_letters import BODY_CHARACTERS, DeadMessage

HEADERS = ("id", "task", "origin", "root_id", "eta", "expires")
UNKNOWN_TASK, REJECTED, UNDECODABLE = "unknown_task", "rejected", "undecodable"


def keep(app: Any, message: Any, reason: str, error: BaseException | None) -> None:
    """Record a message. Never raises: it is lost for the queue already, and the worker goes on."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    body = message.body
    text = body if isinstance(body, str) else bytes(body or b"").decode(errors="replace")
    runtime = runtime_of(app)
    found = DeadMessage(
        reason=reason,
        error="" if error is None else f"{type(error).__name__}: {error}"[:BODY_CHARACTERS],
        task=str(headers.get("task") or ""),
        queue=str((message.delivery_info or {}).get("routing_key") or ""),
        worker=runtime.hostname,
        headers={name: str(headers[name])[:200] for name in HEADERS if headers.get(name) is not None},
        body=text[:BODY_CHARACTERS],
    )
    try:
        dead_letters.keep_message(runtime.client, found, retention=runtime.settings.engine.retention)
    except OrchestratorError as failure:
        log.error("a message that could not be run is not in the dead-letter list: %s", failure)


class Undecodable(bootsteps.StartStopStep):
    """Celery has a signal for messages that are refused and for unknown tasks, but none for what is not decodable."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        """Called at every (re)connection of the consumer."""
        acknowledge = type(consumer).on_decode_error

        def on_decode_error(message: Any, error: BaseException) -> None:
            keep(consumer.app, message, UNDECODABLE, error)
            acknowledge(consumer, message, error)

        consumer.on_decode_error = on_decode_error
        consumer.task_consumer.on_decode_error = on_decode_error
