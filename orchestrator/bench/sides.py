"""The two who take turns: raw Celery as its documentation says, and this deployment with its own settings.

Each has a database and one prefork worker of its own, started alike; while one of them works, the other one waits.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

from orchestrator.bench.frame import Setting
from orchestrator.bench.peers import CHILDREN, PEERS, RAW, TIMEOUT, Peer, RawCelery
from orchestrator.bench.results import Measure
from orchestrator.bench.site import celery_worker, process_that_says
from orchestrator.client import Client, RunHandle
from orchestrator.environment import Environment
from orchestrator.errors import OrchestratorError
from orchestrator.run.models import RunStatus
from orchestrator.workflow.loader import load_workflow
from orchestrator.workflow.models import WorkflowSpec

OURS = 1
"""A database."""

AS_USUAL = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
UNSERVED = "unserved"
"""A class of agents for which no worker works: what is sent there stays."""


@dataclass(frozen=True, slots=True)
class Sides:
    """`raw` is the module of the raw application, `peers` are all that take turns with us, it first. Processes are
    those of the two workers."""

    setting: Setting
    client: Client
    raw: Any
    peers: tuple[Peer, ...]
    ours_pid: int
    raw_pid: int

    def run(self, definition: WorkflowSpec | Mapping[str, Any]) -> RunStatus:
        """Our run of a workflow, to its good end."""
        return ended(self.client.submit(definition))

    def compare(
        self, name: str, ours: Callable[[], object], theirs: Callable[[Peer], object], figure: Callable[[float], float],
        *, unit: str = "ms", per: int = 1, better: Any = "lower", count_commands: bool = True,
    ) -> Iterator[Measure]:  # fmt: skip
        """A measure beside each peer. All take turns; a first round warms up and is not counted. `figure` is made from
        seconds. Commands are those of one call, `per` so many operations."""
        mine, peers = list[float](), {peer: list[float]() for peer in self.peers}
        for _ in range(self.setting.rounds + 1):
            for peer, figures in peers.items():
                figures.append(figure(_seconds(partial(theirs, peer))))
            mine.append(figure(_seconds(ours)))
        sent = self._commands(OURS, ours, per) if count_commands else None
        for peer, figures in peers.items():
            yield Measure(
                name=name, unit=unit, samples=tuple(mine[1:]), better=better, commands=sent,
                peer=peer.name, peer_samples=tuple(figures[1:]),
                peer_commands=self._commands(peer.database, partial(theirs, peer), per) if count_commands else None,
            )  # fmt: skip

    def _run(self, spec: WorkflowSpec, sequential: bool) -> RunStatus:
        return ended(self.client.submit(spec, sequential=sequential))

    def _commands(self, database: int | None, work: Callable[[], object], per: int) -> float | None:
        if database is None:
            return None
        with self.setting.server.listening(database) as sent:
            work()
        return sent.total() / per

    def beside_sequential(self, spec: WorkflowSpec) -> Measure:
        """Seconds of a run, beside the same workflow with one step after another, as the sequential flag has it."""
        taken: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(self.setting.rounds):
            for sequential, figures in taken.items():
                figures.append(_seconds(partial(self._run, spec, sequential)))
        return Measure(
            name="a run beside its sequential form", unit="s", samples=tuple(taken[False]),
            peer="sequential", peer_samples=tuple(taken[True]),
        )  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


def ended(handle: RunHandle) -> RunStatus:
    """The good end of a run; any other raises OrchestratorError."""
    status = handle.wait(TIMEOUT)
    if status.state != "success":
        raise OrchestratorError(f"run {handle.id} has ended as {status.state}: {status}")
    return status


@contextmanager
def both(setting: Setting, children: int = CHILDREN) -> Iterator[Sides]:
    """Both, with workers that are ready."""
    with (
        raw_worker(setting, children) as (raw, raw_pid),
        our_worker(setting, children) as ours_pid,
        Client(setting.server.url(OURS)) as client,
    ):
        yield Sides(setting, client, raw, (RawCelery(raw),), ours_pid, raw_pid)


@contextmanager
def all_peers(setting: Setting) -> Iterator[Sides]:
    """Both, and the peers that were asked for."""
    with ExitStack() as opened:
        others = tuple(opened.enter_context(PEERS[name](setting)) for name in setting.against)
        sides = opened.enter_context(both(setting))
        yield replace(sides, peers=(*sides.peers, *others))


@contextmanager
def raw_application(setting: Setting) -> Iterator[Any]:
    """The module of the raw application, made anew for this server (its tasks are its own)."""
    os.environ["RAW_URL"] = setting.server.url(RAW)
    from orchestrator.bench import raw_app

    raw = importlib.reload(raw_app)
    yield raw
    consumer: Any = getattr(raw.app.backend, "result_consumer")  # noqa: B009 - of Redis' backend only
    consumer.stop()
    consumer.subscribed_to.clear()  # results that are dropped later would look for their server to unsubscribe
    raw.app.close()


@contextmanager
def raw_worker(setting: Setting, children: int = CHILDREN, queue: str = "raw") -> Iterator[tuple[Any, int]]:
    """The module of the raw application, and the pid of a worker of its own."""
    worker = (sys.executable, "-m", "celery", "-A", "orchestrator.bench.raw_app", "worker")
    command = (*worker, "-Q", queue, "-n", "raw@bench", "-c", str(children), *AS_USUAL)
    given = {"RAW_URL": setting.server.url(RAW)}
    with (
        raw_application(setting) as raw,
        process_that_says(b" ready.", command, given, setting.folder / "raw.log") as pid,
    ):
        yield raw, pid


@contextmanager
def our_worker(setting: Setting, children: int = CHILDREN, agent_class: str = "drills") -> Iterator[int]:
    """The pid of a worker of this deployment for one class of agents."""
    environment = Environment.load()
    arguments = ("-Q", f"agents.{agent_class},control", "-n", "ours@bench", "-c", str(children), *AS_USUAL)
    given = {"ORCHESTRATOR_STORE_URL": setting.server.url(OURS)}
    if environment.engine_file:
        given["ORCHESTRATOR_ENGINE_FILE"] = str(environment.engine_file)
    with celery_worker(environment.app, arguments, given, setting.folder / "ours.log") as pid:
        yield pid


def definition(name: str, *steps: Mapping[str, Any], **more: Any) -> WorkflowSpec:
    """A workflow of steps in the file's flat form."""
    return load_workflow({"name": name, "steps": list(steps), **more})
