"""What is logged while an agent works is kept with its attempt."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic

from orchestrator.engine.runtime import Runtime
from orchestrator.errors import OrchestratorError
from orchestrator.run import logs
from orchestrator.run.models import LogLine

FLUSH_SECONDS = 0.5
FLUSH_LINES = 200


@dataclass(slots=True)
class _Buffer:
    runtime: Runtime
    run_id: str
    step: str
    attempt: int
    lines: list[LogLine] = field(default_factory=list)
    flushed_at: float = field(default_factory=monotonic)

    def add(self, record: logging.LogRecord, text: str) -> None:
        self.lines.append(LogLine(at=record.created, level=record.levelname, attempt=self.attempt, text=text))
        if len(self.lines) >= FLUSH_LINES or monotonic() - self.flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        lines, self.lines = self.lines, []
        self.flushed_at = monotonic()
        if lines:
            limit = self.runtime.settings.engine.max_log_bytes
            logs.append(self.runtime.client, self.run_id, self.step, lines, limit=limit)


_current: ContextVar[_Buffer | None] = ContextVar("attempt_log", default=None)


class _Handler(logging.Handler):
    """Routes records to the attempt in whose context they were made; others pass by."""

    def emit(self, record: logging.LogRecord) -> None:
        buffer = _current.get()
        if buffer is None:
            return
        _current.set(None)  # what storing itself logs is not part of the attempt
        try:
            buffer.add(record, self.format(record))
        except OrchestratorError:
            self.handleError(record)
        finally:
            _current.set(buffer)


_handler = _Handler(level=logging.INFO)


@contextmanager
def capture(runtime: Runtime, run_id: str, step: str, attempt: int) -> Iterator[None]:
    """Keep what is logged in this context, from INFO on, until the block ends."""
    root = logging.getLogger()
    if _handler not in root.handlers:
        root.addHandler(_handler)
    agents = logging.getLogger("agent")
    if agents.level == logging.NOTSET:
        agents.setLevel(logging.INFO)
    buffer = _Buffer(runtime, run_id, step, attempt)
    token = _current.set(buffer)
    try:
        yield
    except Exception:
        logging.getLogger("agent").exception("the attempt failed")
        raise
    finally:
        _current.reset(token)
        buffer.flush()
