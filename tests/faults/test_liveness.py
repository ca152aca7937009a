"""A worker that silently takes no more messages, or whose threads are stuck, ends itself and is started anew."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from orchestrator.embedded import StackOptions
from orchestrator.engine.liveness import REPLACED
from orchestrator.run.models import RunState, StepState
from tests.faults.liveness_app import BROKEN
from tests.faults.scenes import Place, scene, supervised
from tests.front import Front
from tests.workers import QUICK_ENGINE, Worker, eventually

SECONDS = 100
GRACE = 3


def engine(folder: Path, run_on: int = 1) -> str:
    file = folder / "engine.yaml"
    usual = QUICK_ENGINE.read_text().replace("run_on_seconds: 1", f"run_on_seconds: {run_on}")
    file.write_text(f"{usual}  liveness_timeout: 2\n  stuck_threads: 2\n  replace_grace: {GRACE}\n")
    return str(file)


def one_worker(url: str, folder: Path, run_on: int = 1) -> AbstractContextManager[list[dict[str, Any]]]:
    """With two children, under a supervisor."""
    options = StackOptions(home=folder, app="tests.faults.liveness_app", workers=1, concurrency=2, broker_url=url)
    return supervised(url, options, HOME=str(folder), ORCHESTRATOR_ENGINE_FILE=engine(folder, run_on))


def step(name: str, agent: str = "noop", **keys: Any) -> dict[str, Any]:
    parameters = {key: keys.pop(key) for key in list(keys) if key == "seconds"}
    return {"id": name, "agent": agent, "with": parameters} | keys


def breaks(place: Place, what: str, *, seconds: float, attempts: int) -> None:
    """Something breaks while a step runs, and others wait; so many attempts it takes to end it."""
    client, broken = place.client, place.folder / BROKEN.name
    with one_worker(place.store.broker_url, place.folder, run_on=0) as told:  # its steps come by messages
        long = client.submit({"name": "long", "steps": [step("a", "slow_at_first", seconds=seconds)]})
        eventually(lambda: long.status().steps["a"].state is StepState.RUNNING, within=20, what="a runs")
        broken.write_text(what)
        eventually(lambda: not broken.exists(), within=10, what="it is broken")
        later = [client.submit({"name": "later", "steps": [step("b")]}) for _ in range(3)]
        assert all(handle.wait(SECONDS).state is RunState.SUCCESS for handle in later)
        status = long.wait(SECONDS)
        assert (status.state, status.steps["a"].attempts) == (RunState.SUCCESS, attempts)
        assert [event["status"] for event in told if event["event"] == "exited"] == [REPLACED]


@scene
def test_a_worker_that_takes_nothing_is_started_anew_when_its_steps_have_ended(place: Place) -> None:
    breaks(place, "consumer", seconds=3.5, attempts=1)


@scene
def test_a_worker_whose_main_loop_stands_still_is_cut_off(place: Place) -> None:
    breaks(place, "loop", seconds=60, attempts=2)


@scene
def test_connections_that_are_dead_and_look_alive_are_given_up(place: Place) -> None:
    """What a firewall does that forgets connections: no error, and no answer. New connections work."""
    with ExitStack() as stack:
        front = stack.enter_context(Front(place.store.server.socket))
        url = f"redis://127.0.0.1:{front.port}/{place.store.database}"
        told = stack.enter_context(one_worker(url, place.folder))
        before = place.client.submit({"name": "before", "steps": [step("a")]})
        assert before.wait(SECONDS).state is RunState.SUCCESS
        front.lose()
        later = [place.client.submit({"name": "after", "steps": [step("b")]}) for _ in range(3)]
        assert all(handle.wait(SECONDS).state is RunState.SUCCESS for handle in later)
        assert {event["status"] for event in told if event["event"] == "exited"} <= {REPLACED}


@scene
def test_a_child_that_is_stuck_in_an_attempt_that_is_over_is_ended(place: Place) -> None:
    """The worker has one child: the second step runs because the first one's has been replaced."""
    with Worker(place.store.url, place.folder, concurrency=1, app="tests.faults.stuck_app"):
        for timeout in ("timeout", "idle_timeout"):
            stuck = step("a", "deaf", retry={"maximum_attempts": 1}, **{timeout: 0.5})
            then = step("b", needs=["a"], trigger_rule="all_done")
            status = place.client.submit({"name": "stuck", "steps": [stuck, then]}).wait(SECONDS)
            assert (status.steps["a"].state, status.steps["a"].reason) == (StepState.TIMED_OUT, timeout)
            assert status.steps["b"].state is StepState.SUCCESS


@scene
def test_a_worker_with_stuck_threads_is_replaced_and_its_attempts_are_over(place: Place) -> None:
    """Two attempts that never look up are timed out; their threads cannot be ended, so the worker goes. One of them had
    gone on to its step from another one."""
    client, own = place.client, {"ORCHESTRATOR_ENGINE_FILE": engine(place.folder)}
    app = "tests.faults.stuck_app"
    with Worker(place.store.url, place.folder, pool="threads", concurrency=3, app=app, environment=own) as worker:
        once = {"timeout": 0.5, "retry": {"maximum_attempts": 1}}
        first = client.submit({"name": "one", "steps": [step("head"), step("a", "deaf", needs=["head"], **once)]})
        assert first.wait(SECONDS).steps["a"].state is StepState.TIMED_OUT
        alone = client.submit({"name": "fine", "steps": [step("b", "sleep", seconds=3)]})
        assert alone.wait(SECONDS).state is RunState.SUCCESS
        assert worker.process is not None
        assert worker.process.poll() is None, "one stuck thread is borne"
        second = client.submit({"name": "two", "steps": [step("c", "deaf", **once)]})
        assert second.wait(SECONDS).steps["c"].state is StepState.TIMED_OUT
        assert worker.process.wait(30) == REPLACED
        assert "2 of its threads are stuck" in worker.text()
        assert f"[{first.id}.a] received" not in worker.text()
    assert not os.path.exists(f"/proc/{worker.process.pid}")
