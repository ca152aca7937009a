"""This deployment's application, in processes with failpoints."""

from __future__ import annotations

from typing import Any

from celery.canvas import Signature

from config.celery_app import app
from orchestrator.engine import attempt, join
from orchestrator.engine.backend import LedgerBackend
from orchestrator.engine.canvas import STEP
from orchestrator.engine.transport import QoS
from orchestrator.run.store import Ledger
from tests.faults.failpoints import after, before

__all__ = ["app"]


def _of_step(_qos: Any, message: Any, _tag: str) -> bool:
    return bool(message.headers.get("task") == STEP)


before(QoS, "append", "taken", _of_step)  # BRPOP has answered, `unacked` does not know the message yet
before(Ledger, "claim", "claiming")  # the message has come, the ledger has not heard of it
before(attempt, "follow", "ended")  # the end is stored, what follows is not published, no barrier is judged
before(join, "merge_members", "joined")  # the last member has ended, nothing is decided
before(join, "follow", "decided")  # the decision is stored, what it releases is not published
before(LedgerBackend, "_close", "closing")  # the barrier is decided, the chord does not know
before(Signature, "delay", "counted")  # Celery has counted the last member and not sent the chord's body
after(Ledger, "requeue", "repaired")  # a sweep has queued a lost step again; where it has to, nobody publishes it
