"""A step may work longer than the broker's visibility timeout: its message is delivered once while its worker lives."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, closing

from orchestrator import Client, RunHandle
from orchestrator.run.models import RunState, StepState
from tests.faults.scenes import Place, scene, started
from tests.servers import ValkeyServer
from tests.workers import QUICK_ENGINE, Worker, eventually

SECONDS = 60
VISIBILITY = 2
LONG = 2 * VISIBILITY


RIDE = 3 * VISIBILITY
"""A visibility timeout in which a server restarts and a worker comes back, also on a busy machine."""


def engine(place: Place, visibility: int = VISIBILITY) -> dict[str, str]:
    """The environment of workers with a short visibility timeout."""
    file = place.folder / "engine.yaml"
    file.write_text(f"{QUICK_ENGINE.read_text()}  visibility_timeout: {visibility}\n")
    return {"ORCHESTRATOR_ENGINE_FILE": str(file)}


def deliveries(handle: RunHandle, step: str, *workers: Worker) -> int:
    return sum(worker.text().count(f"[{handle.id}.{step}] received") for worker in workers)


def submit(client: Client, *names: str, seconds: float = LONG) -> RunHandle:
    steps = [
        {"id": name, "agent": "sleep", "with": {"seconds": seconds}, "priority": priority}
        for priority, name in enumerate(names, start=1)
    ]
    return client.submit({"name": "long", "steps": steps})


def onward(client: Client, agent: str = "sleep", seconds: float = LONG) -> RunHandle:
    """A run whose long step `b` has no message of its own: its process has gone on to it."""
    head = {"id": "head", "agent": "noop", "priority": 9}
    work = {"id": "b", "agent": agent, "with": {"seconds": seconds}, "needs": ["head"]}
    handle = client.submit({"name": "onward", "steps": [head, work]})
    eventually(lambda: _running(handle, "b"), within=20, what="b runs")
    return handle


@scene
def test_a_long_step_is_delivered_once_and_those_of_a_dead_worker_again(place: Place) -> None:
    """Two workers, one with threads, look for messages whose visibility timeout is over; then one is killed."""
    client, url = place.client, place.store.url
    first = Worker(url, place.folder, name="w1", concurrency=2, environment=engine(place))
    second = Worker(url, place.folder, name="w2", concurrency=2, pool="threads", environment=engine(place))
    with started(first, second):
        names = ("a", "b", "c", "d")
        handle = submit(client, *names)
        status = handle.wait(SECONDS)
        assert {step.worker for step in status.steps.values()} == {"w1@test", "w2@test"}
        assert [deliveries(handle, step, first, second) for step in names] == [1, 1, 1, 1]
        eventually(lambda: not client.redis.hlen("unacked"), within=5, what="all are acknowledged")
        lost = submit(client, *names)
        eventually(lambda: _running(lost, *names), within=20, what="all run")
        first.kill()
        assert lost.wait(SECONDS).state is RunState.SUCCESS
        eventually(lambda: not client.redis.hlen("unacked"), within=3 * VISIBILITY, what="the dead one's messages")


@scene
def test_a_long_step_is_delivered_once_although_redis_restarts(place: Place) -> None:
    server = ValkeyServer(place.folder, aof=True, options={"appendfsync": "always"})
    with closing(server):
        server.start()
        environment = engine(place, RIDE)
        with Client(server.url()) as client, Worker(server.url(), place.folder, environment=environment) as worker:
            handle = submit(client, "a", seconds=RIDE + VISIBILITY)
            eventually(lambda: _running(handle, "a"), within=20, what="a runs")
            (taken,) = client.redis.zrange("unacked_index", 0, -1, withscores=True)
            eventually(lambda: client.redis.zscore("unacked_index", taken[0]) != taken[1], within=20, what="it is kept")
            later = onward(client)
            server.restart()
            for run, delivered in (handle, {"a": 1}), (later, {"head": 1, "b": 0}):
                status = run.wait(SECONDS)
                assert status.state is RunState.SUCCESS
                assert {name: step.attempts for name, step in status.steps.items()} == dict.fromkeys(delivered, 1)
                assert {name: deliveries(run, name, worker) for name in delivered} == delivered
            eventually(lambda: not client.redis.hlen("unacked"), within=3 * RIDE, what="both are acknowledged")


@scene
def test_a_worker_that_is_not_given_the_time_to_finish_costs_a_lease(place: Place) -> None:
    """One is told to stop at once; another is told to finish, and killed before it has. Each works on the step of a
    message, and on one that it has gone on to."""
    own, held = engine(place), {"agent": "slow_at_first", "with": {"seconds": 300}}
    workers = [
        Worker(place.store.url, place.folder, name=name, concurrency=2, environment=own, app="tests.faults.stuck_app")
        for name in ("w1", "w2", "w3")
    ]
    first, second, third = workers
    runs: list[RunHandle] = []
    with ExitStack() as stack:
        for full in first, second:
            stack.enter_context(started(full))
            handle = place.client.submit({"name": "held", "steps": [{"id": "b", **held}]})
            eventually(lambda: _running(handle, "b"), within=20, what="b runs")  # noqa: B023
            runs += handle, onward(place.client, "slow_at_first", 300)
            assert [deliveries(run, "b", full) for run in runs[-2:]] == [1, 0]
        os.kill(first.pid, signal.SIGQUIT)
        os.kill(second.pid, signal.SIGTERM)
        eventually(lambda: "Warm shutdown" in second.text(), within=20, what="it begins to finish")
        second.kill()
        with third:
            for run in runs:
                status = run.wait(SECONDS)
                assert status.state is RunState.SUCCESS
                assert (status.steps["b"].attempts, status.steps["b"].worker) == (2, "w3@test")
                assert all(step.attempts == 1 for name, step in status.steps.items() if name != "b")
            left = place.client.redis
            eventually(lambda: not left.hlen("unacked"), within=3 * VISIBILITY, what="nothing is left")


def _running(handle: RunHandle, *names: str) -> bool:
    steps = handle.status().steps
    return all(steps[name].state is StepState.RUNNING for name in names)
