"""Handlers that do batches of Redis commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import redis
from redis.exceptions import NoScriptError, OutOfMemoryError

from orchestrator.batch.threads import Handler
from orchestrator.connection import each, guarded
from orchestrator.errors import BackpressureError, InvalidValue, OrchestratorError
from orchestrator.scripts import Script, fragment

ONCE = Script(fragment("orchestrator.batch", "once"))
_SHORT, _MIDDLE = 32, 65536
"""From so many bytes on MessagePack gives a text a longer head."""
Call = tuple[Script, str, Sequence[str | bytes]]
"""A script, its key, and its arguments."""
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
    remembered under `prefix` for `keep` seconds or longer, with their replies: an operation that is sent again, because
    a connection broke or a process died, takes no second effect, and gets the reply of the first.

    Beside the same script for each operation, a batch takes a sixth of the server's time: what is left is the command
    itself, called from Lua, and its mark. `orchestrator bench batch` measures it.
    """

    def handle(operations: Sequence[Operation]) -> Sequence[Any]:
        refused, found = ONCE.at(client, prefix, str(int(keep)), _packed(operations))
        for place in refused:
            found[place - 1] = _refusal(found[place - 1].decode(errors="replace"))
        outcomes: list[Any] = found
        return outcomes

    return handle


def scripted(client: redis.Redis) -> Handler[Call, Any]:
    """Scripts in one round trip, each a step of its own that is refused or goes wrong alone. After a lost connection,
    or when the server does not know one of them yet, all of the batch are sent again: they know a repeated call by its
    nonce."""

    def handle(calls: Sequence[Call]) -> Sequence[Any]:
        if len(calls) == 1:
            script, key, arguments = calls[0]
            return [script.at(client, key, *arguments)]
        commands = [("EVALSHA", script.sha, 1, key, *given) for script, key, given in calls]
        with guarded():
            replies = each(client, commands)
            if any(isinstance(reply, NoScriptError) for reply in replies):
                for source in {script.source for script, _, _ in calls}:
                    client.script_load(source)
                replies = each(client, commands)
        return [_said(reply) if isinstance(reply, Exception) else reply for reply in replies]

    return handle


def _said(error: Exception) -> OrchestratorError:
    """The error of one script, as ours."""
    try:
        with guarded():
            raise error
    except OrchestratorError as ours:
        return ours


def _packed(operations: Sequence[Operation]) -> bytes:
    """As MessagePack, which Lua reads at once: arguments of their own would cost the server more than the commands."""
    parts = [b"\xdd", (2 * len(operations)).to_bytes(4, "big")]
    for one in operations:
        parts += (_text(one.id), b"\xdc", len(one.command).to_bytes(2, "big"), *map(_text, one.command))
    return b"".join(parts)


def _text(part: Any) -> bytes:
    if isinstance(part, str):
        raw = part.encode()
    elif isinstance(part, bytes):
        raw = part
    elif isinstance(part, int | float) and not isinstance(part, bool):
        raw = repr(part).encode()
    else:
        raise InvalidValue(f"a command consists of texts, bytes and numbers, and no {type(part).__name__}: {part!r}")
    size = len(raw)
    if size < _SHORT:
        return bytes((0xA0 | size,)) + raw
    return (b"\xda" + size.to_bytes(2, "big") if size < _MIDDLE else b"\xdb" + size.to_bytes(4, "big")) + raw


def _refusal(said: Exception | str) -> OrchestratorError:
    """The error of one command. Out of memory passes; everything else would be refused again."""
    if isinstance(said, OutOfMemoryError) or str(said).startswith("OOM"):
        return BackpressureError(f"Redis is out of memory and takes no writes: {said}", retry_after=5.0)
    return CommandRefused(f"Redis refused the command: {said}")
