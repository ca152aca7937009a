"""A worker that silently takes no more messages, or whose threads are stuck, ends itself and is started anew."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Client
from orchestrator.embedded import Stack, StackOptions
from orchestrator.engine.liveness import REPLACED
from orchestrator.run.models import RunState, StepState
from tests.conftest import Store
from tests.faults.liveness_app import BROKEN
from tests.front import Front
from tests.workers import QUICK_ENGINE, Worker, eventually

SECONDS = 60


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    file = tmp_path / "engine.yaml"
    file.write_text(f"{QUICK_ENGINE.read_text()}  liveness_timeout: 3\n  stuck_threads: 2\n  replace_grace: 4\n")
    return file


@contextlib.contextmanager
def supervised(
    url: str, home: Path, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[dict[str, Any]]]:
    """One worker with two children, kept alive as `orchestrator up` does it; yields what became of it."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ORCHESTRATOR_STORE_URL", url)
    monkeypatch.setenv("ORCHESTRATOR_BROKER_URL", url)
    monkeypatch.setenv("ORCHESTRATOR_ENGINE_FILE", str(engine))
    told: list[dict[str, Any]] = []
    options = StackOptions(home=home, app="tests.faults.liveness_app", workers=1, concurrency=2, broker_url=url)
    with Stack(options, lambda event: told.append(dict(event))) as stack:
        stack.wait_ready()
        yield told


def step(name: str, agent: str = "noop", **keys: Any) -> dict[str, Any]:
    parameters = {key: keys.pop(key) for key in list(keys) if key == "seconds"}
    return {"id": name, "agent": agent, "with": parameters} | keys


@pytest.mark.parametrize(("what", "attempts"), [("consumer", 1), ("loop", 2)])
def test_a_worker_that_takes_nothing_is_started_anew(
    store: Store, tmp_path: Path, engine: Path, monkeypatch: pytest.MonkeyPatch, what: str, attempts: int
) -> None:
    """What runs may end when only the consumer is broken; with the main loop the worker has to be cut off."""
    with supervised(store.broker_url, tmp_path, engine, monkeypatch) as told, Client(store.url) as client:
        seconds = 4.5 if what == "consumer" else 9.0
        long = client.submit({"name": "long", "steps": [step("a", "sleep", seconds=seconds)]})
        eventually(lambda: long.status().steps["a"].state is StepState.RUNNING, within=20, what="a runs")
        (tmp_path / BROKEN.name).write_text(what)
        eventually(lambda: not (tmp_path / BROKEN.name).exists(), within=10, what="it is broken")
        later = [client.submit({"name": "later", "steps": [step("b")]}) for _ in range(3)]
        assert all(handle.wait(SECONDS).state is RunState.SUCCESS for handle in later)
        status = long.wait(SECONDS)
        assert (status.state, status.steps["a"].attempts) == (RunState.SUCCESS, attempts)
        assert [event["status"] for event in told if event["event"] == "exited"] == [REPLACED]


def test_connections_that_are_dead_and_look_alive_are_given_up(
    store: Store, tmp_path: Path, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a firewall does that forgets connections: no error, and no answer. New connections work."""
    with Front(store.server.socket) as front, Client(store.url) as client:
        url = f"redis://127.0.0.1:{front.port}/{store.database}"
        with supervised(url, tmp_path, engine, monkeypatch) as told:
            assert client.submit({"name": "before", "steps": [step("a")]}).wait(SECONDS).state is RunState.SUCCESS
            front.lose()
            later = [client.submit({"name": "after", "steps": [step("b")]}) for _ in range(3)]
            assert all(handle.wait(SECONDS).state is RunState.SUCCESS for handle in later)
            assert {event["status"] for event in told if event["event"] == "exited"} <= {REPLACED}


def test_a_child_that_is_stuck_in_an_attempt_that_is_over_is_ended(store: Store, tmp_path: Path) -> None:
    """The worker has one child: the second step runs because the first one's has been replaced."""
    with Worker(store.url, tmp_path, concurrency=1, app="tests.faults.stuck_app"), Client(store.url) as client:
        for timeout in ("timeout", "idle_timeout"):
            stuck = step("a", "deaf", retry={"maximum_attempts": 1}, **{timeout: 0.5})
            handle = client.submit({"name": "stuck", "steps": [stuck, step("b", needs=["a"], trigger_rule="all_done")]})
            status = handle.wait(SECONDS)
            assert (status.steps["a"].state, status.steps["a"].reason) == (StepState.TIMED_OUT, timeout)
            assert status.steps["b"].state is StepState.SUCCESS


def test_a_worker_with_stuck_threads_is_replaced_and_its_attempts_are_over(
    store: Store, tmp_path: Path, engine: Path
) -> None:
    """Two attempts that never look up are timed out; their threads cannot be ended, so the worker goes."""
    own = {"ORCHESTRATOR_ENGINE_FILE": str(engine)}
    worker = Worker(store.url, tmp_path, pool="threads", concurrency=3, app="tests.faults.stuck_app", environment=own)
    with worker, Client(store.url) as client:
        once = {"timeout": 0.5, "retry": {"maximum_attempts": 1}}
        first = client.submit({"name": "one", "steps": [step("a", "deaf", **once)]})
        assert first.wait(SECONDS).steps["a"].state is StepState.TIMED_OUT
        alone = client.submit({"name": "fine", "steps": [step("b", "sleep", seconds=3)]})
        assert alone.wait(SECONDS).state is RunState.SUCCESS
        assert worker.process is not None
        assert worker.process.poll() is None, "one stuck thread is borne"
        second = client.submit({"name": "two", "steps": [step("c", "deaf", **once)]})
        assert second.wait(SECONDS).steps["c"].state is StepState.TIMED_OUT
        assert worker.process.wait(30) == REPLACED
        assert "2 of its threads are stuck" in worker.text()
    assert not os.path.exists(f"/proc/{worker.process.pid}")
