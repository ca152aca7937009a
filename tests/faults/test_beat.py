"""Several beats: one leads; killed or frozen it is followed by another, and nothing is sent twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from orchestrator import RunHandle
from orchestrator.embedded import StackOptions
from orchestrator.engine.beat import BACKLOG
from orchestrator.engine.routing import CONTROL
from orchestrator.processes import die_with_parent, kill_group
from tests.conftest import ROOT
from tests.faults.beat_app import LOCK_TIMEOUT, QUEUE, STALE
from tests.faults.scenes import Place, environment, scene, supervised
from tests.workers import QUICK_ENGINE, Worker, eventually

APP = "tests.faults.beat_app"
LOCK = "orc:beat::lock"
SECONDS = 60
"""Until a process is there. What has a bound is measured from then on."""
TAKEOVER = 2 * LOCK_TIMEOUT
"""Seconds until another one leads at the latest, where the leader's lock runs out after LOCK_TIMEOUT."""


class Beat:
    """One beat of this scene, and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def text(self) -> str:
        return self._log.read_text()

    def there(self) -> bool:
        return "beat v5" in self.text()


@contextmanager
def beat(place: Place, name: str) -> Iterator[Beat]:
    command = [sys.executable, "-m", "celery", "-A", APP, "beat", "--pidfile", "", "--loglevel", "INFO"]
    log = place.folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(ORCHESTRATOR_STORE_URL=place.store.url),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
        )
    try:
        yield Beat(process, log)
    finally:
        kill_group(process.pid)
        process.wait()


@contextmanager
def pair(place: Place) -> Iterator[tuple[redis.Redis, Beat, Beat]]:
    """A beat that leads and another one, when both are there and go on."""
    client = place.store.server.client(place.store.database)
    with client, beat(place, "1") as first:
        eventually(lambda: sent(client) >= 1, within=SECONDS, what="the first beat leads")
        with beat(place, "2") as second:
            eventually(second.there, within=SECONDS, what="the second is there")
            goes_on(client, "with two")
            keys = set(client.keys("orc:beat:*"))
            yield client, first, second
        nothing_twice(client)
        assert set(client.keys("orc:beat:*")) <= keys


def leader(client: redis.Redis) -> str | None:
    token = client.get(LOCK)
    return None if token is None else str(token)


def sent(client: redis.Redis) -> int:
    return int(client.llen(QUEUE))


def planned(client: redis.Redis) -> int:
    """How often the schedule says that its entry was sent; two beats that send at once count it once."""
    return int(json.loads(str(client.hget("orc:beat:tick", "meta")))["total_run_count"])


def nothing_twice(client: redis.Redis) -> None:
    """A beat notes what it is about to send: one that is killed then has not sent it, one that was frozen before sends
    it when it wakes up. Two are struck at most; two that lead send many."""
    assert -2 <= sent(client) - planned(client) <= 1


def goes_on(client: redis.Redis, what: str, within: float = SECONDS) -> None:
    before = sent(client)
    eventually(lambda: sent(client) >= before + 2, within=within, what=f"beat goes on: {what}")


def a_year_passes(client: redis.Redis) -> None:
    """What beat knows of the yearly workflow is old."""
    name = "orc:beat:workflow:yearly"
    meta = json.loads(str(client.hget(name, "meta")))
    meta["last_run_at"]["year"] -= 2
    client.hset(name, "meta", json.dumps(meta))
    client.zadd("orc:beat::schedule", {name: 0})


@scene
def test_a_workflow_with_a_schedule_is_started_when_it_is_due(place: Place) -> None:
    client = place.store.server.client(place.store.database)
    with client, beat(place, "1"):
        eventually(lambda: sent(client) >= 1, within=SECONDS, what="beat leads")
        assert not client.keys(f"{CONTROL}*")
        a_year_passes(client)
        eventually(lambda: client.keys(f"{CONTROL}*"), within=SECONDS, what="the workflow is submitted")
        (queue,) = client.keys(f"{CONTROL}*")  # one for each priority
        (message,) = client.lrange(queue, 0, -1)
    found = json.loads(message)
    assert found["headers"]["task"] == "orchestrator.submit"
    assert json.loads(found["body"])[1] == {"workflow": "yearly"}


@scene
def test_the_leader_of_two_is_killed_and_the_other_takes_over(place: Place) -> None:
    with pair(place) as (client, first, _):
        first.process.kill()
        goes_on(client, "the leader was killed", within=TAKEOVER)
        eventually(lambda: client.llen(STALE) == BACKLOG, within=SECONDS, what="nobody takes what goes out of date")
        goes_on(client, "with others")
        assert client.llen(STALE) == BACKLOG, "it does not pile up"


@scene
def test_the_leader_of_two_is_frozen_and_ends_when_it_wakes_up(place: Place) -> None:
    with pair(place) as (client, first, _):
        led = leader(client)
        os.kill(first.process.pid, signal.SIGSTOP)
        eventually(lambda: leader(client) not in (led, None), within=SECONDS, what="the second leads")
        goes_on(client, "the leader is frozen")
        os.kill(first.process.pid, signal.SIGCONT)
        assert first.process.wait(SECONDS) not in (0, None)
        assert "LockNotOwnedError" in first.text()
        goes_on(client, "the leader was frozen")


@scene
def test_a_leader_that_was_frozen_is_started_again_by_its_supervisor(place: Place) -> None:
    client = place.store.server.client(place.store.database)
    options = StackOptions(home=place.folder, app=APP, workers=0, beat=True, broker_url=place.store.broker_url)
    with client, supervised(place.store.url, options) as told:
        eventually(lambda: sent(client) >= 1, within=SECONDS, what="beat leads")
        (pid,) = (event["pid"] for event in told if event["event"] == "started")
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: leader(client) is None, within=SECONDS, what="its lock has expired")
        os.kill(pid, signal.SIGCONT)
        eventually(lambda: leader(client), within=SECONDS, what="its successor leads")
        goes_on(client, "with the successor")
        assert sum(event["event"] == "started" for event in told) == 2
    with place.store.server.client(place.store.database) as client:
        nothing_twice(client)


def states(handle: RunHandle) -> dict[str, str]:
    return {name: step.state.value for name, step in handle.status().steps.items()}


@scene
def test_a_barrier_is_decided_in_time_although_the_beat_that_watched_it_was_killed(place: Place) -> None:
    """The only worker never looks by itself: whatever is decided late, a beat has asked for."""
    engine = place.folder / "engine.yaml"
    engine.write_text(QUICK_ENGINE.read_text().replace("sweep_seconds: 0.25", "sweep_seconds: 3600"))
    slow = {"id": "y", "agent": "hang", "retry": {"maximum_attempts": 1}, "defaults": {"by": "y"}}
    group = {"agents": [{"id": "x", "agent": "noop"}, slow], "parallel_capable": True, "barrier": {"timeout": 3}}
    own = {"ORCHESTRATOR_ENGINE_FILE": str(engine)}
    with Worker(place.store.url, place.folder, concurrency=2, environment=own), pair(place) as (_, first, _):
        handle = place.client.submit({"name": "watched", "steps": [], "execution_groups": {"g": group}})
        eventually(lambda: states(handle) == {"x": "success", "y": "running"}, within=20, what="only y runs")
        first.process.kill()
        barrier = handle.wait(60).groups["g"]
    assert (barrier.action, barrier.filled) == ("continue_with_partial", ("y",))
    assert barrier.lateness_seconds is not None
    assert barrier.lateness_seconds < TAKEOVER
