"""Messages on their way: whether that of a queued step still exists (told from a backlog, and from what workers hold),
and that those which a worker holds are not delivered again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from time import time
from typing import Any, cast

from celery import Celery
from celery.worker.request import Request
from kombu.transport.redis import Channel

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine.canvas import task_id
from orchestrator.engine.routing import agent_queue, redis_priority
from orchestrator.engine.runtime import runtime_of
from orchestrator.run.replies import Due


def list_of(queue: str, priority: int) -> str:
    """The Redis list in which kombu keeps the messages of a queue with that Redis priority."""
    return f"{queue}{Channel.sep}{priority}" if priority else queue


def message_is_lost(app: Celery, run_id: str, item: Due) -> bool:
    """True when neither the step's priority list can hold its message, nor a worker does.

    Messages of one list are taken in order: when the first one there was published after ours, ours is gone, but for
    one of our run that may have overtaken it.
    """
    definition = item.definition
    name = list_of(agent_queue(definition["queue"]), redis_priority(definition["priority"]))
    wanted = task_id(run_id, item.node)
    pool: Any = app.pool
    # Not the channel's own client: whoever used it before may have left a BRPOP on it, whose reply is still to come.
    with pool.acquire(block=True) as connection, connection.default_channel.conn_or_acquire() as client, guarded():
        oldest = cast("bytes | None", client.lindex(name, -1))
        if oldest is not None and not _published_after(app, oldest, item, wanted):
            return False
        held = cast("list[bytes]", client.hvals("unacked"))
    return not any(_holds(message, wanted) for message in held)


def _holds(message: bytes, wanted: str) -> bool:
    """Whether a message that a worker has taken is the one of this task; its body may name later links of a chain."""
    if wanted.encode() not in message:
        return False
    try:
        return bool(json.loads(message)[0]["headers"]["id"] == wanted)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return True


def _published_after(app: Celery, message: bytes, item: Due, wanted: str) -> bool:
    """Whether the step of `message` was put behind ours; unknown messages count as older."""
    try:
        found = json.loads(message)["headers"]["id"]
        run_id, _, node = found.partition(".")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    if found == wanted:
        return False
    client = runtime_of(app).client
    queued_at = cast("bytes | None", client.hget(keys.run_key(run_id, f"s:{node}"), "queued_at"))
    if queued_at is None or float(queued_at) <= item.queued_at:
        return False
    definition = client.hget(keys.run_key(run_id, "defs"), node) if wanted.startswith(f"{run_id}.") else None
    return definition is None or json.loads(definition).get("rank", 0) <= item.definition.get("rank", 0)


def keep_deliveries(app: Celery, requests: Iterable[Request]) -> None:
    """Begin the visibility timeout of these requests' messages anew. Those that are acknowledged meanwhile stay so.

    Opens a connection of its own: the worker's main thread owns the others. Raises StoreUnavailable.
    """
    tags = {request.message.delivery_tag for request in requests if not request.acknowledged}
    if not tags:
        return
    with guarded(), app.connection_for_write() as connection:
        channel: Any = connection.channel()
        channel.client.zadd(channel.unacked_index_key, dict.fromkeys(tags, time()), xx=True)
