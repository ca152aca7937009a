"""Processes that have nothing to go on with: they look for the next step of any run, and wait a little for one."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Any, Literal, NamedTuple, cast

import redis

from orchestrator import keys
from orchestrator.connection import BROKEN, guarded, pop
from orchestrator.run import replies
from orchestrator.run.replies import Begun
from orchestrator.run.store import NONCE_BYTES
from orchestrator.run.transitions import Transitions
from orchestrator.scripts import encode


class Place(NamedTuple):
    """Where a process has got to: an attempt that it has no message of."""

    run_id: str
    step: str
    token: int


class Waiters:
    """What a process asks of one Redis for itself. `by` is what `onward.lua` needs to know of it, `who` its name."""

    def __init__(self, client: redis.Redis, scripts: Transitions, who: str) -> None:
        self._client, self._scripts, self._who = client, scripts, who

    def look(self, by: Mapping[str, Any], seconds: float | None) -> Begun | Literal["waits"] | None:
        """The step of the next message, begun; "waits": there is none, and one that is released within so many seconds
        may be handed over. None: the process's turn is over, because the next message is for Celery, or (`seconds`
        None) there is none."""
        arguments: dict[str, Any] = {"by": by, "who": self._who, "nonce": token_hex(NONCE_BYTES)}
        if seconds is not None:
            arguments["seconds"] = seconds
        raw = self._scripts.look.at(self._client, keys.WAITING, encode(arguments))
        if raw[0] == b"ok":
            return replies.begun(raw)
        return "waits" if raw[0] == b"waits" else None

    def given(self, seconds: float) -> Begun | None:
        """What is handed over within so many seconds. Raises StoreUnavailable when the connection was lost."""
        raw = pop(self._client, keys.GIVEN + self._who, seconds)
        if raw == BROKEN:
            with guarded():
                raise redis.exceptions.ConnectionError("while waiting for a step")
        return None if raw is None else replies.given(raw)

    def leave(self, by: Mapping[str, Any]) -> Begun | None:
        """The process waits no longer, and its turn is over; unless it was given something meanwhile."""
        arguments = {"who": self._who, "queues": by["queues"], "owner": by["owner"], "head": by["head"]}
        (raw,) = self._scripts.leave.at(self._client, keys.WAITING, encode(arguments)) or (None,)
        return None if raw is None else replies.given(raw)


def places(client: redis.Redis, owner: str) -> dict[str, Place]:
    """Where the processes of a worker have got to, by the id of the task whose message each was given."""
    with guarded():
        found = cast("dict[bytes, bytes]", client.hgetall(keys.TURNS + owner))
    return {head.decode(): _place(raw) for head, raw in found.items()}


def place(client: redis.Redis, owner: str, head: str) -> Place | None:
    """The same for one of them; None when it has not gone on."""
    with guarded():
        raw = cast("bytes | None", client.hget(keys.TURNS + owner, head))
    return None if raw is None else _place(raw)


def _place(raw: bytes) -> Place:
    run_id, step, token = raw.decode().split(" ")
    return Place(run_id, step, int(token))
