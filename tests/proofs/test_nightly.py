"""The night's measurement as beat starts it: on the queue of its own, kept in the store, and compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import Client
from orchestrator.bench import history
from tests.conftest import ROOT, Store
from tests.workers import Worker

pytestmark = [pytest.mark.proofs, pytest.mark.timeout(300)]


def test_a_night_measures_keeps_and_compares(module_store: Store, tmp_path: Path) -> None:
    nightly = (ROOT / "config" / "workflows" / "nightly_benchmarks.yaml").read_text()
    assert "{name: hops}" in nightly
    with (
        Worker(module_store.url, tmp_path, concurrency=1, queues=("agents.benchmarks", "control")),
        Client(module_store.url) as client,
    ):
        step = {"id": "hops", "agent": "benchmark", "with": {"name": "hops", "rounds": 1}, "timeout": "4m"}
        handle = client.submit({"name": "night", "steps": [step]})
        status = handle.wait(280)
        assert status.state == "success", status
        found = handle.result()["hops"]
        assert found["regressions"] == []
        assert found["medians"]["a hop of 20"] > 0
        assert b"raw Celery" in handle.artifacts()["hops/report.json"]
        (kept,) = history.reports(client.redis, "hops")
        assert kept.rounds == 1
        assert kept.measures[0].value == found["medians"]["a hop of 20"]

        wrong = client.submit({"name": "night", "steps": [step | {"with": {"name": "hop"}}]}).wait(60)
        assert wrong.state == "failed"
        assert "did you mean 'hops'" in str(wrong.steps["hops"].error)
