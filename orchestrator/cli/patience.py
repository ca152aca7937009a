"""Waiting for something that cannot wake us."""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST, _LONGEST = 0.02, 0.25


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again, ever less often; whether it came true in time."""
    deadline = time.monotonic() + seconds
    pause = _FIRST
    while not condition():
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        time.sleep(min(pause, remaining))
        pause = min(_LONGEST, pause * 2)
    return True
