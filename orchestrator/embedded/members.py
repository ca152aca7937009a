"""The processes of a local stack besides the server: workers and beat, each restarted with backoff when it exits."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.processes import die_with_parent, kill_group

READY_FD = "ORCHESTRATOR_READY_FD"
"""Variable that names the pipe on which the engine says that its worker consumes."""

_BACKOFF = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_STEADY = 30.0
_LOG_LIMIT = 5_000_000


@dataclass
class Member:
    """One supervised process. One of a `group` that was scaled down is `leaving`: it ends when its steps are done, and
    is not started again. `due` is the monotonic time at which it is started (again)."""

    name: str
    command: list[str]
    log: Path
    announces: bool = True
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    ready_pipe: int | None = None
    group: str = ""
    lock: int | None = None
    leaving: bool = False
    failures: int = 0
    started: float = 0.0
    due: float = field(default_factory=time.monotonic)

    def start(self, env: Mapping[str, str]) -> None:
        """Start the process in a group of its own. `ready_pipe` becomes readable when it consumes."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        rotate(self.log)
        environment = dict(env)
        passed: tuple[int, ...] = ()
        if self.announces:
            self.ready_pipe, sender = os.pipe()
            environment[READY_FD] = str(sender)
            passed = (sender,)
        guardian = os.getpid()
        try:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(  # noqa: S603 - our own argument list, no shell
                    self.command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=passed,
                    preexec_fn=lambda: die_with_parent(parent=guardian),  # noqa: PLW1509 - the guardian has no threads
                )
        finally:
            for fd in passed:
                os.close(fd)
        self.started = time.monotonic()

    def hear(self) -> bool:
        """Read the ready pipe: True if the process consumes now, False if it has ended instead."""
        if self.ready_pipe is None:
            return False
        said = os.read(self.ready_pipe, 1)
        self.ready |= bool(said)
        self.close_pipe()
        return bool(said)

    def reap(self) -> int | None:
        """The exit status if the process has ended, negative for a signal. Ends its leftovers, sets its restart."""
        if self.process is None or self.process.poll() is None:
            return None
        status = int(self.process.returncode)
        self.end()
        now = time.monotonic()
        self.failures = 0 if now - self.started > _STEADY else self.failures
        self.due = now + _BACKOFF[min(self.failures, len(_BACKOFF) - 1)]
        self.failures += 1
        return status

    def terminate(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def end(self) -> None:
        """End the process and whatever is left of its group."""
        if self.process is not None:
            kill_group(self.process.pid)
            self.process.wait()
        self.process = None
        self.close_pipe()

    def forget(self) -> None:
        """It has left for good: its name is free."""
        if self.lock is not None:
            os.close(self.lock)

    def close_pipe(self) -> None:
        if self.ready_pipe is not None:
            os.close(self.ready_pipe)
        self.ready_pipe = None


def free_names(folder: Path, count: int, prefix: str = "worker") -> dict[str, int]:
    """Worker names that no other stack of this home uses. They recur, so that nothing is kept per run in Redis.

    A name is taken by a file lock, which is held until this process ends or closes the descriptor that comes with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, int] = {}
    number = 0
    while len(names) < count:
        number += 1
        lock = os.open(folder / f"{prefix}-{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            names[f"{prefix}-{number}"] = lock
    return names


def worker(
    name: str, *, app: str, arguments: Sequence[str], queues: Sequence[str] | None, logs: Path, group: str, lock: int
) -> Member:
    """A Celery worker; without `queues` it consumes every queue that the app declares. `arguments` tell its pool."""
    command = [
        *(sys.executable, "-m", "orchestrator.engine", app, "worker"),
        *("-n", f"{name}@%h", *arguments, "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle"),
    ]
    if queues:
        command += ["-Q", ",".join(queues)]
    return Member(name=name, command=command, log=logs / f"{name}.log", group=group, lock=lock)


def beat(*, app: str, logs: Path) -> Member:
    """The scheduler. Its state is in the store; a second stack's beat waits to take over."""
    command = [sys.executable, "-m", "orchestrator.engine", app, "beat", "--loglevel", "WARNING", "--pidfile", ""]
    return Member(name="beat", command=command, log=logs / "beat.log", announces=False)


def rotate(log: Path) -> None:
    """Keep one older copy of a log that has grown too large."""
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
