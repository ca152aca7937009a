"""Workflows by the hundred while one thing after another breaks; then the books have to balance.

    python -m tests.proofs.soak [--seconds 120] [--seed N]

About every two seconds one fault strikes: kill -9 of a child, of a worker, of a beat, of the server (whose append-only
file is written before it answers), or a freeze that outlasts the lease. What exits is started again, as any supervisor
does. The seed decides the workflows, and which faults come in which order.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import psutil

from orchestrator import Client, OrchestratorError, RunHandle
from orchestrator.processes import die_with_parent, kill_group
from orchestrator.run.models import RunState
from tests.servers import ValkeyServer, free_port
from tests.workers import QUICK_ENGINE, ROOT, Worker, announce, eventually

LEASE = 1.5
"""As in the settings of these workers."""
VISIBILITY = 30.0
"""Their `visibility_timeout`: what a killed worker had taken is delivered again after so long."""
WORKERS, BEATS, CHILDREN, CLIENTS = 2, 2, 4, 16
CALM_SECONDS = 90.0
"""After the last fault, everything that was accepted has to end within this."""


def workflow(rng: Random, number: int) -> dict[str, Any]:
    """A small graph with a parallel group in it; some of its steps fail at first."""
    retry = {"maximum_attempts": 0, "initial_interval": 0.2, "maximum_interval": 1}

    def step(name: str, *needs: str) -> dict[str, Any]:
        work: dict[str, Any] = {"agent": "sleep", "with": {"seconds": round(rng.uniform(0, 0.3), 3)}}
        if rng.random() < 0.15:
            work = {"agent": "fail", "with": {"times": 1}}
        return {"id": name, "needs": list(needs), "retry": retry} | work

    members = [f"m{index}" for index in range(rng.randint(2, 4))]
    tail = [step(f"t{index}", *([f"t{index - 1}"] if index else members)) for index in range(rng.randint(1, 3))]
    group = {"agents": [step(name) for name in members], "dependencies": ["first"], "parallel_capable": True}
    aside = [step("aside", "first"), step("last", "aside", tail[-1]["id"])]
    return {
        "name": f"soak-{number}",
        "steps": [step("first"), *tail, *aside],
        "execution_groups": {"side_by_side": group},
    }


class Fleet:
    """A server, workers and beats that are started again when they end. Everything is done in the main thread."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        data = directory / "data"
        data.mkdir()
        options = {"port": str(port), "bind": "127.0.0.1", "appendfsync": "always"}
        self.server = ValkeyServer(data, aof=True, options=options)
        self.url = f"redis://127.0.0.1:{port}/0"
        self.workers = [
            Worker(self.url, directory, name=f"w{number}", concurrency=CHILDREN) for number in range(WORKERS)
        ]
        self.beats: list[subprocess.Popen[bytes] | None] = [None] * BEATS
        self._directory = directory
        self._environment = os.environ | {
            "ORCHESTRATOR_STORE_URL": self.url, "ORCHESTRATOR_ENGINE_FILE": str(QUICK_ENGINE),
        }  # fmt: skip
        self.restarts = 0

    def start(self) -> None:
        self.server.start()
        announce(self.url)
        self.tend()

    def tend(self) -> None:
        """Start whatever does not run."""
        for worker in self.workers:
            if worker.process is None or worker.process.poll() is not None:
                if worker.process is not None:
                    kill_group(worker.pid)
                os.close(worker.launch())
                self.restarts += 1
        for place, beat in enumerate(self.beats):
            if beat is None or beat.poll() is not None:
                with (self._directory / f"beat{place}.log").open("ab") as log:
                    self.beats[place] = subprocess.Popen(
                        [sys.executable, "-m", "celery", "-A", "config.celery_app", "beat", "--pidfile", ""],
                        cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True,
                        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
                    )  # fmt: skip
                self.restarts += 1

    def close(self) -> None:
        for worker in self.workers:
            if worker.process is not None:
                kill_group(worker.pid)
                worker.process.wait()
        for beat in self.beats:
            if beat is not None:
                kill_group(beat.pid)
                beat.wait()
        self.server.close()


@dataclass
class Faults:
    """One fault after another, in an order that the seed decides; `later` holds what ends a fault."""

    fleet: Fleet
    rng: Random
    struck: Counter[str] = field(default_factory=Counter)
    later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _number: itertools.count[int] = field(default_factory=itertools.count)

    def strike(self) -> None:
        kinds = (self.child, self.child, self.worker, self.beat, self.server, self.freeze, self.freeze_child)
        fault = self.rng.choice(kinds)
        victim = self.rng.random()
        if fault(victim):
            self.struck[fault.__name__] += 1

    def end_what_is_over(self, *, all_of_it: bool = False) -> None:
        while self.later and (all_of_it or self.later[0][0] <= monotonic()):
            heapq.heappop(self.later)[2]()

    def child(self, victim: float) -> bool:
        return self._signal(self._children(victim)[:1], signal.SIGKILL)

    def worker(self, victim: float) -> bool:
        worker = self.fleet.workers[int(victim * WORKERS)]
        kill_group(worker.pid)
        return True

    def beat(self, victim: float) -> bool:
        beat = self.fleet.beats[int(victim * BEATS)]
        return beat is not None and self._signal([beat.pid], signal.SIGKILL)

    def server(self, _: float) -> bool:
        self.fleet.server.restart()
        return True

    def freeze(self, victim: float) -> bool:
        worker = self.fleet.workers[int(victim * WORKERS)]
        return self._freeze([worker.pid, *self._children(victim)])

    def freeze_child(self, victim: float) -> bool:
        return self._freeze(self._children(victim)[:1])

    def _children(self, victim: float) -> list[int]:
        worker = self.fleet.workers[int(victim * WORKERS)]
        with suppress(psutil.NoSuchProcess):
            pids = worker.children()
            cut = int(victim * 97) % max(1, len(pids))
            return pids[cut:] + pids[:cut]
        return []

    def _freeze(self, pids: list[int]) -> bool:
        until = monotonic() + LEASE * (1.2 + self.rng.random())
        heapq.heappush(self.later, (until, next(self._number), lambda: bool(self._signal(pids, signal.SIGCONT))))  # type: ignore[misc]
        return self._signal(pids, signal.SIGSTOP)

    def _signal(self, pids: list[int], signum: signal.Signals) -> bool:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
        return bool(pids)


