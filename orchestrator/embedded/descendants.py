"""All processes below this one, also those whose own parents have died (Linux; elsewhere it does nothing)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants(spare: set[int]) -> None:
    """SIGKILL everything below this process, but `spare` and what is below those. Repeats until nothing turns up."""
    while found := descendants(spare):
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        reap_strays(spare, wait=True)


def reap_strays(known: set[int], *, wait: bool = False) -> None:
    """Collect the status of adopted processes that ended, leaving the `known` ones to who started them."""
    for pid in _children() - known:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0 if wait else os.WNOHANG)


def descendants(spare: set[int]) -> set[int]:
    """Process ids of all living or unreaped descendants, without the `spare` ones and those below them."""
    below: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        below.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        for pid in set(below.get(waiting.pop(), [])) - spare:
            found.add(pid)
            waiting.append(pid)
    return found


def _children() -> set[int]:
    return {pid for pid, parent in _parents().items() if parent == os.getpid()}


def _parents() -> dict[int, int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
    return parents
