"""Several beats: one leads; killed or frozen it is followed by another, and nothing is sent twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from orchestrator import Client, RunHandle
from orchestrator.embedded import Stack, StackOptions
from orchestrator.engine.beat import BACKLOG
from orchestrator.engine.routing import CONTROL
from orchestrator.processes import die_with_parent, kill_group
from tests.conftest import ROOT, Store
from tests.faults.beat_app import LOCK_TIMEOUT, QUEUE, STALE
from tests.workers import QUICK_ENGINE, Worker, eventually

APP = "tests.faults.beat_app"
LOCK = "orc:beat::lock"
TAKEOVER = 2 * LOCK_TIMEOUT
"""Seconds until another one leads at the latest, where the leader's lock runs out after LOCK_TIMEOUT."""


@contextmanager
def beat(store_url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "celery", "-A", APP, "beat", "--pidfile", "", "--loglevel", "INFO"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "ORCHESTRATOR_STORE_URL": store_url},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
        )
    try:
        yield process
    finally:
        kill_group(process.pid)
        process.wait()


def leader(client: redis.Redis) -> str | None:
    token = client.get(LOCK)
    return None if token is None else str(token)


def sent(client: redis.Redis) -> int:
    return int(client.llen(QUEUE))


def planned(client: redis.Redis) -> int:
    """How often the schedule says that its entry was sent; two beats that send at once count it once."""
    return int(json.loads(str(client.hget("orc:beat:tick", "meta")))["total_run_count"])


def goes_on(client: redis.Redis, what: str) -> None:
    before = sent(client)
    eventually(lambda: sent(client) >= before + 2, within=TAKEOVER, what=f"beat goes on: {what}")


def a_year_passes(client: redis.Redis) -> None:
    """What beat knows of the yearly workflow is old."""
    name = "orc:beat:workflow:yearly"
    meta = json.loads(str(client.hget(name, "meta")))
    meta["last_run_at"]["year"] -= 2
    client.hset(name, "meta", json.dumps(meta))
    client.zadd("orc:beat::schedule", {name: 0})


def test_a_workflow_with_a_schedule_is_started_when_it_is_due(
    store: Store, store_client: redis.Redis, tmp_path: Path
) -> None:
    with beat(store.url, tmp_path / "1.log"):
        eventually(lambda: sent(store_client) >= 1, within=20, what="beat leads")
        assert not store_client.keys(f"{CONTROL}*")
        a_year_passes(store_client)
        eventually(lambda: store_client.keys(f"{CONTROL}*"), within=TAKEOVER, what="the workflow is submitted")
    (queue,) = store_client.keys(f"{CONTROL}*")  # one for each priority
    (message,) = store_client.lrange(queue, 0, -1)
    found = json.loads(message)
    assert found["headers"]["task"] == "orchestrator.submit"
    assert json.loads(found["body"])[1] == {"workflow": "yearly"}


def test_one_of_several_beats_sends_and_another_takes_over(
    store: Store, store_client: redis.Redis, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(beat(store.url, tmp_path / "1.log"))
        eventually(lambda: sent(store_client) >= 1, within=20, what="the first beat leads")
        second = stack.enter_context(beat(store.url, tmp_path / "2.log"))
        eventually(lambda: "beat v5" in (tmp_path / "2.log").read_text(), within=20, what="the second is there")
        goes_on(store_client, "with two")
        keys = set(store_client.keys("orc:beat:*"))

        first.kill()
        goes_on(store_client, "the leader was killed")
        led = leader(store_client)
        stack.enter_context(beat(store.url, tmp_path / "3.log"))
        eventually(lambda: "beat v5" in (tmp_path / "3.log").read_text(), within=20, what="the third is there")

        os.kill(second.pid, signal.SIGSTOP)
        eventually(lambda: leader(store_client) not in (led, None), within=TAKEOVER, what="the third leads")
        os.kill(second.pid, signal.SIGCONT)
        assert second.wait(TAKEOVER) not in (0, None)
        assert "LockNotOwnedError" in (tmp_path / "2.log").read_text()
        goes_on(store_client, "the leader was frozen")
    assert sent(store_client) == planned(store_client)
    assert set(store_client.keys("orc:beat:*")) <= keys
    assert store_client.llen(STALE) == BACKLOG, "what is out of date when it is taken does not pile up"


def test_a_leader_that_was_frozen_is_started_again_by_its_supervisor(
    store: Store, store_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_STORE_URL", store.url)
    monkeypatch.setenv("ORCHESTRATOR_BROKER_URL", store.broker_url)
    started: list[int] = []

    def listen(event: object) -> None:
        if isinstance(event, dict) and event["event"] == "started":
            started.append(event["pid"])

    options = StackOptions(home=tmp_path, app=APP, workers=0, beat=True, broker_url=store.broker_url)
    with Stack(options, listen):
        eventually(lambda: sent(store_client) >= 1, within=20, what="beat leads")
        os.kill(started[0], signal.SIGSTOP)
        eventually(lambda: leader(store_client) is None, within=TAKEOVER, what="its lock has expired")
        os.kill(started[0], signal.SIGCONT)
        eventually(lambda: leader(store_client), within=20, what="its successor leads")
        goes_on(store_client, "with the successor")
    assert len(started) == 2
    assert sent(store_client) == planned(store_client)


def states(handle: RunHandle) -> dict[str, str]:
    return {name: step.state.value for name, step in handle.status().steps.items()}


def test_a_barrier_is_decided_in_time_although_the_beat_that_watched_it_was_killed(
    store: Store, store_client: redis.Redis, tmp_path: Path
) -> None:
    """The only worker never looks by itself: whatever is decided late, a beat has asked for."""
    engine = tmp_path / "engine.yaml"
    engine.write_text(QUICK_ENGINE.read_text().replace("sweep_seconds: 0.25", "sweep_seconds: 3600"))
    slow = {"id": "y", "agent": "hang", "retry": {"maximum_attempts": 1}, "defaults": {"by": "y"}}
    group = {"agents": [{"id": "x", "agent": "noop"}, slow], "parallel_capable": True, "barrier": {"timeout": 3}}
    with (
        Client(store.url) as client,
        Worker(store.url, tmp_path, concurrency=2, environment={"ORCHESTRATOR_ENGINE_FILE": str(engine)}),
        beat(store.url, tmp_path / "1.log") as first,
    ):
        eventually(lambda: sent(store_client) >= 1, within=20, what="the first beat leads")
        with beat(store.url, tmp_path / "2.log"):
            eventually(lambda: "beat v5" in (tmp_path / "2.log").read_text(), within=20, what="the second is there")
            handle = client.submit({"name": "watched", "steps": [], "execution_groups": {"g": group}})
            eventually(lambda: states(handle) == {"x": "success", "y": "running"}, within=20, what="only y runs")
            first.kill()
            barrier = handle.wait(60).groups["g"]
    assert (barrier.action, barrier.filled) == ("continue_with_partial", ("y",))
    assert barrier.lateness_seconds is not None
    assert barrier.lateness_seconds < TAKEOVER
