"""Where the local server of a home folder is, for whoever wants to use one that runs already."""

from __future__ import annotations

import json
import socket
from pathlib import Path


def note_path(home: Path) -> Path:
    """The file in which the owner of the server says where it listens."""
    return home / "run" / "server.json"


def socket_url(path: Path) -> str:
    """The URL that kombu, Celery and our own clients understand."""
    return f"redis+socket://{path}?virtual_host=0"


def noted_socket(home: Path) -> Path | None:
    """The socket of the server that was started last and not stopped in order."""
    try:
        return Path(json.loads(note_path(home).read_text())["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def answers(path: Path) -> bool:
    """Whether a server listens there and has loaded its data."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def running_url(home: Path) -> str | None:
    """URL of the server that runs for this home folder now, or None."""
    path = noted_socket(home)
    return socket_url(path) if path is not None and answers(path) else None
