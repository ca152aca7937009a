"""Real workers that help each other out, and step back: what they decide from what they tell each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import Client, RunHandle
from orchestrator.fleet import store
from orchestrator.fleet.models import Decision, Standing
from orchestrator.fleet.models import Worker as Member
from orchestrator.metrics.alerts import Alert, alerts
from orchestrator.run.models import RunState
from tests.conftest import Store
from tests.workers import ROOT, Worker, eventually

FLEET_ENGINE = ROOT / "tests" / "fixtures" / "fleet_engine.yaml"
APP, SLOW = "tests.engine.fleet_app", "FLEET_SLOW"
SECONDS = 45
MEMORY_IS_SHORT = "sampling_interval: 0.3\n      alert_thresholds: {memory_usage: 0.01}"
ONE_METRIC = "performance_monitoring: {metrics_collection: {system_metrics: [memory_usage_peak]}}\n"


def start(url: str, directory: Path, name: str, queue: str, slow: Path | None = None, autoscale: str = "") -> Worker:
    """A worker with short leases, but for the one that shrinks: no step of its may be lost because it stood still. One
    of the class `narrow` finds that any memory in use is too much."""
    engine = directory / f"{name}.yaml"
    text = FLEET_ENGINE.read_text()
    if queue == "agents.narrow":
        text = text.replace("sampling_interval: 0.3", MEMORY_IS_SHORT) + ONE_METRIC
    engine.write_text(text.replace("lease_seconds: 1.5", "lease_seconds: 20") if autoscale else text)
    environment = {"ORCHESTRATOR_ENGINE_FILE": str(engine), SLOW: str(slow or "")}
    return Worker(
        url, directory, name=name, concurrency=2, queues=(queue,), app=APP, environment=environment, autoscale=autoscale
    )


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As long as this file is there, `h2` is slow."""
    return tmp_path_factory.mktemp("slow") / "slow"


@pytest.fixture(scope="module")
def fleet(module_store: Store, tmp_path_factory: pytest.TempPathFactory, slow: Path) -> Iterator[dict[str, Worker]]:
    """Two workers of the class `heavy`, one of `light`, and two whose pools grow, of `elastic` and `narrow`; all with
    all the code."""
    directory = tmp_path_factory.mktemp("fleet")
    named = {"h1": "agents.heavy", "h2": "agents.heavy", "l1": "agents.light", "e1": "agents.elastic",
             "n1": "agents.narrow"}  # fmt: skip
    grows, sick = dict.fromkeys(("e1", "n1"), "4,1"), {"h2": slow}
    workers = {
        name: start(module_store.url, directory, name, queue, sick.get(name), grows.get(name, ""))
        for name, queue in named.items()
    }
    Worker.start_all(*workers.values())
    yield workers
    for worker in workers.values():
        worker.end()


@pytest.fixture(scope="module")
def client(module_store: Store, fleet: dict[str, Worker]) -> Iterator[Client]:
    with Client(module_store.url) as connected:
        yield connected


def members(client: Client) -> dict[str, Member]:
    return store.tell(client.redis, None, 3600)[2]


def decided(client: Client, act: str, worker: str) -> list[Decision]:
    return [one for one in store.decisions(client.redis, limit=100) if (one.act, one.worker) == (act, worker)]


def told(client: Client, kind: str) -> list[Alert]:
    return [alert for alert in alerts(client.redis) if alert.kind == kind and alert.subject == "agents.heavy"]


def backlog(client: Client, count: int, seconds: float, agent: str = "lift", until: Path | str = "/") -> RunHandle:
    """A run of so many steps, none of which ends before the file `until` is there."""
    step = {"agent": agent, "with": {"seconds": seconds, "until": str(until)}, "retry": {"maximum_attempts": 3}}
    steps = [{"id": f"s{n}", **step} for n in range(count)]
    return client.submit({"name": "backlog", "steps": steps})


def test_a_pool_grows_under_a_burst_and_shrinks_afterwards_and_no_step_is_lost(
    client: Client, fleet: dict[str, Worker], tmp_path: Path
) -> None:
    elastic, go, end = fleet["e1"], tmp_path / "go", tmp_path / "end"
    assert len(elastic.children()) == 1
    burst = backlog(client, 24, 0.05, "stretch", go)
    eventually(lambda: len(elastic.children()) == 4, within=SECONDS, what="the pool is as large as it may be")
    # Shrinking begins while one long step runs: it is not the one whose process is ended.
    long = backlog(client, 1, 0, "stretch", end)
    go.touch()
    assert burst.wait(SECONDS).state is RunState.SUCCESS
    eventually(lambda: len(elastic.children()) == 1, within=SECONDS, what="the pool shrinks to what it needs")
    # What the class took lately says nothing of the long one: the pool grows by what has really been waited.
    assert backlog(client, 1, 0, "stretch").wait(SECONDS).state is RunState.SUCCESS
    assert long.status().steps["s0"].state == "running"
    end.touch()
    done = {**burst.status().steps, "long": long.wait(SECONDS).steps["s0"]}
    assert {(step.state, step.attempts) for step in done.values()} == {("success", 1)}
    for act in ("grow", "shrink"):
        eventually(lambda act=act: decided(client, act, "e1@test"), within=SECONDS, what=f"{act} is told")  # type: ignore[misc]


