"""What is logged while an agent works is kept with its attempt."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

from orchestrator.engine.runtime import Runtime
from orchestrator.errors import OrchestratorError
from orchestrator.run import logs
from orchestrator.run.models import LogLine

FLUSH_SECONDS = 0.5
FLUSH_LINES = 200

_current: ContextVar[AttemptLog | None] = ContextVar("attempt_log", default=None)
_left: ContextVar[AttemptLog | None] = ContextVar("attempt_log_left", default=None)


class AttemptLog:
    """The lines of one attempt: stored every half second while they come, and by `flush` at the end."""

    def __init__(self, runtime: Runtime, run_id: str, step: str, attempt: int) -> None:
        self._runtime = runtime
        self._run_id = run_id
        self._step = step
        self._attempt = attempt
        self._lines: list[LogLine] = []
        self._flushed_at = monotonic()

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Keep what is logged in this context, from INFO on; an error is logged with its traceback."""
        _listen()
        _left.set(self)
        token = _current.set(self)
        try:
            yield
        except Exception:
            logging.getLogger("agent").exception("the attempt failed")
            raise
        finally:
            _current.reset(token)

    def add(self, record: logging.LogRecord, text: str) -> None:
        """Take a record; store what has gathered when it is time."""
        self._lines.append(LogLine(at=record.created, level=record.levelname, attempt=self._attempt, text=text))
        if len(self._lines) >= FLUSH_LINES or monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Store what has gathered. The log is no part of the result: when it cannot be stored, the step goes on."""
        lines, self._lines = self._lines, []
        self._flushed_at = monotonic()
        if not lines:
            return
        limit = self._runtime.settings.engine.max_log_bytes
        try:
            logs.append(self._runtime.client, self._run_id, self._step, lines, limit=limit)
        except OrchestratorError as error:
            logging.getLogger("orchestrator").warning("log of %s %s not stored: %s", self._run_id, self._step, error)


def flush_left() -> None:
    """Store what the attempt that has just ended left over; called when nobody waits for its task any more."""
    left = _left.get()
    if left is not None:
        _left.set(None)
        left.flush()


class _Handler(logging.Handler):
    """Routes records to the attempt in whose context they were made; others pass by."""

    def emit(self, record: logging.LogRecord) -> None:
        current = _current.get()
        if current is None:
            return
        token = _current.set(None)  # what storing itself logs is not part of the attempt
        try:
            current.add(record, self.format(record))
        finally:
            _current.reset(token)


_handler = _Handler(level=logging.INFO)


def _listen() -> None:
    root = logging.getLogger()
    if _handler not in root.handlers:
        root.addHandler(_handler)
    agents = logging.getLogger("agent")
    if agents.level == logging.NOTSET:
        agents.setLevel(logging.INFO)
