"""Workers that help each other out, beside workers that do not: skewed work, and a worker that hardly gets on.

Two fleets of two workers, alike but for one setting, each with a database of its own; while one works, the other waits.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import perf_counter

from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import AS_USUAL, definition, ended
from orchestrator.bench.site import celery_worker
from orchestrator.client import Client
from orchestrator.environment import Environment
from orchestrator.run.models import RunStatus
from orchestrator.workflow.models import WorkflowSpec

WITH, WITHOUT = 3, 4
"""Databases."""
HOT, COLD = "drills", "pm"
SLOTS = 4
STOPPED, RUNNING = 0.8, 0.2
"""Seconds in which the slow worker stands still, and gets on, in turn."""
ENGINE = """
resource_manager:
  load_balancing: {{resource_monitoring: {{sampling_interval: 0.5}}}}
fleet: {{steal_above: 0.5, hold: 2, probe_after: 10m, work_stealing: {steals}, health_routing: {routes}}}
"""


def measure_skew(setting: Setting) -> Iterator[Measure]:
    """Nine tenths of the steps are for one of two classes."""
    count = setting.times(160)
    steps = [
        {"id": f"s{n}", "agent": "sleep", "with": {"seconds": 0.2}, "queue": COLD if n % 10 == 0 else HOT}
        for n in range(count)
    ]
    found: dict[int, list[float]] = {WITH: [], WITHOUT: []}
    with (
        fleet(setting, WITH, {"a": HOT, "b": COLD}, steals="true", routes="false"),
        fleet(setting, WITHOUT, {"a": HOT, "b": COLD}, steals="false", routes="false"),
    ):
        for number in range(setting.rounds + 1):
            for database, taken in found.items():
                seconds, _ = _run(setting, database, definition("skew", *steps))
                if number:
                    taken.append(seconds)
    yield Measure(
        name=f"{count} steps, 90 % for one of two classes", unit="s", samples=tuple(found[WITH]),
        peer="without stealing", peer_samples=tuple(found[WITHOUT]),
    )  # fmt: skip


def measure_slow(setting: Setting) -> Iterator[Measure]:
    """One of two workers stands still for four fifths of the time."""
    count = setting.times(120)
    spec = definition("slow", *({"id": f"s{n}", "agent": "sleep", "with": {"seconds": 0.1}} for n in range(count)))
    taken: dict[int, list[float]] = {WITH: [], WITHOUT: []}
    tails: dict[int, list[float]] = {WITH: [], WITHOUT: []}
    with (
        fleet(setting, WITH, {"a": HOT, "b": HOT}, steals="false", routes="true") as routed,
        fleet(setting, WITHOUT, {"a": HOT, "b": HOT}, steals="false", routes="false") as plain,
    ):
        for database in taken:  # what is usual has to be known
            _run(setting, database, spec)
        with _hobbling(routed["b"]), _hobbling(plain["b"]):
            for number in range(setting.rounds + 1):
                for database, figures in taken.items():
                    seconds, status = _run(setting, database, spec)
                    if number:  # in the first round, the slow one is found out
                        figures.append(seconds)
                        tails[database].append(_tail(status))
    for name, found in (("all steps", taken), ("a step, 95th percentile", tails)):
        yield Measure(
            name=f"{name}, with a slow worker", unit="s", samples=tuple(found[WITH]),
            peer="without health routing", peer_samples=tuple(found[WITHOUT]),
        )  # fmt: skip


def _tail(status: RunStatus) -> float:
    spans = sorted((step.finished_at or 0.0) - (step.started_at or 0.0) for step in status.steps.values())
    return spans[int(0.95 * (len(spans) - 1))]


def _run(setting: Setting, database: int, spec: WorkflowSpec) -> tuple[float, RunStatus]:
    with Client(setting.server.url(database)) as client:
        begun = perf_counter()
        status = ended(client.submit(spec))
        return perf_counter() - begun, status


@contextmanager
def fleet(setting: Setting, database: int, workers: Mapping[str, str], **switches: str) -> Iterator[dict[str, int]]:
    """Workers by name and class, each with SLOTS processes; their pids."""
    engine = setting.folder / f"engine-{database}.yaml"
    engine.write_text(ENGINE.format(**switches))
    given = {"ORCHESTRATOR_STORE_URL": setting.server.url(database), "ORCHESTRATOR_ENGINE_FILE": str(engine)}
    app = Environment.load().app
    with ExitStack() as running:
        pids = {}
        for name, agent_class in workers.items():
            queues = ("-Q", f"agents.{agent_class},control", "-n", f"{name}-{database}@bench", "-c", str(SLOTS))
            log = setting.folder / f"{name}-{database}.log"
            pids[name] = running.enter_context(celery_worker(app, (*queues, *AS_USUAL), given, log))
        yield pids


@contextmanager
def _hobbling(pid: int) -> Iterator[None]:
    """A worker and its children stand still most of the time, and live on."""
    over = threading.Event()

    def hobble() -> None:
        while not over.is_set():
            os.killpg(pid, signal.SIGSTOP)
            over.wait(STOPPED)
            os.killpg(pid, signal.SIGCONT)
            over.wait(RUNNING)

    thread = threading.Thread(target=hobble)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
