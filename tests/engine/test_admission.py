"""Pools with real workers: what is admitted at a time, what is seen of it, and that killed workers leave nothing."""

from __future__ import annotations

import json
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


def running(run: RunHandle) -> int:
    return sum(step.state is StepState.RUNNING for step in run.status().steps.values())


def test_three_agents_at_a_time_and_whoever_needs_nothing_passes(client: Client) -> None:
    """The worker has four children, the pool of agents three places; memory is for two of the second kind."""
    many = [client.submit(wide(f"many{run}", 4, 0.1, cpu=10, memory=10)) for run in range(3)]
    ended = [handle.wait(SECONDS) for handle in many]
    assert {run.state for run in ended} == {RunState.SUCCESS}
    assert most_at_a_time(ended) == 3
    holders = client.submit(wide("holders", 3, 600, cpu=10, memory=10))
    eventually(lambda: running(holders) == 3, within=SECONDS, what="all places are taken")
    assert client.submit(wide("free", 3, 0.0)).wait(SECONDS).state is RunState.SUCCESS
    assert running(holders) == 3
    holders.cancel()
    assert holders.wait(SECONDS).state is RunState.CANCELLED
    heavy = client.submit(wide("heavy", 4, 0.1, cpu=10, memory=50)).wait(SECONDS)
    assert most_at_a_time([heavy]) == 2
    here = pools(client.redis, client.settings)
    eventually(lambda: not here.status().holders, within=SECONDS, what="the last lease is given back")


def test_who_waits_for_what_is_shown(
    client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = client.submit(wide("holder", 1, 3.0, memory=90))
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
    eventually(lambda: running(holder) == 1, within=SECONDS, what="nothing else fits")

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
    first = client.submit(wide("first", 3, 30, memory=30))
    eventually(lambda: first.status().steps["s2"].state is StepState.RUNNING, within=SECONDS, what="all three run")
    second, third = client.submit(wide("second", 1, 0, memory=30)), client.submit(wide("third", 1, 0, memory=30))
    second.pause()
    first.cancel()
    assert third.wait(SECONDS).state is RunState.SUCCESS
    assert second.status().steps["s0"].state is StepState.READY
    second.resume()
    assert second.wait(SECONDS).state is RunState.SUCCESS


def _running(runs: list[RunHandle]) -> int:
    return sum(step.state is StepState.RUNNING for run in runs for step in run.status().steps.values())


def test_killed_workers_leave_no_lease(store: Store, tmp_path: Any) -> None:
    with Client(store.url) as client:
        lost = Worker(store.url, tmp_path, name="lost", concurrency=3).start()
        runs = [client.submit(wide(f"run{number}", 3, 0.3, cpu=40, memory=30)) for number in range(3)]
        here = pools(client.redis, client.settings)
        eventually(lambda: _running(runs) == 3, within=SECONDS, what="three steps run")
        assert len(here.status().holders) == 3
        lost.kill()
        with Worker(store.url, tmp_path, name="next", concurrency=3):
            ended = [handle.wait(SECONDS) for handle in runs]
            assert {run.state for run in ended} == {RunState.SUCCESS}
            eventually(lambda: not here.status().holders, within=SECONDS, what="no lease is left")
            assert {pool.used for pool in here.status().pools} == {0}


def limited(name: str, seconds: float, count: int = 1, **keys: Any) -> dict[str, Any]:
    top: dict[str, Any] = {key: keys.pop(key) for key in ("max_parallel", "inputs") if key in keys}
    step = {"agent": "sleep", "with": {"seconds": seconds}, **keys}
    return {"name": name, **top, "steps": [{"id": f"s{number}", **step} for number in range(count)]}


def test_a_run_of_which_two_steps_may_run(client: Client) -> None:
    ended = client.submit(limited("bounded", 0.1, 5, max_parallel=2)).wait(SECONDS)
    assert ended.state is RunState.SUCCESS
    assert most_at_a_time([ended]) == 2


def test_limits_of_one_group_reach_over_runs_and_depend_on_inputs(client: Client) -> None:
    limit = {"group": "tenant {inputs.tenant}", "limit": 1}
    definition = limited("deploy", 0.3, inputs={"tenant": None}, concurrency=limit)
    runs = [client.submit(definition, {"tenant": tenant}) for tenant in ("a", "a", "a", "b")]
    ended = [handle.wait(SECONDS) for handle in runs]
    assert {run.state for run in ended} == {RunState.SUCCESS}
    assert most_at_a_time(ended[:3]) == 1
    assert most_at_a_time(ended) == 2


def test_what_one_more_does(client: Client) -> None:
    def definition(seconds: float, on_conflict: str) -> dict[str, Any]:
        return limited("one", seconds, concurrency={"group": "only", "on_conflict": on_conflict})

    first = client.submit(definition(30, "queue"))
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
    """Three tokens that come back within a second and a half: two at once of those left, the others one by one."""
    definition = limited("polite", 0.0, 3, rate_limit={"key": "peer", "limits": ["3/1.5s", "100/m"]})
    runs = [client.submit(definition) for _ in range(2)]
    ended = [handle.wait(SECONDS) for handle in runs]
    begun = sorted(step.queued_at or 0 for run in ended for step in run.steps.values())
    assert all(later - earlier >= 0.499 for earlier, later in zip(begun[:3], begun[3:], strict=True))
    assert begun[5] - begun[0] >= 1.49
