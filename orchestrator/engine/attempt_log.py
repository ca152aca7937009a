"""What is logged while an agent works is kept with its attempt."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Condition, Lock, Thread
from time import monotonic, sleep

from orchestrator.engine.runtime import Runtime
from orchestrator.errors import OrchestratorError
from orchestrator.run import logs
from orchestrator.run.models import LogLine

FLUSH_SECONDS = 0.5
FLUSH_LINES = 200

_current: ContextVar[AttemptLog | None] = ContextVar("attempt_log", default=None)
_left: ContextVar[AttemptLog | None] = ContextVar("attempt_log_left", default=None)


class AttemptLog:
    """The lines of one attempt: stored half a second after they came, and by `flush` at the end."""

    def __init__(self, runtime: Runtime, run_id: str, step: str, attempt: int) -> None:
        self._runtime = runtime
        self._run_id = run_id
        self._step = step
        self._attempt = attempt
        self._lines: list[LogLine] = []
        self._storing = Lock()
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
        with self._storing:
            self._lines.append(LogLine(at=record.created, level=record.levelname, attempt=self._attempt, text=text))
            gathered = len(self._lines)
        if gathered >= FLUSH_LINES or monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()
        elif gathered == 1:
            _silent.soon(self)

    def flush(self) -> None:
        """Store what has gathered. The log is no part of the result: when it cannot be stored, the step goes on."""
        with self._storing:
            lines, self._lines = self._lines, []
            self._flushed_at = monotonic()
            if lines:
                self._store(lines)

    def _store(self, lines: list[LogLine]) -> None:
        limit = self._runtime.settings.engine.max_log_bytes
        try:
            logs.append(self._runtime.client, self._run_id, self._step, lines, limit=limit)
        except OrchestratorError as error:
            logging.getLogger("orchestrator").warning("log of %s %s not stored: %s", self._run_id, self._step, error)


class _Silent:
    """Stores the last lines of attempts that log nothing more for now: one thread of this process, which sleeps while
    no attempt has any."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Threads do not come along into a forked process."""
        self._some = Condition()
        self._logs: set[AttemptLog] = set()
        self._thread: Thread | None = None

    def soon(self, log: AttemptLog) -> None:
        with self._some:
            self._logs.add(log)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="attempt-logs", daemon=True)
                self._thread.start()
            self._some.notify()

    def _work(self) -> None:
        while True:
            with self._some:
                while not self._logs:
                    self._some.wait()
            sleep(FLUSH_SECONDS)
            with self._some:
                found, self._logs = self._logs, set()
            for log in found:
                log.flush()


_silent = _Silent()


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
