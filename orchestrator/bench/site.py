"""What benchmarks run on: a Valkey server of their own, Celery workers, and an ear on what clients send."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from orchestrator.connection import connect
from orchestrator.embedded.members import READY_FD
from orchestrator.embedded.server import last_line, server_binary
from orchestrator.errors import OrchestratorError, StoreUnavailable
from orchestrator.processes import die_with_parent

START_SECONDS = 30.0
DATABASES = 16
SET_UP = ("AUTH", "CLIENT", "HELLO", "SELECT")


class BenchServer:
    """A server on a port of 127.0.0.1, as deployments reach theirs, with nothing on disk unless `aof`."""

    def __init__(self, directory: Path, *, aof: bool = False) -> None:
        self._directory = directory
        self._aof = aof
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        """The address of one of DATABASES databases."""
        return f"redis://127.0.0.1:{self._port}/{database}"

    def client(self, database: int = 0) -> redis.Redis:
        """This process' client for a database."""
        return connect(self.url(database))

    @property
    def version(self) -> str:
        """Such as `valkey 9.1.2`."""
        info: Any = self.client().info("server")
        return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        options = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "dir": str(self._directory),
            "databases": str(DATABASES),
            "save": "",
            "appendonly": "yes" if self._aof else "no",
            "appendfsync": "everysec",
        }
        command = [str(server_binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]
        log = self._directory / "server.log"
        with log.open("wb") as out:
            self._process = _spawn(command, out=out)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise StoreUnavailable(f"the server of the benchmark could not start: {last_line(log)}")
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def listening(self, database: int = 0) -> Iterator[Counter[str]]:
        """Counts, by name, the commands that clients send to a database meanwhile; known when the block has ended.

        INFO commandstats counts what scripts call as well, so the server is asked to show each command. That is slow:
        nothing is measured meanwhile. What sets up a connection is not counted: it is paid once, not with each turn.
        """
        sent: Counter[str] = Counter()
        client: Any = redis.Redis.from_url(self.url(database))
        with client.monitor() as monitor:
            yield sent
            end = f"end-{os.urandom(4).hex()}"
            self.client(database).echo(end)
            for one in monitor.listen():
                if end in one["command"]:
                    break
                name = one["command"].split()[0].upper()
                if one["client_type"] != "lua" and one["db"] == database and name not in SET_UP:
                    sent[name] += 1
        client.close()


@contextmanager
def celery_worker(app: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """The pid of a worker of one of our applications, ready for tasks; it ends with the block."""
    command = [sys.executable, "-m", "orchestrator.engine", app, "worker", *arguments]
    ready, told = os.pipe()
    with log.open("wb") as out:
        process = _spawn(command, out=out, environment={**_inherited(), **environment, READY_FD: str(told)}, keep=told)
    os.close(told)
    try:
        if not os.read(ready, 1):
            raise OrchestratorError(f"the worker of {app} did not start: {last_line(log)}")
        yield process.pid
    finally:
        os.close(ready)
        _end(process)


@contextmanager
def process_that_says(
    words: bytes, command: Sequence[str], environment: Mapping[str, str], log: Path, *, times: int = 1
) -> Iterator[int]:
    """The pid of somebody else's process, which has said in its log, so many times, that it is ready; it ends with the
    block."""
    with log.open("wb") as out:
        process = _spawn(command, out=out, environment={**_inherited(), **environment})
    try:
        deadline = time.monotonic() + START_SECONDS
        while log.read_bytes().count(words) < times:
            if process.poll() is not None or time.monotonic() > deadline:
                raise OrchestratorError(f"{' '.join(command[2:5])} did not start: {last_line(log)}")
            time.sleep(0.02)
        yield process.pid
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _inherited() -> dict[str, str]:
    """Our environment without what this deployment runs on: a benchmark has servers of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}


def _spawn(
    command: Sequence[str], *, out: Any, environment: Mapping[str, str] | None = None, keep: int | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own argument list, no shell
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=() if keep is None else (keep,),
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
    )
