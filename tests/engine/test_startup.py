"""Workers and beats look at Redis and at the settings before anything runs: errors end them, the rest is logged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import Client
from orchestrator.checks import Check
from orchestrator.engine import startup
from tests.conftest import ROOT, StartServer, Store
from tests.workers import QUICK_ENGINE, Worker, eventually

WORKER = ("worker", "-c", "1", "--without-gossip", "--without-mingle")
BEAT = ("beat", "--pidfile", "")


@pytest.mark.parametrize(
    ("command", "options", "reason"),
    [
        (WORKER, {"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy: allkeys-lru"),
        (BEAT, {"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy: allkeys-lru"),
        (WORKER, {}, "visibility timeout: 1.5 s: running steps would be delivered again"),
    ],
)
def test_what_could_promise_nothing_does_not_start(
    start_server: StartServer, tmp_path: Path, command: tuple[str, ...], options: dict[str, str], reason: str
) -> None:
    server = start_server(tmp_path, options=options)
    engine = tmp_path / "engine.yaml"
    engine.write_text(QUICK_ENGINE.read_text() + ("" if options else "  visibility_timeout: 1.5\n"))
    own = {"ORCHESTRATOR_STORE_URL": server.url(), "ORCHESTRATOR_ENGINE_FILE": str(engine)}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "config.celery_app", *command, "--loglevel", "WARNING"],
        cwd=ROOT,
        env={**os.environ, **own},
        text=True,
        capture_output=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == startup.REFUSED, done.stderr
    told = [line for line in done.stderr.splitlines() if "will not start" in line]
    assert told == [done.stderr.splitlines()[-1]], "its last words, which a supervisor shows"
    assert reason in told[0]
    assert "Traceback" not in done.stderr


def test_what_only_costs_something_is_logged(store: Store, tmp_path: Path) -> None:
    """An append-only file that is off, another visibility timeout on the same broker, queues without a worker."""
    engine = tmp_path / "engine.yaml"
    engine.write_text(f"{QUICK_ENGINE.read_text()}  visibility_timeout: 7\n")
    other = {"ORCHESTRATOR_ENGINE_FILE": str(engine), "ORCHESTRATOR_PORT": "tcp://10.0.0.1:80"}
    with (
        Worker(store.url, tmp_path, name="w1", concurrency=1, queues=["control"]) as first,
        Worker(store.url, tmp_path, name="w2", concurrency=1, queues=["agents.pm"], environment=other) as second,
        Client(store.url) as client,
    ):
        assert "append-only file: off" in first.text()
        assert "ORCHESTRATOR_PORT: unknown environment variable" in second.text()

        def told() -> dict[str, Check]:
            listed = list(startup.of_fleet(client.app))
            all_there = not any(check.message in ("1: w1@test", "agents.pm has no worker") for check in listed)
            return {check.name: check for check in listed} if all_there else {}

        found = eventually(told, within=60, what="both answer in time, and so agents.pm has a worker")
        assert found["workers"].status == "ok"
        assert found["other apps"].status == "warn"
        assert {"7 s", "30 s"} <= set(re.findall(r"[\d.]+ s", found["other apps"].message))
        eventually(
            lambda: "agents.drills has no worker" in first.text() + second.text(), within=60, what="one of them tells"
        )
