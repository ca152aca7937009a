"""A server in front of a test's Valkey: it may speak TLS, and it may lose what goes through its connections."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that only itself vouches for, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(cert), "-keyout", str(key)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


class Front:
    """Passes every connection to 127.0.0.1:`port` on to a unix socket, decrypted when it has a `context`."""

    def __init__(self, server: Path, context: ssl.SSLContext | None = None) -> None:
        self._server = str(server)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._passing = threading.Event()

    def __enter__(self) -> Self:
        self._passing.set()
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.lose()

    def lose(self) -> None:
        """Whatever is sent from now on over connections that are open is lost, and they stay open; new ones work."""
        self._passing.clear()
        self._passing = threading.Event()
        self._passing.set()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(plain, self._passing), daemon=True).start()

    def _connect(self, plain: socket.socket, passing: threading.Event) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as both:
            client = both.enter_context(plain)
            if self._context is not None:
                client = both.enter_context(self._context.wrap_socket(plain, server_side=True))
            behind = both.enter_context(socket.socket(socket.AF_UNIX))
            behind.connect(self._server)
            threading.Thread(target=_pump, args=(behind, client, passing), daemon=True).start()
            _pump(client, behind, passing)


def _pump(source: socket.socket, target: socket.socket, passing: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if passing.is_set():
                target.sendall(data)
        if passing.is_set():
            target.shutdown(socket.SHUT_RDWR)
