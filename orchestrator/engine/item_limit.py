"""How long an agent may work on one item."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from orchestrator.errors import StepTimeout

AGAIN_SECONDS = 1.0
"""An agent that has caught the error and goes on gets it again after this."""


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Raises StepTimeout in the agent when it works for longer, where it is the process' main thread: in a pool of
    processes. In a thread nothing can interrupt it, and its result comes too late; so it does out of C code that looks
    at no signal, until the step's own timeout ends the process."""
    if seconds is None:
        yield
        return
    said = StepTimeout(f"the item took longer than {seconds:g} s")

    def expire(*_: Any) -> None:
        raise said

    begun = monotonic()
    alarmed = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, expire) if alarmed else None
    try:
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
        yield
    finally:
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    if monotonic() - begun > seconds:
        raise said
