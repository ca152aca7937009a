"""The command's side of a local stack."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestrator.embedded.scaling import Group
from orchestrator.embedded.server import last_line
from orchestrator.errors import OrchestratorError, StoreUnavailable

READY_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0

OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What to start. `workers` processes with `concurrency` children each; 0 workers only serve the store.

    `queues`: None lets the workers consume every queue of the app. `arguments` are Celery's options for their pool,
    instead of that concurrency. `scale`: groups of further workers, by name, which may be scaled later; None: there are
    none, and nobody may. With `broker_url` no server is started: the
    processes take their URLs from the environment.
    """

    home: Path
    app: str = "config.celery_app"
    workers: int = 1
    concurrency: int = 4
    queues: tuple[str, ...] | None = None
    arguments: tuple[str, ...] = ()
    scale: Mapping[str, Group] | None = None
    beat: bool = False
    broker_url: str | None = None


class Stack:
    """Starts Valkey and workers for as long as the `with` block lasts, and not a moment longer.

    `url` is broker and store. Interrupted runs lie in the home folder and go on at the next start.
    Raises StoreUnavailable when the server or the first workers cannot start.
    """

    def __init__(self, options: StackOptions, on_event: OnEvent | None = None) -> None:
        self.options = options
        self.url = options.broker_url or ""
        self._on_event = on_event
        self._changed = threading.Condition()
        self._ready: set[str] = set()
        self._failure: str | None = None
        self._stopped = False
        self._lingers = False
        self._guardian: _Guardian | None = None

    def __enter__(self) -> Stack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the guardian; returns when the server answers."""
        home = prepare_home(self.options.home)
        request = {
            "home": str(home),
            "app": self.options.app,
            "workers": self.options.workers,
            "arguments": self.options.arguments or ("-c", str(self.options.concurrency)),
            "queues": self.options.queues,
            "scale": None if self.options.scale is None else {
                name: asdict(group) for name, group in self.options.scale.items()
            },
            "beat": self.options.beat,
            "broker_url": self.options.broker_url,
        }
        self._guardian = _Guardian(home / "logs" / "guardian.log")
        threading.Thread(target=self._listen, args=(self._guardian,), name="stack-events", daemon=True).start()
        self._guardian.say(json.dumps(request))
        self._wait_for(lambda: bool(self.url), READY_TIMEOUT, "the local Valkey server")

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until every worker consumes. Raises StoreUnavailable with the worker's last words."""
        wanted = self.options.workers + sum(group.count for group in (self.options.scale or {}).values())
        self._wait_for(lambda: len(self._ready) >= wanted, timeout, "the local worker")

    def check(self) -> None:
        """Raises StoreUnavailable when the stack has ended by itself."""
        if self._failure is not None:
            raise StoreUnavailable(self._failure)

    def stop(self, *, idle: bool = False) -> None:
        """End the workers and, unless another command uses it, the server. Does nothing the second time.

        `idle`: nothing runs any more, so that workers need no time to finish.
        """
        guardian, self._guardian = self._guardian, None
        if guardian is None:
            return
        guardian.say("idle" if idle else "stop")
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, STOP_TIMEOUT)
        guardian.leave(linger=self._lingers)

    # -- what the guardian tells --------------------------------------------------------------------------------

    def _wait_for(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            reached = self._changed.wait_for(lambda: condition() or self._failure is not None, timeout)
        self.check()
        if not reached:
            raise StoreUnavailable(f"{what} did not start within {timeout:g} s; see {self.options.home / 'logs'}")

    def _listen(self, guardian: _Guardian) -> None:
        with guardian.output as lines:
            for line in lines:
                self._take(json.loads(line))
        self._take({"event": "gone"})

    def _take(self, event: Mapping[str, Any]) -> None:
        with self._changed:
            self._note(event)
            self._changed.notify_all()
        if self._on_event is not None:
            self._on_event(event)

    def _note(self, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "server":
                self.url = event["url"]
            case "ready":
                self._ready.add(event["member"])
            case "exited" if not event["ready"] and event["member"] != "beat":
                words = event["last"] or f"exit status {event['status']}"
                self._failure = f"the local worker could not start: {words} (log: {event['log']})"
            case "failed":
                self._failure = event["message"]
            case "stopped":
                self._stopped = True
                self._lingers = event["shared"]
            case "gone":
                if not self._stopped:
                    log = self.options.home / "logs" / "guardian.log"
                    words = last_line(log)
                    self._failure = self._failure or f"the local stack has ended unexpectedly: {words} (log: {log})"
                self._stopped = True


class _Guardian:
    """The guardian process and the two pipes to it. It sees the end of its input even when we are killed."""

    def __init__(self, log: Path) -> None:
        request, lifeline = os.pipe()
        events, sender = os.pipe()
        self._input = os.fdopen(lifeline, "wb", buffering=0)
        self.output = os.fdopen(events, "rb")
        try:
            with log.open("ab") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "orchestrator.embedded"],
                    stdin=request,
                    stdout=sender,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C reaches the command alone, which then ends the rest in order
                )
        finally:
            os.close(request)
            os.close(sender)

    def say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # it has ended already, which its reader notices
            self._input.write(line.encode() + b"\n")

    def leave(self, *, linger: bool) -> None:
        """Wait for its end, unless it stays for other commands that use its server."""
        if not linger:
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()  # the kernel ends its children with it
                self._process.wait()
        with contextlib.suppress(OSError):
            self._input.close()


def prepare_home(home: Path) -> Path:
    """Create the home folder, private and invisible to git; its absolute path. Raises OrchestratorError."""
    home = home.absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "logs").mkdir(exist_ok=True)
        ignore = home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise OrchestratorError(
            f"the folder {home} cannot be used: {os.strerror(error.errno or 0)}; set ORCHESTRATOR_HOME to another"
        ) from error
    return home
