"""Steps whose results come from the cache, on real workers: what is computed again, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Client
from orchestrator.cache.levels import READS, rules_of
from orchestrator.cache.store import Cache
from orchestrator.client import RunHandle
from orchestrator.keys import cache_place, run_key
from orchestrator.run.models import RunState, StepState
from tests.conftest import Store
from tests.workers import Worker, eventually, idle

SECONDS = 40


@pytest.fixture(scope="module")
def caching(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a worker with four slots for the agents of `caching_app`."""
    directory = tmp_path_factory.mktemp("caching")
    with Worker(module_store.url, directory, app="tests.engine.caching_app"), Client(module_store.url) as client:
        yield client


@pytest.fixture(autouse=True)
def empty(caching: Client) -> None:
    """Nothing is cached: what the test before has computed, and stored after the end of its run, is gone."""
    idle(caching)
    for rules in rules_of(caching.settings).values():
        Cache(caching.redis, rules).clear()


def step(name: str, log: Path, *needs: str, agent: str = "baker", **keys: Any) -> dict[str, Any]:
    parameters = {"log": str(log)} | keys.pop("parameters", {})
    return {"id": name, "agent": agent, "needs": list(needs), "with": parameters} | keys


def ran(client: Client, steps: list[dict[str, Any]], **inputs: Any) -> tuple[RunHandle, set[str]]:
    """A run that has ended well, and which of its steps were cached."""
    run = client.submit({"name": "bakery", "steps": steps}, inputs)
    status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, status
    return run, {one.id for one in status.steps.values() if one.state is StepState.CACHED}


