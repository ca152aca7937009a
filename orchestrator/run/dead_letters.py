"""The dead-letter list: steps that killed every process that tried them, and messages that no worker could read.

The index may hold more than it should: a step is entered before it is ended as poisoned, so that a crash in between
loses nothing, and it may have been retried since. What the run itself says decides, and whoever reads tidies up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis
from pydantic import Field

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.errors import NotFound
from orchestrator.fields import Frozen
from orchestrator.run.policy import POISONED

MESSAGES_KEPT = 1000
BODY_CHARACTERS = 2000
_FIELDS = ("state", "reason", "error", "token", "finished_at", "worker")


class DeadStep(Frozen):
    """A step that was given up because its attempts ended with their processes. `at` is Redis' time of its end."""

    run_id: str
    step: str
    agent: str
    workflow: str
    reason: str
    error: str
    attempts: int
    at: float
    worker: str = ""


class DeadMessage(Frozen):
    """A message that was taken from a queue and could not be run. `body` is the beginning of what it said."""

    id: str = ""
    at: float = 0.0
    reason: str
    error: str = ""
    task: str = ""
    queue: str = ""
    worker: str = ""
    headers: Mapping[str, Any] = Field(default_factory=dict)
    body: str = ""


def park(client: redis.Redis, run_id: str, step: str) -> None:
    """Enter a step that is about to be ended as poisoned."""
    with guarded():
        seconds, micros = client.time()
        client.zadd(keys.DEAD_STEPS, {f"{run_id}/{step}": seconds + micros / 1e6})


def steps(client: redis.Redis) -> list[DeadStep]:
    """The parked steps, the newest first; two round trips. Entries whose run has expired or went on are dropped."""
    with guarded():
        names = [name.decode() for name in cast("list[bytes]", client.zrange(keys.DEAD_STEPS, 0, -1, desc=True))]
        pipe = client.pipeline(transaction=False)
        for name in names:
            run_id, _, step = name.partition("/")
            pipe.hmget(keys.run_key(run_id, f"s:{step}"), _FIELDS)
            pipe.hget(keys.run_key(run_id, "defs"), step)
            pipe.hget(keys.run_key(run_id, "meta"), "workflow")
        rows = pipe.execute()
    found, gone = [], []
    for at, name in enumerate(names):
        entry = _dead_step(name, *rows[3 * at : 3 * at + 3])
        if entry is not None:
            found.append(entry)
        elif rows[3 * at][0] != b"running":  # it may be about to end
            gone.append(name)
    if gone:
        with guarded():
            client.zrem(keys.DEAD_STEPS, *gone)
    return found


def _dead_step(
    name: str, row: Sequence[bytes | None], definition: bytes | None, workflow: bytes | None
) -> DeadStep | None:
    state, reason, error, token, finished, worker = ("" if cell is None else cell.decode() for cell in row)
    if state != "failed" or reason != POISONED or definition is None:
        return None
    run_id, _, step = name.partition("/")
    return DeadStep(
        run_id=run_id,
        step=step,
        agent=json.loads(definition)["agent"],
        workflow=(workflow or b"").decode(),
        reason=reason,
        error=error,
        attempts=int(token or 0),
        at=float(finished or 0),
        worker=worker,
    )


def drop(client: redis.Redis, run_id: str, step: str) -> None:
    """Take a step off the list; it stays failed. Raises NotFound."""
    with guarded():
        if not client.zrem(keys.DEAD_STEPS, f"{run_id}/{step}"):
            raise NotFound(f"step '{step}' of run {run_id} is not in the dead-letter list")


def keep_message(client: redis.Redis, message: DeadMessage, *, retention: float) -> None:
    """Record a message that nobody could run. The newest MESSAGES_KEPT are kept, for `retention` seconds (0: for ever)
    after the last one."""
    text = message.model_dump_json(exclude={"id", "at"})
    with guarded():
        pipe = client.pipeline(transaction=True)
        pipe.xadd(keys.DEAD_MESSAGES, {"m": text}, maxlen=MESSAGES_KEPT, approximate=False)
        if retention:
            pipe.expire(keys.DEAD_MESSAGES, int(retention))
        pipe.execute()


def messages(client: redis.Redis) -> list[DeadMessage]:
    """What could not be run, the newest first; `at` is Redis' time of its entry."""
    with guarded():
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrevrange(keys.DEAD_MESSAGES))
    return [
        DeadMessage.model_validate_json(fields[b"m"]).model_copy(
            update={"id": entry.decode(), "at": int(entry.partition(b"-")[0]) / 1000}
        )
        for entry, fields in entries
    ]


def drop_message(client: redis.Redis, entry: str) -> None:
    """Forget one message. Raises NotFound."""
    with guarded():
        if not client.xdel(keys.DEAD_MESSAGES, entry):
            raise NotFound(f"no message '{entry}' is in the dead-letter list")
