"""Workers tell what their attempts took, and the next plan knows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import Client
from orchestrator.fleet.learning import durations
from orchestrator.run.models import RunState
from tests.conftest import Store
from tests.workers import ROOT, Worker, eventually

FLEET_ENGINE = ROOT / "tests" / "fixtures" / "fleet_engine.yaml"
SECONDS = 30


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_five_runs_replace_an_estimate(module_store: Store, tmp_path: Path, pool: str) -> None:
    asleep = {"with": {"seconds": 0.12}, "agent": "sleep", "estimated_duration": "1_minute"}
    steps = [asleep | {"id": f"s{n}"} for n in range(5)]
    named = {"name": "once", "steps": [*steps, {"id": "bad", "agent": "fail", "with": {"times": 9}}]}
    environment = {"ORCHESTRATOR_ENGINE_FILE": str(FLEET_ENGINE)}
    with module_store.server.client(module_store.database) as store:
        store.flushdb()
    with Worker(module_store.url, tmp_path, pool=pool, environment=environment), Client(module_store.url) as client:
        assert client.plan(named).steps["s0"].learned_seconds is None
        assert client.submit(named).wait(SECONDS).state is RunState.FAILED

        def kept() -> dict[str, int]:
            return {name: learned.count for name, learned in durations(client.redis).items() if "/" not in name}

        eventually(lambda: kept() == {"sleep": 5}, within=SECONDS, what="the durations of what succeeded are kept")
        step = client.plan(named).steps["s0"]
        assert (step.estimated_seconds, step.duration_seconds) == (60, step.learned_seconds)
        assert 0.12 <= (step.learned_seconds or 0) < 30
