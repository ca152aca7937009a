"""Real Celery workers for tests: this deployment's application, in processes of their own, killable, gone with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psutil

from orchestrator import keys
from orchestrator.engine import registry
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.runtime import Runtime
from orchestrator.processes import die_with_parent, kill_group
from orchestrator.settings import EngineSettings

if TYPE_CHECKING:
    from orchestrator import Client

ROOT = Path(__file__).parents[1]
QUICK_ENGINE = ROOT / "tests" / "fixtures" / "quick_engine.yaml"
READY_SECONDS = 30.0
T = TypeVar("T")


class Worker:
    """One Celery worker process and its children. Its output is kept in `log`."""

    def __init__(
        self,
        store_url: str,
        directory: Path,
        *,
        name: str = "w1",
        concurrency: int = 4,
        pool: str = "prefork",
        autoscale: str = "",
        queues: Sequence[str] = (),
        app: str = "config.celery_app",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = directory / f"{name}.log"
        self._arguments = [
            sys.executable, "-m", "orchestrator.engine", app, "worker", "-n", f"{name}@test",
            "-c", str(concurrency), "-P", pool, "--without-gossip", "--without-mingle", "--loglevel", "INFO",
            *(("-Q", ",".join(queues)) if queues else ()), *(("--autoscale", autoscale) if autoscale else ()),
        ]  # fmt: skip
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATOR_")}
        own = {"ORCHESTRATOR_STORE_URL": store_url, "ORCHESTRATOR_ENGINE_FILE": str(QUICK_ENGINE)}
        self._environment = inherited | own | dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> int:
        """Start without waiting. Returns a pipe that gives one byte when the worker takes tasks, or ends with it."""
        ready, told = os.pipe()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments,
                cwd=ROOT,
                env=self._environment | {"ORCHESTRATOR_READY_FD": str(told)},
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(told,),
                start_new_session=True,
                preexec_fn=partial(die_with_parent, parent=os.getpid()),  # noqa: PLW1509 - one prepared call, safe between fork and exec
            )
        os.close(told)
        os.set_blocking(ready, True)
        return ready

    def start(self) -> Self:
        """Start and wait until the worker says that it takes tasks."""
        self._wait_ready(self.launch())
        return self

    @staticmethod
    def start_all(*workers: Worker) -> None:
        """Start them side by side and wait until each takes tasks."""
        pipes = {worker: worker.launch() for worker in workers}
        for worker, ready in pipes.items():
            worker._wait_ready(ready)

    def _wait_ready(self, ready: int) -> None:
        told_us = os.read(ready, 1)
        os.close(ready)
        assert told_us, f"the worker did not start:\n{self.text()}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def children(self) -> list[int]:
        """The pids of the pool's processes."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    @contextmanager
    def frozen(self) -> Iterator[list[int]]:
        """Worker and children stand still for as long as the block lasts, unless it wakes some of these processes."""
        processes = [self.pid, *self.children()]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield processes
        finally:
            for pid in processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9 of the worker and all its children."""
        kill_group(self.pid)
        assert self.process is not None
        self.process.wait()

    def end(self) -> None:
        """Kill it if it runs: where nobody looks at it any more, a warm shutdown only takes a second and a half."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def stop(self) -> None:
        """Warm shutdown, bounded."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def text(self) -> str:
        """What the worker has printed so far."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def announce(store_url: str) -> None:
    """What a worker writes when it starts, without a worker: this deployment's agents."""
    import tasks  # noqa: F401 - registers them

    registry.publish(Runtime(store_url, EngineSettings()), REGISTRY.values(), ())


def eventually(ask: Callable[[], T], *, within: float, what: str) -> T:
    """Ask until the answer is true; fails after `within` seconds, naming `what` was expected."""
    deadline = monotonic() + within
    while True:
        answer = ask()
        if answer:
            return answer
        if monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last answer {answer!r}")
        _pause()


def idle(client: Client, *, within: float = 60.0) -> None:
    """Wait until no worker of this deployment works: attempts store results and logs after the end of their run."""
    active = client.app.control.inspect(limit=1, timeout=5).active

    def rests() -> bool:
        found = active() or {}
        return bool(found) and not any(found.values())

    eventually(rests, within=within, what="the worker is idle")


def time_is_over(client: Client, run_id: str, item: str) -> None:
    """Make an item of a run's agenda due now, such as `timeout:STEP`, `cancel:STEP` or `barrier:@GROUP`, so that a test
    may hold a state for as long as it looks at it and need not wait for a deadline."""
    seconds, micros = client.redis.time()
    agenda, now, (kind, _, node) = keys.run_key(run_id, "due"), seconds + micros / 1e6, item.partition(":")
    assert client.redis.zscore(agenda, item) is not None, f"no {item} is on the agenda"
    if kind == "barrier":
        client.redis.hset(keys.run_key(run_id, f"s:{node}"), "deadline", f"{now:.6f}")
    client.redis.zadd(agenda, {item: now}, xx=True)
    client.redis.zadd(keys.ACTIVE, {run_id: now}, xx=True)


def _pause() -> None:
    """The shortest wait between two questions to another process."""
    import select

    select.select([], [], [], 0.02)


def told(command: Callable[..., Any], *given: Any, **named: Any) -> None:
    """A worker has answered to one of Celery's remote commands, which arrive at most once."""
    what = f"an answer to {getattr(command, '__name__', command)}"
    eventually(lambda: bool(command(*given, reply=True, **named)), within=60, what=what)