class Customers:
    """Clients that submit one run after another; each run counts from the moment `submit` has returned."""

    def __init__(self, url: str, seed: int) -> None:
        self.client = Client(url)
        self.accepted: list[RunHandle] = []
        self.errors = 0
        self._seed = seed
        self._over = threading.Event()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._order, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _order(self) -> None:
        while not self._over.is_set():
            number = next(self._numbers)
            definition = workflow(Random(self._seed * 100_003 + number), number)
            handle = self._insist(lambda: self.client.submit(definition, idempotency_key=f"soak-{number}"))  # noqa: B023
            if handle is not None:
                self.accepted.append(handle)
                self._insist(lambda: handle.wait(CALM_SECONDS))  # noqa: B023

    def _insist(self, call: Callable[[], Any]) -> Any:
        """What a caller does whose server is away for a moment: the same again."""
        ends = monotonic() + CALM_SECONDS
        while monotonic() < ends:
            try:
                return call()
            except OrchestratorError:
                self.errors += 1
                self._over.wait(0.2)
        return None

    def close_shop(self) -> None:
        self._over.set()

    def gone(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)


@dataclass(frozen=True, slots=True)
class Report:
    """What happened: accepted runs, their steps, attempts that it took, faults by kind, processes started again."""

    seed: int
    runs: int
    steps: int
    attempts: int
    faults: dict[str, int]
    restarts: int
    client_errors: int

    def __str__(self) -> str:
        struck = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        return (
            f"seed {self.seed}: {self.runs} runs, {self.steps} steps, {self.attempts} attempts; "
            f"{sum(self.faults.values())} faults ({struck}), {self.restarts} starts of processes, "
            f"{self.client_errors} calls repeated; nothing lost, nothing twice, nothing left over"
        )


def soak(seconds: float, seed: int, directory: Path) -> Report:
    """Run it; raises AssertionError, naming the seed, when the books do not balance."""
    fleet = Fleet(directory)
    rng = Random(seed)
    try:
        fleet.start()
        faults = Faults(fleet, rng)
        customers = Customers(fleet.url, seed)
        ends = monotonic() + seconds
        next_fault = monotonic() + 4
        while monotonic() < ends or not customers.gone():
            faults.end_what_is_over()
            fleet.tend()
            if monotonic() >= ends:
                customers.close_shop()
                assert monotonic() < ends + CALM_SECONDS, f"seed {seed}: runs do not end: {_unfinished(customers)}"
            elif monotonic() >= next_fault:
                faults.strike()
                next_fault = monotonic() + rng.uniform(1, 3)
            threading.Event().wait(0.05)
        faults.end_what_is_over(all_of_it=True)
        return _balance(fleet, customers, faults, seed)
    finally:
        fleet.close()


def _unfinished(customers: Customers) -> list[str]:
    """The runs that have not ended, with the states of their steps."""
    told = []
    for handle in customers.accepted:
        status = handle.status()
        if not status.ended:
            told.append(
                f"{handle.id} {status.state}: { {name: step.state.value for name, step in status.steps.items()} }"
            )
    return told


def _balance(fleet: Fleet, customers: Customers, faults: Faults, seed: int) -> Report:
    steps = attempts = 0
    for handle in customers.accepted:
        status = handle.status()
        about = f"seed {seed}: run {handle.id} ({status.workflow})"
        assert status.state is RunState.SUCCESS, f"{about} is {status.state}"
        effects = Counter(
            event.step for event in handle.events(follow=False) if event.state == "success" and event.step
        )
        assert {name: effects[name] for name in status.steps} == dict.fromkeys(status.steps, 1), f"{about}: {effects}"
        commits = Counter(version.author for version in handle.history(1000))
        assert max(commits.values()) == 1, f"{about}: {commits}"
        steps += len(status.steps)
        attempts += sum(step.attempts for step in status.steps.values())
    client = customers.client.redis
    fleet.tend()
    canary = customers.client.submit(workflow(Random(seed), -1))
    assert canary.wait(30).state is RunState.SUCCESS
    eventually(lambda: not client.exists("unacked"), within=VISIBILITY + 20, what=f"seed {seed}: no message is held")
    eventually(lambda: not client.zcard("orc:active"), within=20, what=f"seed {seed}: no run is active")
    left = [key for part in ("due", "locks", "ctx:pins") for key in client.scan_iter(f"orc:{{*}}:{part}")]
    held = [key for key in left if not (key.endswith(b":locks") and client.hkeys(key) == [b"#"])]
    assert not held, f"seed {seed}: left over: {held[:10]}"
    assert not list(client.scan_iter("agents.*")), f"seed {seed}: messages are left"
    return Report(seed, len(customers.accepted), steps, attempts, dict(faults.struck), fleet.restarts, customers.errors)


def main() -> None:
    parser = argparse.ArgumentParser(description="Workflows by the hundred while one thing after another breaks.")
    parser.add_argument("--seconds", type=float, default=120, help="how long faults strike")
    parser.add_argument("--seed", type=int, default=None, help="decides workflows and faults; default: drawn")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(3))
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        print(soak(options.seconds, seed, Path(name)))


if __name__ == "__main__":
    main()