def test_a_worker_that_is_short_of_memory_does_half_as_much_side_by_side(
    client: Client, fleet: dict[str, Worker], tmp_path: Path
) -> None:
    def alarmed() -> bool:
        return any((one.kind, one.subject) == ("memory_usage", "n1@test") for one in alerts(client.redis))

    eventually(alarmed, within=SECONDS, what="memory is short there")
    go = tmp_path / "go"
    burst = backlog(client, 12, 0.05, "squeeze", go)
    eventually(lambda: len(fleet["n1"].children()) == 2, within=SECONDS, what="the pool grows to half of its most")
    go.touch()
    assert burst.wait(SECONDS).state is RunState.SUCCESS
    grown = eventually(lambda: decided(client, "grow", "n1@test"), within=SECONDS, what="that is told")
    assert {one.reason.partition(":")[0] for one in grown} == {"1 → 2 processes"}

    assert backlog(client, 1, 0, "stretch").wait(SECONDS).state is RunState.SUCCESS

    def measured() -> bool:
        """As far as the settings of each say."""
        here = members(client)
        told = [[one.memory_peak, one.cpu_average, one.network_share] for one in (here["n1@test"], here["e1@test"])]
        return [[value is not None for value in one] for one in told] == [[True, False, False], [True, True, True]]

    eventually(measured, within=SECONDS, what="workers tell what they measure")


def test_an_idle_worker_steals_and_lets_go_and_what_a_killed_thief_held_is_done_by_others(
    client: Client, fleet: dict[str, Worker], module_store: Store, tmp_path: Path
) -> None:
    go, again = tmp_path / "go", tmp_path / "again"
    first = backlog(client, 60, 0.2, until=go)
    eventually(lambda: decided(client, "steal", "l1@test"), within=SECONDS, what="the idle worker steals")
    stolen = eventually(
        lambda: [name for name, step in first.status().steps.items() if step.worker == "l1@test"
                 and step.state == "running"],
        within=SECONDS, what="the thief runs stolen steps",
    )  # fmt: skip
    fleet["l1"].kill()
    eventually(lambda: told(client, "queue_depth"), within=SECONDS, what="the long queue is told")
    assert [alert.subject for alert in told(client, "queue_depth")] == ["agents.heavy"]
    go.touch()
    status = first.wait(SECONDS)
    assert status.state is RunState.SUCCESS
    assert {step.state for step in status.steps.values()} == {"success"}
    assert status.steps[stolen[0]].worker != "l1@test"
    assert status.steps[stolen[0]].attempts >= 2
    eventually(lambda: decided(client, "lost", "l1@test"), within=SECONDS, what="its silence is noticed")
    fleet["l1"] = start(module_store.url, tmp_path, "l1", "agents.light").start()
    second = backlog(client, 30, 0.2, until=again)
    eventually(lambda: len(decided(client, "steal", "l1@test")) > 1, within=SECONDS, what="the new one steals as well")
    again.touch()
    assert second.wait(SECONDS).state is RunState.SUCCESS
    eventually(lambda: decided(client, "release", "l1@test"), within=SECONDS, what="it lets go")
    eventually(lambda: not members(client)["l1@test"].borrowed, within=SECONDS, what="it tells the others")
    eventually(lambda: told(client, "queue_depth_cleared"), within=SECONDS, what="the alarm is over")
    late = backlog(client, 4, 0.2)
    assert {step.worker for step in late.wait(SECONDS).steps.values()} <= {"h1@test", "h2@test"}


def test_a_slow_worker_steps_back_gets_nothing_and_comes_back(
    client: Client, fleet: dict[str, Worker], slow: Path
) -> None:
    slow.touch()
    handles = [backlog(client, 60, 0.2)]

    def drained() -> list[Decision]:
        if handles[-1].status().ended:  # the others were too quick for it
            handles.append(backlog(client, 40, 0.2))
        return decided(client, "drain", "h2@test")

    found = eventually(drained, within=SECONDS, what="the slow one steps back")
    assert "times as slow as usual" in found[0].reason
    slow.unlink()
    assert {handle.wait(SECONDS).state for handle in handles} == {RunState.SUCCESS}
    eventually(lambda: decided(client, "probe", "h2@test"), within=SECONDS, what="it is tried again")

    def readmitted() -> bool:
        assert backlog(client, 12, 0.2).wait(SECONDS).state is RunState.SUCCESS
        return members(client)["h2@test"].standing is Standing.ACTIVE

    eventually(readmitted, within=60, what="it is one of the others again")
    assert decided(client, "readmit", "h2@test")
