"""What the tasks of one Celery application share: where the store is, the ledger over it, and the settings."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import redis
from celery import Celery

from orchestrator.connection import connect
from orchestrator.context.store import COMMIT, FILL
from orchestrator.run.store import FLOW, Ledger, lua
from orchestrator.scripts import Script

if TYPE_CHECKING:
    from orchestrator.settings import EngineSettings

FINISH = Script(FLOW, COMMIT, lua("finish"))
"""An attempt ends and its output is committed, or neither."""
JUDGE = Script(FLOW, FILL, lua("judge"))
"""A barrier releases its consumers and fills its gaps, or neither."""

log = logging.getLogger("orchestrator")


@dataclass(slots=True)
class Runtime:
    """One per application. `owner` names this worker process' incarnation: children inherit it by fork."""

    store_url: str
    settings: EngineSettings
    templates: tuple[Path, ...] = ()
    hostname: str = field(default_factory=socket.gethostname)
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    _ledgers: dict[int, Ledger] = field(default_factory=dict)

    @property
    def client(self) -> redis.Redis:
        """This process' connection pool to the store."""
        return connect(self.store_url)

    @property
    def ledger(self) -> Ledger:
        """This process' ledger."""
        pid = os.getpid()
        if pid not in self._ledgers:
            self._ledgers = {pid: ledger(self.client, self.settings)}
        return self._ledgers[pid]

    def enter_worker(self, hostname: str) -> None:
        """A worker's main process starts: from here on attempts are claimed in its name."""
        self.hostname = hostname
        self.owner = f"{hostname}:{uuid.uuid4().hex[:12]}"


def ledger(client: redis.Redis, settings: EngineSettings) -> Ledger:
    """The ledger over a client, with the context's part of its transitions."""
    return Ledger(client, finish=FINISH, judge=JUDGE, lost_after=settings.engine.lost_after)


def runtime_of(app: Celery) -> Runtime:
    """The runtime that `create_app` attached."""
    return cast(Runtime, app.orchestrator)  # type: ignore[attr-defined]
