"""Pools with real workers: what is admitted at a time, what is seen of it, and that killed workers leave nothing."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Client, RunHandle
from orchestrator.cli import main
from orchestrator.engine.runtime import pools
from orchestrator.run.models import RunState, RunStatus, StepState
from tests.conftest import Store
from tests.workers import Worker, eventually

SECONDS = 60


def wide(name: str, count: int, seconds: float, **resources: float) -> dict[str, Any]:
    step = {"agent": "sleep", "with": {"seconds": seconds}, "resources": resources}
    return {"name": name, "steps": [{"id": f"s{number}", **step} for number in range(count)]}


def most_at_a_time(runs: list[RunStatus]) -> int:
    """Of the steps of these runs, by Redis' clock."""
    turns = [(step.started_at or 0, 1) for run in runs for step in run.steps.values()]
    turns += [(step.finished_at or 0, -1) for run in runs for step in run.steps.values()]
    running, most = 0, 0
    for _, change in sorted(turns):
        running += change
        most = max(most, running)
    return most


def states(*runs: RunHandle) -> list[str]:
    return sorted(step.state.value for run in runs for step in run.status().steps.values())


def test_three_agents_at_a_time_and_whoever_needs_nothing_passes(client: Client) -> None:
    """The worker has four children, the pool of agents three places; memory is for two of the second kind."""
    many = [client.submit(wide(f"many{run}", 4, 0.1, cpu=10, memory=10)) for run in range(3)]
    ended = [handle.wait(SECONDS) for handle in many]
    assert {run.state for run in ended} == {RunState.SUCCESS}
    assert most_at_a_time(ended) <= 3
    holders = client.submit(wide("holders", 4, 600, cpu=10, memory=10))
    eventually(lambda: states(holders) == ["ready", *["running"] * 3], within=SECONDS, what="all places are taken")
    assert client.submit(wide("free", 3, 0.0)).wait(SECONDS).state is RunState.SUCCESS
    assert states(holders) == ["ready", *["running"] * 3]
    holders.cancel()
    assert holders.wait(SECONDS).state is RunState.CANCELLED
    heavy = client.submit(wide("heavy", 4, 600, cpu=10, memory=50))
    eventually(lambda: states(heavy) == ["ready", "ready", "running", "running"], within=SECONDS, what="memory for two")
    heavy.cancel()
    here = pools(client.redis, client.settings)
    eventually(lambda: not here.status().holders, within=SECONDS, what="the last lease is given back")


