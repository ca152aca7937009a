"""The process that owns a local stack. It ends everything when the command that started it ends, however it ends.

It reads one JSON line (the request) from its standard input and keeps reading: `stop` asks for an orderly end,
`idle` says that there is nothing to wait for, end of file means that the command is gone. It writes one JSON line
per event to its standard output.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.embedded import members
from orchestrator.embedded.descendants import adopt_orphans, kill_descendants, reap_strays
from orchestrator.embedded.scaling import Scaled
from orchestrator.embedded.server import Server, last_line
from orchestrator.errors import OrchestratorError

ORDERLY_GRACE = 5.0
"""Seconds that workers get to finish after `stop`."""
IDLE_GRACE = 0.5
"""The same when no run is active: enough to acknowledge what is finished; a warm shutdown would take 2 s."""
ABANDONED_GRACE = 1.0
"""The same after the command was killed; what is cut off goes on at the next start."""
_GRACES = {b"stop": ORDERLY_GRACE, b"idle": IDLE_GRACE}
_CHECK_EVERY = 1.0


class Guardian:
    """Keeps the processes of one request alive until it is told to stop."""

    def __init__(self, request: dict[str, Any], wake: int) -> None:
        self.home = Path(request["home"])
        self.server = None if request["broker_url"] else Server(self.home)
        self.env = {**os.environ, "ORCHESTRATOR_HOME": str(self.home)}
        self.wake = wake
        self.stopping = False
        self.app, self.logs = request["app"], self.home / "logs"
        self.members: list[members.Member] = []
        self.scaled = Scaled(self.home) if request["scale"] is not None else None
        self._add("", request["workers"], request["arguments"], request["queues"])
        if request["beat"]:
            self.members.append(members.beat(app=self.app, logs=self.logs))
        self._scale(request["scale"] or {})

    def _add(self, group: str, count: int, arguments: Sequence[str], queues: Sequence[str] | None) -> None:
        for name, lock in members.free_names(self.home / "run", count, group or "worker").items():
            options: dict[str, Any] = {"app": self.app, "arguments": arguments, "queues": queues, "logs": self.logs}
            self.members.append(members.worker(name, **options, group=group, lock=lock))

    def _drop_those_that_left(self) -> None:
        for member in [one for one in self.members if one.leaving and one.process is None]:
            self.members.remove(member)
            member.forget()

    def _scale(self, wanted: Mapping[str, Any]) -> None:
        """Bring groups of workers to their number: further ones are started, surplus ones finish what they run."""
        for group, want in wanted.items():
            there = [member for member in self.members if member.group == group and not member.leaving]
            self._add(group, want["count"] - len(there), want["arguments"], want["queues"])
            for member in there[want["count"] :]:
                member.leaving = True
                member.terminate()

    def run(self) -> None:
        try:
            if self.server is not None:
                self.server.acquire()
                for name in ("ORCHESTRATOR_BROKER_URL", "ORCHESTRATOR_STORE_URL"):
                    self.env[name] = self.server.url
                self.env.pop("ORCHESTRATOR_RESULT_URL", None)
                tell("server", url=self.server.url, pid=self.server.pid)
            grace = self._supervise()
            self._stop_members(grace)
        except OrchestratorError as error:
            tell("failed", message=str(error))
        finally:
            self._close()

    def _close(self) -> None:
        for member in self.members:
            member.end()
        kill_descendants(self._known())
        tell("stopped", shared=self.server is not None and not self.server.release())
        while self.server is not None and not self.server.release():
            self._wait([], _CHECK_EVERY / 4)
            self.server.check()

    def _known(self) -> set[int]:
        pids = {member.process.pid for member in self.members if member.process is not None}
        return pids | ({self.server.pid} if self.server is not None and self.server.pid else set())

    # -- while it runs --------------------------------------------------------------------------------------------

    def _supervise(self) -> float:
        """Start and restart members until the command goes away; the seconds that members get to finish."""
        next_check = time.monotonic() + _CHECK_EVERY
        while not self.stopping:
            now = time.monotonic()
            self._drop_those_that_left()
            for member in self.members:
                if member.process is None and member.due <= now:
                    member.start(self.env)
                    tell("started", member=member.name, pid=member.process.pid if member.process else None)
            pipes = {member.ready_pipe: member for member in self.members if member.ready_pipe is not None}
            due = [member.due for member in self.members if member.process is None]
            readable = self._wait([0, *pipes], max(0.0, min([next_check, *due]) - time.monotonic()))
            if 0 in readable:
                return _GRACES.get(os.read(0, 4096).strip(), ABANDONED_GRACE)
            for pipe in readable & pipes.keys():
                if pipes[pipe].hear():
                    tell("ready", member=pipes[pipe].name)
            self._collect()
            if self.server is not None and time.monotonic() >= next_check:
                self.server.check()
            if time.monotonic() >= next_check:
                self._scale(self.scaled.news() if self.scaled is not None else {})
                next_check = time.monotonic() + _CHECK_EVERY
        return ORDERLY_GRACE

    def _collect(self) -> None:
        for member in self.members:
            status = member.reap()
            if status is not None and not member.leaving:
                delay = max(0.0, member.due - time.monotonic())
                tell(
                    "exited",
                    member=member.name,
                    status=status,
                    ready=member.ready,
                    delay=delay,
                    log=str(member.log),
                    last=last_line(member.log),
                )
        reap_strays(self._known())

    def _wait(self, sources: list[int], timeout: float) -> set[int]:
        readable, _, _ = select.select([self.wake, *sources], [], [], timeout)
        if self.wake in readable:
            self.stopping |= any(number != signal.SIGCHLD for number in os.read(self.wake, 4096))
        return set(readable) - {self.wake}

    def _stop_members(self, grace: float) -> None:
        deadline = time.monotonic() + grace
        for member in self.members:
            member.terminate()
        while any(m.process is not None and m.process.poll() is None for m in self.members):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self._wait([], remaining)


def tell(event: str, **facts: Any) -> None:
    """Write one event to the command; nobody may be listening any more."""
    try:
        os.write(1, json.dumps({"event": event, **facts}).encode() + b"\n")
    except OSError:
        return


def main() -> int:
    """Read the request, do it, end with it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return 0
        line += byte
    adopt_orphans()
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Guardian(json.loads(bytes(line)), wake).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
