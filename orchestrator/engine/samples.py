"""How long a worker's attempts took, on their way from its children to its main process: a pipe that never blocks.

Durations are statistics: what a full pipe drops, or a dying worker takes along, is missed by nobody.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from orchestrator.fleet.learning import Sample

_READ = 65536


class Samples:
    """One per worker; `wanted` is set when they are to be taken at once. Opened before its children are forked;
    anywhere else what is put in is dropped."""

    def __init__(self) -> None:
        self._ends: tuple[int, int] | None = None
        self._rest = b""
        self.wanted = threading.Event()

    def open(self) -> None:
        """In the main process, once."""
        if self._ends is None:
            self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def put(self, agent: str, size: int, seconds: float, *, ok: bool) -> None:
        """An attempt has ended. One write, which arrives whole or not at all."""
        if self._ends is not None:
            with suppress(OSError):
                os.write(self._ends[1], f"{agent} {size} {seconds:.6f} {int(ok)}\n".encode())

    def take(self) -> list[Sample]:
        """What has come since the last call; in the main process, by one thread."""
        if self._ends is None:
            return []
        text = self._rest
        with suppress(BlockingIOError):
            while more := os.read(self._ends[0], _READ):
                text += more
        *lines, self._rest = text.split(b"\n")
        return [_sample(line.decode()) for line in lines]


def _sample(line: str) -> Sample:
    agent, size, seconds, ok = line.rsplit(" ", 3)
    return Sample(agent=agent, size=int(size), seconds=float(seconds), ok=ok == "1")
