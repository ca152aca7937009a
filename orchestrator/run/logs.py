"""The log of a step: lines of its attempts, kept with the run and bounded in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from orchestrator.batch import Call, scripted
from orchestrator.keys import run_prefix
from orchestrator.run.models import LogLine
from orchestrator.run.transitions import BASE, lua
from orchestrator.scripts import Script, encode

APPEND = Script(BASE, lua("log"))


def append(
    client: redis.Redis, logs: Sequence[tuple[str, str, Sequence[LogLine]]], *, limit: int
) -> list[Exception | None]:
    """Add lines to the logs of steps (run, step, lines); the oldest are dropped so that a step keeps at most `limit`
    bytes. One round trip; what each could not be stored for, if it could not. Raises StoreUnavailable."""
    calls: list[Call] = []
    for run_id, step, lines in logs:
        texts = [line.model_dump_json() for line in lines]
        calls.append((APPEND, run_prefix(run_id), (encode({"step": step, "limit": limit}), *texts)))
    found: Sequence[Any] = scripted(client)(calls)
    return [one if isinstance(one, Exception) else None for one in found]
