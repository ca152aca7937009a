"""Handlers that do batches of Redis commands."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import redis
from redis.exceptions import OutOfMemoryError

from orchestrator.batch.threads import Handler
from orchestrator.connection import each, guarded
from orchestrator.errors import BackpressureError, OrchestratorError
from orchestrator.scripts import Script, fragment

ONCE = Script(fragment("orchestrator.batch", "once"))
Command = Sequence[Any]
"""A command and its arguments, such as `("HINCRBY", "counts", "a", 1)`."""


class CommandRefused(OrchestratorError):
    """Redis refused one command of a batch, such as one for another type of key; its neighbours took effect."""


class Operation(NamedTuple):
    """A command that takes effect once, however often it is sent under this id."""

    id: str
    command: Command


def pipelined(client: redis.Redis) -> Handler[Command, Any]:
    """Commands in one pipeline: a round trip for each batch. After a lost connection all of the batch are sent again,
    so that a command may take effect twice: for those that must not, there is `once`."""

    def handle(commands: Sequence[Command]) -> Sequence[Any]:
        with guarded():
            outcomes = each(client, commands)
        return [_refusal(outcome) if isinstance(outcome, Exception) else outcome for outcome in outcomes]

    return handle


def once(client: redis.Redis, prefix: str, *, keep: float = 3600.0) -> Handler[Operation, Any]:
    """Operations in one script: one command for each batch, all of it or nothing. The ids of those that were done are
    remembered under `prefix` for `keep` seconds with their replies: an operation that is sent again, because a
    connection broke or a process died, takes no second effect, and gets the reply of the first."""

    def handle(operations: Sequence[Operation]) -> Sequence[Any]:
        flat = chain.from_iterable((one.id, len(one.command), *one.command) for one in operations)
        rows = ONCE.at(client, prefix, str(int(keep)), *flat)
        return [reply if done else _refusal(reply.decode(errors="replace")) for done, reply in rows]

    return handle


def _refusal(said: Exception | str) -> OrchestratorError:
    """The error of one command. Out of memory passes; everything else would be refused again."""
    if isinstance(said, OutOfMemoryError) or str(said).startswith("OOM"):
        return BackpressureError(f"Redis is out of memory and takes no writes: {said}", retry_after=5.0)
    return CommandRefused(f"Redis refused the command: {said}")