def test_who_waits_for_what_is_shown(
    client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = client.submit(wide("holder", 1, 600, memory=90))
    eventually(lambda: holder.status().steps["s0"].state is StepState.RUNNING, within=SECONDS, what="it runs")
    waiter = client.submit(wide("waiter", 1, 0.0, memory=20))
    monkeypatch.setenv("ORCHESTRATOR_STORE_URL", client.store_url)
    assert main(["pools", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["run_id"], one["short"]) for one in found["waiting"]] == [(waiter.id, ["memory"])]
    assert main(["show", waiter.id]) == 0
    assert f"s0 waits for memory, which {holder.id}/s0 (90) holds" in capsys.readouterr().out
    holder.cancel()
    assert waiter.wait(SECONDS).state is RunState.SUCCESS


def test_a_tenant_with_much_to_do_does_not_keep_out_one_with_little(client: Client) -> None:
    """One step at a time fits. Twelve of one tenant wait when four of another come: they take turns until those are
    done, each tenant first come, first served, however many runs it has."""
    holder = client.submit(wide("holder", 1, 600, memory=100))
    eventually(lambda: states(holder) == ["running"], within=SECONDS, what="nothing else fits")

    def submit(tenant: str, count: int) -> RunHandle:
        step = {"agent": "echo", "with": {"text": tenant}, "resources": {"memory": 100}}
        return client.submit(
            {"name": "work", "inputs": {"tenant": None}, "fairness_key": "{inputs.tenant}",
             "steps": [{"id": f"s{number}", **step} for number in range(count)]},
            {"tenant": tenant},
        )  # fmt: skip

    runs = [submit("heavy", 6), submit("heavy", 6), submit("light", 2), submit("light", 2)]
    holder.cancel()
    ended = [handle.wait(SECONDS) for handle in runs]
    turns = sorted((step.queued_at or 0, at, name) for at, run in enumerate(ended) for name, step in run.steps.items())
    heavy = [(at, f"s{number}") for at in (0, 1) for number in range(6)]
    light = [(at, f"s{number}") for at in (2, 3) for number in range(2)]
    paired = [one for pair in zip(heavy, light, strict=False) for one in pair]
    assert [(at, name) for _, at, name in turns] == [*paired, *heavy[4:]]
    assert {run.state for run in ended} == {RunState.SUCCESS}


def test_a_cancelled_and_a_paused_run_hold_nothing_back(client: Client) -> None:
    first = client.submit(wide("first", 3, 600, memory=30))
    eventually(lambda: states(first) == ["running"] * 3, within=SECONDS, what="all three run")
    second, third = client.submit(wide("second", 1, 0, memory=30)), client.submit(wide("third", 1, 0, memory=30))
    second.pause()
    first.cancel()
    assert third.wait(SECONDS).state is RunState.SUCCESS
    assert second.status().steps["s0"].state is StepState.READY
    second.resume()
    assert second.wait(SECONDS).state is RunState.SUCCESS


def test_killed_workers_leave_no_lease(store: Store, tmp_path: Path) -> None:
    keys = {"agent": "worker", "with": {"folder": str(tmp_path), "wait": True}, "resources": {"cpu": 40, "memory": 30}}
    definition = {"name": "held", "steps": [{"id": f"s{number}", **keys} for number in range(3)]}
    app = "tests.engine.steering_app"
    with Client(store.url) as client, ExitStack() as workers:
        lost = workers.enter_context(Worker(store.url, tmp_path, name="lost", concurrency=3, app=app))
        runs = [client.submit(definition) for _ in range(3)]
        here = pools(client.redis, client.settings)
        eventually(lambda: states(*runs).count("running") == 3, within=SECONDS, what="three steps run")
        assert len(here.status().holders) == 3
        lost.kill()
        (tmp_path / "go").touch()
        workers.enter_context(Worker(store.url, tmp_path, name="next", concurrency=3, app=app))
        ended = [handle.wait(SECONDS) for handle in runs]
        assert {run.state for run in ended} == {RunState.SUCCESS}
        eventually(lambda: not here.status().holders, within=SECONDS, what="no lease is left")
        assert {pool.used for pool in here.status().pools} == {0}


def limited(name: str, seconds: float, count: int = 1, **keys: Any) -> dict[str, Any]:
    top: dict[str, Any] = {key: keys.pop(key) for key in ("max_parallel", "inputs") if key in keys}
    step = {"agent": "sleep", "with": {"seconds": seconds}, **keys}
    return {"name": name, **top, "steps": [{"id": f"s{number}", **step} for number in range(count)]}


def test_a_run_of_which_two_steps_may_run(client: Client) -> None:
    ended = client.submit(limited("bounded", 0.05, 5, max_parallel=2)).wait(SECONDS)
    assert ended.state is RunState.SUCCESS
    assert most_at_a_time([ended]) <= 2
    held = client.submit(limited("bounded", 600, 5, max_parallel=2))
    eventually(lambda: states(held) == [*["ready"] * 3, *["running"] * 2], within=SECONDS, what="two of five run")
    held.cancel()


def test_limits_of_one_group_reach_over_runs_and_depend_on_inputs(client: Client) -> None:
    limit = {"group": "tenant {inputs.tenant}", "limit": 1}

    def deploy(tenant: str, seconds: float) -> RunHandle:
        definition = limited("deploy", seconds, inputs={"tenant": None}, concurrency=limit)
        return client.submit(definition, {"tenant": tenant})

    held = deploy("a", 600)
    eventually(lambda: states(held) == ["running"], within=SECONDS, what="the first one runs")
    others = [deploy("a", 0.1) for _ in range(3)]
    assert deploy("b", 0).wait(SECONDS).state is RunState.SUCCESS
    assert states(*others) == ["ready"] * 3
    held.cancel()
    ended = [handle.wait(SECONDS) for handle in others]
    assert {run.state for run in ended} == {RunState.SUCCESS}
    assert most_at_a_time(ended) == 1


def test_what_one_more_does(client: Client) -> None:
    def definition(seconds: float, on_conflict: str) -> dict[str, Any]:
        return limited("one", seconds, concurrency={"group": "only", "on_conflict": on_conflict})

    first = client.submit(definition(600, "queue"))
    eventually(lambda: first.status().steps["s0"].state is StepState.RUNNING, within=SECONDS, what="it runs")
    skipped = client.submit(definition(0, "skip")).wait(SECONDS)
    assert (skipped.state, skipped.steps["s0"].state) == (RunState.SUCCESS, StepState.SKIPPED)
    assert first.id in (skipped.steps["s0"].error or "")
    latest = client.submit(definition(0, "cancel_running"))
    assert latest.wait(SECONDS).state is RunState.SUCCESS
    ended = first.wait(SECONDS)
    assert ended.state is RunState.CANCELLED
    assert latest.id in (ended.reason or "")


def test_steps_of_two_runs_share_a_rate(client: Client) -> None:
    """Three tokens that come back within a second and a half: three at once, the others one by one."""
    definition = limited("polite", 0.0, 3, rate_limit={"key": "peer", "limits": ["3/1.5s", "100/m"]})
    seconds, micros = client.redis.time()
    runs = [client.submit(definition) for _ in range(2)]
    ended = [handle.wait(SECONDS) for handle in runs]
    begun = sorted(step.queued_at or 0 for run in ended for step in run.steps.values())
    after = [at - seconds - micros / 1e6 for at in begun]
    assert all(waited >= least - 0.001 for waited, least in zip(after, (0, 0, 0, 0.5, 1, 1.5), strict=True)), after
