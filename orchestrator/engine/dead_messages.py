"""Messages that a worker cannot run: Celery logs and drops what it takes of them. We keep what they said, and find
those that wait."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Container
from typing import Any

from celery import Celery, bootsteps

from orchestrator.connection import guarded
from orchestrator.engine.runtime import log, runtime_of
from orchestrator.errors import OrchestratorError
from orchestrator.run import dead_letters
from orchestrator.run.dead_letters import BODY_CHARACTERS, DeadMessage

HEADERS = ("id", "task", "origin", "root_id", "eta", "expires")
UNKNOWN_TASK, REJECTED, UNDECODABLE = "unknown_task", "rejected", "undecodable"


ENCODINGS = (None, "utf-8", "base64")
"""Of a message's body, as kombu knows them."""
SCANNED = 1000
"""Entries that are looked at of each list of a queue, those that wait longest."""


def is_message(entry: Any) -> bool:
    """Whether an entry of a queue, as JSON, has what kombu needs to make a message of it."""
    properties = entry.get("properties") if isinstance(entry, dict) else None
    return (
        isinstance(properties, dict)
        and isinstance(properties.get("delivery_tag"), str)
        and isinstance(properties.get("delivery_info"), dict)
        and properties.get("body_encoding") in ENCODINGS
        and isinstance(entry.get("body"), str | None)
    )


def fault(raw: bytes, tasks: Container[str]) -> str | None:
    """Why no worker could run this entry of a queue; None for a message of one of these tasks."""
    try:
        entry = json.loads(raw)
    except (ValueError, RecursionError):
        return "is no JSON"
    if not is_message(entry):
        return "is no message"
    if entry.get("content-type") != "application/json":
        return f"has the content type {entry.get('content-type')!r:.60}"
    try:
        body = entry["body"] or ""
        json.loads(b64decode(body) if entry["properties"].get("body_encoding") == "base64" else body)
    except (ValueError, RecursionError):
        return "has a body that is no JSON"
    headers = entry.get("headers")
    task = headers.get("task") if isinstance(headers, dict) else None
    return None if task in tasks else f"is for the task {task!r:.100}, which this app does not have"


def scan(app: Celery, url: str | None = None) -> dict[str, list[str | None]]:
    """Queue of the app's broker, or of another one -> what is wrong with each of its entries, as `fault` has it; takes
    nothing out. Raises StoreUnavailable."""
    found: dict[str, list[str | None]] = {}
    with guarded(), app.connection_for_read(url) as connection:
        channel: Any = connection.default_channel
        for name in app.amqp.queues:
            lists = [channel._q_for_pri(name, level) for level in channel.priority_steps]
            entries = [raw for key in lists for raw in channel.client.lrange(key, -SCANNED, -1)]
            found[name] = [fault(raw, app.tasks) for raw in entries]
    return found


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
