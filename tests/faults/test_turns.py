"""A process goes on with the next step of its run, without a message, and dies, hangs or fails in it: Celery and the
ledger know of that step what they know of any other."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from celery import Celery

from orchestrator import Client, RunHandle, keys
from orchestrator.engine.app import create_app
from orchestrator.engine.tasks import SUBMIT
from orchestrator.run.models import RunState, StepState
from orchestrator.settings import EngineSettings
from tests.conftest import Store
from tests.workers import QUICK_ENGINE, Worker, eventually, told

APP = "tests.faults.stuck_app"
SECONDS = 40
AGAIN = {"initial_interval": 0.1}
ONCE = {"maximum_attempts": 1}


@pytest.fixture(scope="module")
def worker(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(module_store.url, tmp_path_factory.mktemp("turns"), concurrency=3, app=APP) as running:
        yield running


@pytest.fixture(scope="module")
def celery(module_store: Store) -> Iterator[Celery]:
    """Somebody who asks Celery, and not us."""
    with closing(create_app(module_store.url, module_store.url, EngineSettings(), set_as_current=False)) as app:
        yield app


@pytest.fixture
def client(module_store: Store, worker: Worker) -> Iterator[Client]:
    with Client(module_store.url) as connected:
        yield connected


def line(
    agent: str, *, retry: dict[str, Any] = AGAIN, limits: dict[str, float] | None = None, **given: Any
) -> dict[str, Any]:
    """Nothing at all, then this, in the process that has done nothing."""
    second = {"id": "b", "agent": agent, "with": given, "needs": ["a"], "retry": retry, **(limits or {})}
    return {"name": "line", "steps": [{"id": "a", "agent": "noop"}, second]}


def went_on(handle: RunHandle, worker: Worker) -> bool:
    """Whether the first attempt of `b` had no message: the worker tells of each that it receives."""
    text = worker.text()
    assert f"[{handle.id}.a] received" in text
    return f"[{handle.id}.b] received" not in text


def errors(handle: RunHandle, step: str) -> list[str]:
    told = [event for event in handle.events(follow=False) if event.step == step]
    return [event.message for event in told if event.state in ("retrying", "failed", "timed_out")]


def attempts(handle: RunHandle) -> dict[str, int]:
    return {name: step.attempts for name, step in handle.status().steps.items()}


def test_a_process_that_is_killed_in_a_later_step_is_reported_at_once(
    client: Client, worker: Worker, celery: Celery
) -> None:
    """By its parent, who knows it by the step of its message; no lease has to lapse for that."""
    handle = client.submit(line("crash", times=1))
    assert handle.wait(SECONDS).state is RunState.SUCCESS
    assert attempts(handle) == {"a": 1, "b": 2}
    (error,) = errors(handle, "b")
    assert error.startswith("WorkerLost: Worker exited prematurely: signal 9 (SIGKILL)")
    assert celery.AsyncResult(f"{handle.id}.a").state == "PENDING", "it has ended well, and nothing is kept of it"
    assert celery.AsyncResult(f"{handle.id}.b").state == "RETRY"


def test_a_later_step_that_kills_every_process_is_given_up(client: Client, celery: Celery) -> None:
    handle = client.submit(line("crash", times=99))
    status = handle.wait(SECONDS)
    assert (status.steps["b"].state, status.steps["b"].reason) == (StepState.FAILED, "poisoned")
    assert attempts(handle) == {"a": 1, "b": 3}
    eventually(lambda: celery.AsyncResult(f"{handle.id}.b").state == "FAILURE", within=5, what="Celery knows")
    assert celery.AsyncResult(f"{handle.id}.a").state == "PENDING"


def test_a_later_step_that_fails_is_a_failure_of_its_own(client: Client, worker: Worker, celery: Celery) -> None:
    handle = client.submit(line("fail", retry=ONCE, times=9))
    assert handle.wait(SECONDS).state is RunState.FAILED
    assert went_on(handle, worker)
    result = celery.AsyncResult(f"{handle.id}.b")
    eventually(lambda: result.state == "FAILURE", within=5, what="Celery knows")
    assert "as asked for 9 times" in str(result.result)
    assert celery.AsyncResult(f"{handle.id}.a").state == "PENDING"
    assert [line.text.partition("\n")[0] for line in handle.logs("b") if line.level == "ERROR"]


def begun(client: Client, document: dict[str, Any], worker: Worker) -> RunHandle:
    """Its `b` runs, without a message of its own."""
    handle = client.submit(document)
    eventually(lambda: handle.status().steps["b"].state is StepState.RUNNING, within=SECONDS, what="b runs")
    assert went_on(handle, worker)
    return handle


def test_a_later_step_that_never_looks_up_is_ended(client: Client, worker: Worker, celery: Celery) -> None:
    """When its time is over, when it tells nothing, and when its run was cancelled and the grace is over: its process,
    which the worker knows by another step; and the worker goes on with a new one."""
    limits: list[dict[str, float]] = [{"timeout": 0.5}, {"idle_timeout": 0.5}, {}]
    handles = [begun(client, line("deaf", retry=ONCE, limits=one), worker) for one in limits]
    handles[2].cancel("no more")
    found = [handle.wait(SECONDS).steps for handle in handles]
    assert [(steps["a"].state, steps["b"].state, steps["b"].reason) for steps in found] == [
        (StepState.SUCCESS, StepState.TIMED_OUT, "timeout"),
        (StepState.SUCCESS, StepState.TIMED_OUT, "idle_timeout"),
        (StepState.SUCCESS, StepState.CANCELLED, None),
    ]
    for handle in handles:
        ended = f"its attempt of {handle.id}.a is over"
        eventually(lambda: ended in worker.text(), within=SECONDS, what=ended)  # noqa: B023
        result = celery.AsyncResult(f"{handle.id}.b")
        eventually(lambda: result.state == "FAILURE", within=SECONDS, what="Celery knows")  # noqa: B023
        assert celery.AsyncResult(f"{handle.id}.a").state == "PENDING"
    eventually(lambda: not client.redis.hlen("unacked"), within=SECONDS, what="nobody hangs any more")


def test_a_pause_lets_nothing_go_on(client: Client) -> None:
    steps = [{"id": "a", "agent": "sleep", "with": {"seconds": 0.5}}, {"id": "b", "agent": "noop", "needs": ["a"]}]
    handle = client.submit({"name": "held", "steps": steps})
    eventually(lambda: handle.status().steps["a"].state is StepState.RUNNING, within=SECONDS, what="a runs")
    handle.pause()
    eventually(lambda: handle.status().steps["a"].state is StepState.SUCCESS, within=SECONDS, what="a has ended")
    assert handle.status().steps["b"].state is StepState.READY
    handle.resume()
    assert handle.wait(SECONDS).state is RunState.SUCCESS
    assert attempts(handle) == {"a": 1, "b": 1}


@contextmanager
def events_of(app: Celery) -> Iterator[list[dict[str, Any]]]:
    """What workers tell of tasks meanwhile, as Flower hears it."""
    told: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": lambda event: told.append(dict(event))})
        thread = Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
        thread.start()
        app.control.enable_events()
        yield told
        receiver.should_stop = True
        thread.join(SECONDS)


def test_who_watches_celery_sees_every_step(client: Client, worker: Worker, celery: Celery) -> None:
    """As soon as the processes know that somebody does."""
    needs: list[tuple[str, list[str]]] = [("a", []), ("b", ["a"]), ("c", ["b"])]
    steps: list[dict[str, Any]] = [{"id": name, "agent": "noop", "needs": before} for name, before in needs]
    steps.append({"id": "d", "agent": "fail", "with": {"times": 9}, "needs": ["c"], "retry": ONCE})
    runs: list[RunHandle] = []
    expected = Counter({(name, kind): 1 for name in "abc" for kind in ("received", "started", "succeeded")})
    expected += Counter({("d", kind): 1 for kind in ("received", "started", "failed")})

    def watched() -> RunHandle | None:
        """The first of the runs of which all was told."""
        runs.append(client.submit({"name": "watched", "steps": steps}))
        runs[-1].wait(SECONDS)
        return next((run for run in runs if Counter(of(run)) == expected), None)

    def of(handle: RunHandle) -> list[tuple[str, str]]:
        found = [event for event in told if str(event.get("uuid", "")).startswith(handle.id)]
        return [(event["uuid"].partition(".")[2], event["type"].partition("-")[2]) for event in found]

    with events_of(celery) as told:
        first = eventually(watched, within=SECONDS, what="each is received, started and ended")
        last = client.submit({"name": "watched", "steps": steps})
        eventually(lambda: Counter(of(last)) == expected, within=SECONDS, what="the last is told, and all before it")
        assert first is not None
        assert Counter(of(first)) == expected, "once"


def waiting(client: Client) -> set[int]:
    """The processes that wait to be handed a step."""
    redis: Any = client.redis
    return {json.loads(process)["pid"] for process in redis.hvals(keys.WAITING)}


def handed(client: Client, worker: Worker, **step: Any) -> tuple[RunHandle, RunHandle]:
    """A run, and another one whose only step was handed to a process of its worker, without a message."""

    def try_once() -> tuple[RunHandle, RunHandle] | None:
        before = client.submit({"name": "before", "steps": [{"id": "a", "agent": "noop"}]})
        before.wait(SECONDS)
        if not waiting(client):
            return None
        handle = client.submit({"name": "handed", "steps": [{"id": "b", "retry": AGAIN, **step}]})
        eventually(lambda: handle.status().steps["b"].started_at, within=SECONDS, what="b has begun")
        return None if f"[{handle.id}.b] received" in worker.text() else (before, handle)

    found = eventually(try_once, within=SECONDS, what="a step is handed over")
    assert found is not None
    return found


def test_a_step_that_was_handed_over_may_kill_its_process(client: Client, worker: Worker, celery: Celery) -> None:
    before, handle = handed(client, worker, agent="crash", **{"with": {"times": 1}})
    assert handle.wait(SECONDS).state is RunState.SUCCESS
    (error,) = errors(handle, "b")
    assert error.startswith("WorkerLost: Worker exited prematurely: signal 9 (SIGKILL)"), "no lease had to lapse"
    assert celery.AsyncResult(f"{handle.id}.b").state == "RETRY"
    assert celery.AsyncResult(f"{before.id}.a").state == "PENDING", "that of another run, which had brought it there"


def test_a_step_that_was_handed_over_keeps_its_lease(client: Client, worker: Worker) -> None:
    _, handle = handed(client, worker, agent="sleep", **{"with": {"seconds": 3}})
    assert handle.wait(SECONDS).state is RunState.SUCCESS
    assert attempts(handle) == {"b": 1}


def test_a_process_that_waits_may_be_killed(client: Client, worker: Worker, celery: Celery) -> None:
    before, handle = handed(client, worker, agent="noop")
    handle.wait(SECONDS)
    pids = eventually(lambda: waiting(client) & set(worker.children()), within=SECONDS, what="a process waits")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert client.submit(line("noop", retry=ONCE)).wait(SECONDS).state is RunState.SUCCESS
    eventually(lambda: not client.redis.hlen("unacked"), within=SECONDS, what="its message is acknowledged")
    states = {celery.AsyncResult(name).state for name in (f"{before.id}.a", f"{handle.id}.b")}
    assert states == {"PENDING"}, "nothing has failed"


def test_other_tasks_do_not_wait_for_processes_that_wait(store: Store, tmp_path: Path) -> None:
    """The only process of a worker waits for half a minute, and what it waits for are steps."""
    engine = tmp_path / "engine.yaml"
    engine.write_text(QUICK_ENGINE.read_text().replace("run_on_seconds: 1", "run_on_seconds: 30"))
    own = {"ORCHESTRATOR_ENGINE_FILE": str(engine)}
    with Worker(store.url, tmp_path, concurrency=1, environment=own), Client(store.url) as client:
        client.submit({"name": "before", "steps": [{"id": "a", "agent": "noop"}]}).wait(SECONDS)
        eventually(lambda: waiting(client), within=SECONDS, what="its process waits")
        unknown = client.app.send_task(SUBMIT, args=("nobody-registered-this",))
        assert "nobody-registered-this" in str(unknown.get(timeout=10, propagate=False))
        told(client.app.control.cancel_consumer, "agents.drills")
        eventually(lambda: not waiting(client), within=SECONDS, what="its processes take nothing on their own")
        left = client.submit({"name": "left", "steps": [{"id": "a", "agent": "noop"}]})
        told(client.app.control.add_consumer, "agents.drills")
        assert left.wait(SECONDS).state is RunState.SUCCESS


def test_a_worker_that_is_killed_leaves_the_later_step_to_another(
    client: Client, worker: Worker, module_store: Store, tmp_path: Path
) -> None:
    """The message comes back, and its step is refused; the other one has a lease of its own."""
    handle = begun(client, line("sleep", seconds=2), worker)
    worker.kill()
    with Worker(module_store.url, tmp_path, name="w2", concurrency=1):
        assert handle.wait(SECONDS).state is RunState.SUCCESS
    assert attempts(handle) == {"a": 1, "b": 2}
    ended = Counter(event.step for event in handle.events(follow=False) if event.state == "success" and event.step)
    assert ended == {"a": 1, "b": 1}
    assert worker.process is not None
    assert worker.process.returncode == -signal.SIGKILL
