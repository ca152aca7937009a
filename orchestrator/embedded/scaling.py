"""How many workers of a class a local stack has: a file in its home that one command writes and the stack reads."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Group:
    """So many workers that take from the same `queues`; `arguments` are Celery's options for their pool."""

    count: int
    queues: tuple[str, ...]
    arguments: tuple[str, ...]


def _paths(home: Path) -> tuple[Path, Path]:
    return home / "run" / "scale.json", home / "run" / "scale.lock"


class Scaled:
    """The stack's side. The first stack of a home that may be scaled holds a lock to its end; others are not asked."""

    def __init__(self, home: Path) -> None:
        self._file, lock = _paths(home)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._leads = True
        except BlockingIOError:
            self._leads = False
        if self._leads:
            self._file.unlink(missing_ok=True)  # what an earlier stack was told

    def news(self) -> Mapping[str, Any]:
        """What was asked for since the last call: class -> a Group's fields."""
        if not self._leads or not self._file.exists():
            return {}
        taken = self._file.with_suffix(".taken")
        self._file.rename(taken)
        found: Mapping[str, Any] = json.loads(taken.read_text())
        return found


def ask(home: Path, name: str, group: Group) -> None:
    """Ask the stack that runs in `home` for so many workers of a class. Raises StoreUnavailable when none does."""
    file, lock = _paths(home)
    if not lock.exists() or _free(lock):
        raise StoreUnavailable(
            "no `orchestrator up` runs here. Elsewhere the platform scales: honcho start -c design=3, "
            "docker compose up --scale design=3, or KEDA with config/deploy/keda.yaml"
        )
    earlier = json.loads(file.read_text()) if file.exists() else {}
    new = file.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps({**earlier, name: asdict(group)}))
    new.rename(file)


def _free(lock: Path) -> bool:
    handle = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
