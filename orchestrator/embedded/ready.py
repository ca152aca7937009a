"""Tells the guardian that a worker consumes. Workers of the local stack load this module by `--include`."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from celery.signals import worker_ready

from orchestrator.embedded.members import READY_FD


def _announce(fd: int) -> None:
    with contextlib.suppress(OSError):  # the guardian may have gone
        os.write(fd, b"1")
    os.close(fd)


_fd = os.environ.pop(READY_FD, None)
if _fd is not None:
    os.set_inheritable(int(_fd), False)  # commands that agents run must not hold the pipe open

    @worker_ready.connect(weak=False)
    def _on_ready(fd: int = int(_fd), **_: Any) -> None:
        _announce(fd)
