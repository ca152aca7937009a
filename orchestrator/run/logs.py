"""The log of a step: lines of its attempts, kept with the run and bounded in bytes."""

from __future__ import annotations

import redis

from orchestrator.run.models import LogLine
from orchestrator.run.store import BASE, lua
from orchestrator.scripts import Script

APPEND = Script(BASE, lua("log"))


def append(client: redis.Redis, run_id: str, step: str, lines: list[LogLine], *, limit: int) -> None:
    """Add lines; the oldest are dropped so that a step keeps at most `limit` bytes. One round trip."""
    APPEND(client, run_id, {"step": step, "limit": limit}, [line.model_dump_json() for line in lines])