def test_only_what_depends_on_a_changed_input_is_computed_again(caching: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps = [
        step("flour", log, parameters={"inputs": ["mill"]}),
        step("filling", log, parameters={"inputs": ["fruit"]}),
        step("dough", log, "flour", parameters={"paths": ["flour.used.mill"]}),
        step("glaze", log, "filling", parameters={"paths": ["filling.sugar"]}),
        step("cake", log, "dough", "filling", parameters={"paths": ["dough.used", "filling"], "shared": ["board"]}),
    ]
    first, cached = ran(caching, steps, mill="old", fruit="apple")
    assert cached == set()
    again, cached = ran(caching, steps, mill="old", fruit="apple")
    assert cached == {"flour", "filling", "dough", "glaze", "cake"}
    assert (again.result(), again.context(), again.artifacts()) == (first.result(), first.context(), first.artifacts())
    status = again.status().steps["cake"]
    assert (status.reason or "").startswith(f"cached: as in run {first.id}, where it took ")
    assert [event.state for event in again.events(follow=False) if event.step == "cake"][-1] == "cached"
    changed, cached = ran(caching, steps, mill="old", fruit="pear")
    assert cached == {"flour", "dough", "glaze"}, "the glaze has never read what changed"
    assert changed.result()["cake"]["used"]["filling"]["used"] == {"fruit": "pear"}
    assert changed.context()["board"] == {"cake": 2}
    assert sorted(log.read_text().split()) == sorted([*(one["id"] for one in steps), "filling", "cake"])


def test_a_group_of_cached_members_is_joined_as_if_they_had_worked(caching: Client, tmp_path: Path) -> None:
    members = [step(f"m{number}", tmp_path / "log", parameters={"shared": ["board"]}) for number in range(3)]
    document = {
        "name": "party", "steps": [step("table", tmp_path / "log", "g", parameters={"paths": ["board"]})],
        "execution_groups": {"g": {"agents": members, "parallel_capable": True}},
    }  # fmt: skip
    for _ in range(2):
        run = caching.submit(document)
        status = run.wait(SECONDS)
        assert status.state is RunState.SUCCESS
        assert run.result()["table"]["used"]["board"] == {"m0": 0, "m1": 0, "m2": 0}
    joined = [run.context("barrier:g") for _ in range(3)]
    assert joined[0]["board"] == {"m0": 0, "m1": 0, "m2": 0}
    assert joined[0] == joined[1] == joined[2]
    looked = caching.caches["context_snapshot"].stats()
    assert (looked.stores, looked.hits, list(looked.families)) == (1, 2, ["@g"]), "put together once"
    assert {one.state for one in status.steps.values()} == {StepState.CACHED}


@pytest.mark.parametrize(
    ("keys", "cached"),
    [({}, False), ({"cache": True}, True), ({"cache": 3600}, True), ({"cache": "1ms"}, False)],
    ids=["the agent says no", "the step says yes", "young enough", "too old"],
)
def test_a_step_may_say_so_or_how_old_a_result_may_be(
    caching: Client, tmp_path: Path, keys: dict[str, Any], cached: bool
) -> None:
    steps = [step("counted", tmp_path / "log", agent="shop", **keys)]
    assert ran(caching, steps)[0].result()["counted"] == {"count": 0}
    run, found = ran(caching, steps)
    assert run.result()["counted"] == {"count": 0 if cached else 1}
    assert found == ({"counted"} if cached else set())


def test_a_step_may_say_no(caching: Client, tmp_path: Path) -> None:
    steps = [step("bread", tmp_path / "log", cache=False)]
    ran(caching, steps)
    assert ran(caching, steps)[1] == set()
    assert ran(caching, [step("bread", tmp_path / "log")])[1] == set(), "nothing was kept for those who do not"


def test_other_parameters_are_another_result(caching: Client, tmp_path: Path) -> None:
    ran(caching, [step("bread", tmp_path / "log", parameters={"gives": {"loaves": 1}})])
    run, cached = ran(caching, [step("bread", tmp_path / "log", parameters={"gives": {"loaves": 2}})])
    assert (cached, run.result()["bread"]["loaves"]) == (set(), 2)


def test_a_step_that_is_begun_anew_by_hand_is_computed_anew(caching: Client, tmp_path: Path) -> None:
    steps = [step("bread", tmp_path / "log")]
    run = ran(caching, steps)[0]
    run.retry("bread")
    assert run.wait(SECONDS).steps["bread"].state is StepState.SUCCESS
    assert (tmp_path / "log").read_text().split() == ["bread", "bread"]
    assert ran(caching, steps)[1] == {"bread"}


@pytest.mark.parametrize("agent", ["locking", "chatty"])
def test_what_was_read_under_a_lock_or_told_in_messages_is_not_kept(
    caching: Client, tmp_path: Path, agent: str
) -> None:
    steps = [step("careful", tmp_path / "log", agent=agent)]
    ran(caching, steps)
    run, cached = ran(caching, steps)
    assert (cached, run.result()["careful"]["count"]) == (set(), 1)


def test_two_runs_at_once_compute_a_step_once(caching: Client, tmp_path: Path) -> None:
    go, steps = tmp_path / "go", [step("cooks", tmp_path / "log", agent="slow")]
    runs = [caching.submit({"name": "bakery", "steps": steps}, {"go": str(go)}) for _ in range(3)]
    eventually(lambda: _waiting(caching) == 2, within=SECONDS, what="two wait for the third")
    go.touch()
    states = sorted(run.wait(SECONDS).steps["cooks"].state for run in runs)
    assert states == ["cached", "cached", "success"]
    assert (tmp_path / "log").read_text().split() == ["cooks"]


def test_a_killed_computer_is_replaced(caching: Client, tmp_path: Path) -> None:
    """Its own step goes on with another attempt; whoever is first computes, and the other one takes that."""
    go, steps = tmp_path / "go", [step("cooks", tmp_path / "log", agent="slow", parameters={"dies": True})]
    runs = [caching.submit({"name": "bakery", "steps": steps}, {"go": str(go)}) for _ in range(2)]
    eventually(lambda: _waiting(caching) == 1, within=SECONDS, what="one waits for the other")
    go.touch()
    states = sorted(run.wait(SECONDS).steps["cooks"].state for run in runs)
    assert states == ["cached", "success"]
    assert [run.result()["cooks"] for run in runs] == [{"before": 1}] * 2


def _waiting(client: Client) -> int:
    """How many wait for somebody's result."""
    found: Any = client.redis.keys(run_key(cache_place(READS), "waits:*"))
    return sum(int(client.redis.scard(key)) for key in found)


def test_steps_without_a_cache_ask_nothing_of_it(caching: Client, tmp_path: Path) -> None:
    ran(caching, [step("counted", tmp_path / "log", agent="shop")])
    left: Any = caching.redis.keys("orc:{cache.*")
    assert [key for key in left if b":wake:" not in key] == []
