"""What tests of locks share: steps that run, a write that its lock protects, and holders in processes of their own."""

from __future__ import annotations

from typing import Any

import redis

from orchestrator import keys
from orchestrator.context.lock_models import Holder, Lock
from orchestrator.context.locks import CHECK, EXTEND, LOCKS
from orchestrator.scripts import Script, fragment

RUN = "run"
LEASE = 5.0
BASE = fragment("orchestrator.run", "base")
GUARDED_WRITE = """
if not lock_check(A.section, A.token) then return 0 end
redis.call('HSET', P .. ':test', A.section, A.value)
return 1
"""
WRITE = Script(BASE, LOCKS, CHECK, GUARDED_WRITE)
"""Write a value under a lock, as a commit does: the check and the write are one script."""
EXTEND_ALL = Script(BASE, LOCKS, EXTEND, "extend_locks(A.steps, A.lease)")
"""What the renewal of attempts does for their locks."""
FREE_STEP = Script(BASE, LOCKS, "free_locks(A.step) store_locks()")
"""What the end of an attempt does for its locks."""


def begin(client: redis.Redis, step: str, attempt: int = 1, run_id: str = RUN) -> Holder:
    """The ledger's part: an attempt of the step is running."""
    client.hset(keys.run_key(run_id, f"s:{step}"), mapping={"state": "running", "token": attempt})
    return Holder(step, attempt, "worker")


def write(client: redis.Redis, lock: Lock, value: int, now: float | None = None) -> bool:
    """Store a value under the lock; False when it was refused."""
    arguments = {"section": lock.section, "token": lock.token, "value": value} | ({} if now is None else {"now": now})
    return bool(WRITE(client, RUN, arguments))


def read(client: redis.Redis, section: str) -> int:
    """The value that was written last, 0 when there is none."""
    raw: Any = client.hget(keys.run_key(RUN, "test"), section)
    return 0 if raw is None else int(raw)
