"""What is logged while an agent works is kept with its attempt."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from contextvars import ContextVar, Token
from threading import Lock
from time import monotonic
from typing import Self

from orchestrator.batch import BatchLimits, BatchProcessor, ItemRetry
from orchestrator.engine.runtime import Runtime
from orchestrator.errors import OrchestratorError
from orchestrator.run import logs
from orchestrator.run.models import LogLine

FLUSH_SECONDS = 0.5
FLUSH_LINES = 200
LIMITS = BatchLimits(timeout=FLUSH_SECONDS, latency=10 * FLUSH_SECONDS)
TWICE = ItemRetry(maximum_attempts=2)

_current: ContextVar[AttemptLog | None] = ContextVar("attempt_log", default=None)
_ROOT, _AGENTS = logging.getLogger(), logging.getLogger("agent")
_left: ContextVar[AttemptLog | None] = ContextVar("attempt_log_left", default=None)


class AttemptLog:
    """The lines of one attempt: stored half a second after they came, and by `flush` at the end.

    As a context: what is logged in it, from INFO on, is kept; an error that leaves it is logged with its traceback.
    """

    _token: Token[AttemptLog | None]

    def __init__(self, runtime: Runtime, run_id: str, step: str, attempt: int) -> None:
        self._runtime = runtime
        self._run_id = run_id
        self._step = step
        self._attempt = attempt
        self._lines: list[LogLine] = []
        self._adding, self._storing = Lock(), Lock()
        self._flushed_at = monotonic()

    def __enter__(self) -> Self:
        _listen()
        _left.set(self)
        self._token = _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            _AGENTS.error("the attempt failed", exc_info=error)
        _current.reset(self._token)

    def add(self, record: logging.LogRecord, text: str) -> None:
        """Take a record; store what has gathered when it is time."""
        with self._adding:
            self._lines.append(LogLine(at=record.created, level=record.levelname, attempt=self._attempt, text=text))
            gathered = len(self._lines)
        if gathered >= FLUSH_LINES or monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()
        elif gathered == 1:
            _silent.soon(self)

    def flush(self) -> None:
        """Store what has gathered. The log is no part of the result: when it cannot be stored, the step goes on."""
        if not self._lines and not self._storing.locked():
            return
        try:
            (failed,) = _store([self])
        except OrchestratorError as error:
            failed = error
        if failed is not None:
            logging.getLogger("orchestrator").warning("log of %s %s not stored: %s", self._run_id, self._step, failed)

    def take(self) -> list[LogLine]:
        """What has gathered; for whoever stores it, one at a time."""
        with self._adding:
            lines, self._lines = self._lines, []
            self._flushed_at = monotonic()
        return lines

    def give_back(self, lines: list[LogLine]) -> None:
        """They could not be stored."""
        with self._adding:
            self._lines[:0] = lines


def _store(some: Sequence[AttemptLog]) -> list[Exception | None]:
    """What attempts of one application have logged, each in the order of its lines."""
    with ExitStack() as storing:
        for one in sorted(set(some), key=id):
            storing.enter_context(one._storing)
        taken = {one: lines for one in dict.fromkeys(some) if (lines := one.take())}
        outcomes: list[Exception | None] = []
        try:
            if taken:
                runtime = some[0]._runtime
                rows = [(one._run_id, one._step, lines) for one, lines in taken.items()]
                outcomes = logs.append(runtime.client, rows, limit=runtime.settings.engine.max_log_bytes)
        except OrchestratorError:
            for one, lines in taken.items():
                one.give_back(lines)
            raise
    failed = dict(zip(taken, outcomes, strict=True))
    return [failed.get(one) for one in some]


class _Silent:
    """Stores the last lines of attempts that log nothing more for now: those of all attempts of this process in one
    batch, by a thread that sleeps while no attempt has any."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Threads do not come along into a forked process."""
        self._batches: BatchProcessor[AttemptLog, None] = BatchProcessor({"log": _store}, limits=LIMITS, retry=TWICE)

    def soon(self, log: AttemptLog) -> None:
        self._batches.add("log", log)


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
    if _handler not in _ROOT.handlers:
        _ROOT.addHandler(_handler)
    if _AGENTS.level == logging.NOTSET:
        _AGENTS.setLevel(logging.INFO)
