"""The documents' workflow with sleeping agents, beside raw Celery's hand-written chain and chord, in turn.

Measured is the overhead over the critical path, from client to client. One second stands for ten minutes: analyst 0.4,
pm 0.5, ux_expert 0.7 beside architect 0.7, developer 1.0, qa 0.5; critical path 3.1 s. Each side is deployed as its
users do: raw Celery as its documentation says, ours with the settings of this deployment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.bench.site import celery_worker
from orchestrator.client import Client
from orchestrator.environment import Environment
from orchestrator.errors import OrchestratorError
from orchestrator.workflow.loader import load_workflow

SECONDS = {"analyst": 0.4, "pm": 0.5, "ux_expert": 0.7, "architect": 0.7, "developer": 1.0, "qa": 0.5}
DESIGNERS = ("ux_expert", "architect")
CRITICAL_PATH = 3.1
CHILDREN = 8
PEER = "raw Celery"
TIMEOUT = 60.0
OURS, RAW = 1, 2
"""Databases."""


def workflow() -> dict[str, Any]:
    """The product workflow of the documents, with `sleep` for every agent."""

    def step(name: str, *needs: str) -> dict[str, Any]:
        return {"id": name, "agent": "sleep", "with": {"seconds": SECONDS[name]}, "needs": list(needs)}

    members = [step(name) for name in DESIGNERS]
    design = {"agents": members, "dependencies": ["pm"], "parallel_capable": True}
    steps = [step("analyst"), step("pm", "analyst"), step("developer", *DESIGNERS), step("qa", "developer")]
    return {"name": "product", "steps": steps, "execution_groups": {"design": design}}


@contextmanager
def raw_celery(setting: Setting) -> Iterator[Any]:
    """The module of the raw application, with a worker of its own."""
    url = setting.server.url(RAW)
    os.environ["RAW_URL"] = url
    from orchestrator.bench import raw_app

    arguments = ("-Q", "raw", "-n", "raw@bench", "-c", str(CHILDREN), *_AS_USUAL)
    log = setting.folder / "raw.log"
    with celery_worker("orchestrator.bench.raw_app", arguments, {"RAW_URL": url}, log, announces=False):
        yield raw_app
        consumer: Any = getattr(raw_app.app.backend, "result_consumer")  # noqa: B009 - of Redis' backend only
        consumer.stop()
        consumer.subscribed_to.clear()  # results that are dropped later would look for their server to unsubscribe


@contextmanager
def this_deployment(setting: Setting) -> Iterator[Client]:
    """A client of this deployment with its own settings, and a worker for the one class at work."""
    environment = Environment.load()
    url = setting.server.url(OURS)
    arguments = ("-Q", "agents.drills,control", "-n", "ours@bench", "-c", str(CHILDREN), *_AS_USUAL)
    given = {"ORCHESTRATOR_STORE_URL": url}
    if environment.engine_file:
        given["ORCHESTRATOR_ENGINE_FILE"] = str(environment.engine_file)
    with celery_worker(environment.app, arguments, given, setting.folder / "ours.log"), Client(url) as client:
        yield client


_AS_USUAL = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")


def measure(setting: Setting) -> Iterator[Measure]:
    """Overheads of both in milliseconds. A first round of both warms up and is not counted."""
    ours, theirs = list[float](), list[float]()
    with raw_celery(setting) as raw, this_deployment(setting) as client:
        definition = load_workflow(workflow())

        def run_theirs() -> float:
            begun = perf_counter()
            raw.product(SECONDS).apply_async().get(timeout=TIMEOUT)
            return perf_counter() - begun

        def run_ours() -> float:
            begun = perf_counter()
            status = client.submit(definition).wait(TIMEOUT)
            if status.state != "success":
                raise OrchestratorError(f"the run has ended as {status.state}: {status}")
            return perf_counter() - begun

        for _ in range(setting.rounds + 1):
            theirs.append((run_theirs() - CRITICAL_PATH) * 1000)
            ours.append((run_ours() - CRITICAL_PATH) * 1000)
        with setting.server.listening(RAW) as sent_there:
            run_theirs()
        with setting.server.listening(OURS) as sent_here:
            run_ours()
    yield Measure(
        name="overhead over the critical path", unit="ms", samples=tuple(ours[1:]), commands=sent_here.total(),
        peer=PEER, peer_samples=tuple(theirs[1:]), peer_commands=sent_there.total(),
    )  # fmt: skip
