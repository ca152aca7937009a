"""The stock Flower with our pages, in a process of its own, gone with us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestrator.processes import die_with_parent, kill_group
from tests.servers import free_port
from tests.workers import QUICK_ENGINE, ROOT, eventually

USER = "Basic dXNlcjpwYXNzd29yZA=="
"""user:password, as the header Authorization has it."""
TOKEN = "0123456789abcdef0123"
READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Message[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Flower:
    """`celery flower` on a free port of 127.0.0.1. `options` as on its command line, without the dashes; with
    `credentials` it asks for user:password. Programs show TOKEN."""

    def __init__(
        self,
        store_url: str,
        directory: Path,
        *,
        app: str = "config.celery_app",
        credentials: bool = True,
        environment: Mapping[str, str] | None = None,
        **options: str,
    ) -> None:
        self.port = free_port()
        self.prefix = f"/{options['url_prefix'].strip('/')}" if "url_prefix" in options else ""
        self.log = directory / "flower.log"
        self._arguments = [
            sys.executable, "-m", "celery", "-A", app, "flower", "--address=127.0.0.1", f"--port={self.port}",
            *(f"--{name}={value}" for name, value in options.items()),
        ]  # fmt: skip
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("ORCHESTRATOR_", "FLOWER_"))
        }
        own = {
            "ORCHESTRATOR_STORE_URL": store_url,
            "ORCHESTRATOR_ENGINE_FILE": str(QUICK_ENGINE),
            "ORCHESTRATOR_API_TOKENS": TOKEN,
        }
        if credentials:
            own["FLOWER_BASIC_AUTH"] = "user:password"
        self._environment = inherited | own | dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def launch(self) -> None:
        """Start without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments,
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
            )

    def wait(self) -> None:
        """Until it answers."""
        eventually(self._answers, within=READY_SECONDS, what="Flower answers")

    def end(self) -> None:
        """Kill it, with whatever it has started."""
        assert self.process is not None
        kill_group(self.pid)
        self.process.wait()

    def __enter__(self) -> Self:
        self.launch()
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"Flower has ended:\n{self.log.read_text(errors='replace')}"
        try:
            return self.ask("/healthcheck").status == 200
        except OSError:
            return False

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        authorization: str | None = f"Bearer {TOKEN}",
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Answer:
        """One request; `body` is bytes, or what is sent as JSON. No redirect is followed."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if authorization is not None:
            sent["Authorization"] = authorization
        request = urllib.request.Request(self.url + path, data, sent | dict(headers or {}), method=method)
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path: str, **more: Any) -> Answer:
        """GET of the API."""
        return self.ask(f"/api/workflows{path}", **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        """POST to the API."""
        return self.ask(f"/api/workflows{path}", method="POST", body={} if body is None else body, **more)
