"""The state of a run as it changes: the store is the truth, events say when to look at it again."""

from __future__ import annotations

import redis

from orchestrator import keys
from orchestrator.errors import StoreUnavailable
from orchestrator.messages.channel import look, newest
from orchestrator.messages.cursor import Cursor
from orchestrator.run.models import RunStatus
from orchestrator.run.reader import RunReader


class Watch:
    """`status` is the run as it was last read. `client` has to be one for commands that wait.

    However many events come at a time, and however many a slow watcher has missed, the run is read once.
    """

    def __init__(self, client: redis.Redis, reader: RunReader, run_id: str) -> None:
        self._client = client
        self._reader = reader
        self._run_id = run_id
        key = keys.run_key(run_id, "events")
        self._cursor = Cursor(key, newest(client, key))
        self._stale = False
        self.status: RunStatus = reader.status(run_id)

    def wait(self, seconds: float) -> RunStatus | None:
        """The run when something has happened to it, within `seconds`; None when nothing has. After StoreUnavailable it
        can be asked again."""
        try:
            events = () if self._stale else look(self._client, self._cursor, max(1, int(seconds * 1000)))
            if not events and not self._stale:
                return None
            while look(self._client, self._cursor, None):
                continue
            self._stale = True
            self.status = self._reader.status(self._run_id)
        except StoreUnavailable:
            self._stale = True
            raise
        self._stale = False
        return self.status
