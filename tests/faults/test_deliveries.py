"""A step may work longer than the broker's visibility timeout: its message is delivered once while its worker lives."""

from __future__ import annotations

import os
import signal
from contextlib import closing

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
            server.restart()
            status = handle.wait(SECONDS)
            assert (status.state, status.steps["a"].attempts) == (RunState.SUCCESS, 1)
            assert deliveries(handle, "a", worker) == 1
            eventually(lambda: not client.redis.hlen("unacked"), within=3 * RIDE, what="it is acknowledged")


@scene
def test_a_worker_that_is_not_given_the_time_to_finish_costs_a_lease(place: Place) -> None:
    """One is told to stop at once; another is told to finish, and killed before it has."""
    own = engine(place)
    first, second, third = (
        Worker(place.store.url, place.folder, name=name, concurrency=size, environment=own)
        for name, size in (("w1", 1), ("w2", 1), ("w3", 2))
    )
    with started(first, second):
        handle = submit(place.client, "a", "b")
        eventually(lambda: _running(handle, "a", "b"), within=20, what="both run")
        os.kill(first.pid, signal.SIGQUIT)
        os.kill(second.pid, signal.SIGTERM)
        eventually(lambda: "Warm shutdown" in second.text(), within=20, what="it begins to finish")
        second.kill()
        with third:
            status = handle.wait(SECONDS)
            assert status.state is RunState.SUCCESS
            assert {(step.attempts, step.worker) for step in status.steps.values()} == {(2, "w3@test")}
            left = place.client.redis
            eventually(lambda: not left.hlen("unacked"), within=3 * VISIBILITY, what="nothing is left")


def _running(handle: RunHandle, *names: str) -> bool:
    steps = handle.status().steps
    return all(steps[name].state is StepState.RUNNING for name in names)
