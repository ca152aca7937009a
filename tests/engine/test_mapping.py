"""Mapped steps on real workers: what each pattern gives, how failures are judged, how a run with them is steered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Client
from orchestrator.run.models import RunState, RunStatus
from tests.conftest import Store
from tests.workers import Worker, eventually, idle, time_is_over

SECONDS = 40
QUICK = {"initial_interval": 0.05, "maximum_attempts": 2}
ONCE = {"maximum_attempts": 1}


@pytest.fixture(scope="module")
def client(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a worker with four processes for the agents of `mapping_app`."""
    directory = tmp_path_factory.mktemp("mapping")
    with Worker(module_store.url, directory, app="tests.engine.mapping_app"), Client(module_store.url) as connected:
        yield connected


def mapped(name: str, items: Any, agent: str = "double", /, **keys: Any) -> dict[str, Any]:
    written = {key.removesuffix("_"): value for key, value in keys.items()}
    return {"id": name, "for_each": items, "agent": agent, "retry": ONCE} | written


def ran(client: Client, *steps: dict[str, Any], inputs: dict[str, Any] | None = None) -> tuple[RunStatus, Any]:
    handle = client.submit({"name": "mapped", "steps": list(steps)}, inputs)
    status = handle.wait(SECONDS)
    return status, handle.result()


def test_results_come_in_the_order_of_the_items(client: Client) -> None:
    status, result = ran(client, mapped("a", list(range(100))))
    assert status.state is RunState.SUCCESS, status
    assert result == {"a": {"count": 100, "failed": 0, "results": list(range(0, 200, 2))}}


def test_items_come_from_inputs_from_other_steps_and_from_large_results(client: Client) -> None:
    """The path may stand in `${...}`; results above a megabyte are a reference that the next mapped step follows."""
    status, result = ran(
        client,
        {"id": "source", "agent": "list", "with": {"count": 4}},
        mapped("given", "${inputs.rows}", concurrency=2),
        mapped("read", "source.numbers"),
        mapped("large", "rows", "pad", with_={"bytes": 200_000}),
        mapped("behind", "large.results", "length"),
        mapped("nothing", []),
        inputs={"rows": list(range(8))},
    )
    assert status.state is RunState.SUCCESS, status
    assert result["given"]["results"] == list(range(0, 16, 2))
    assert result["read"]["results"] == [0, 2, 4, 6]
    assert result["large"]["results"] == {"items_of": "large", "count": 8}
    assert result["behind"]["results"] == [200_000] * 8
    assert result["nothing"] == {"count": 0, "failed": 0, "results": []}


def test_items_that_were_worked_on_before_are_taken_from_the_cache(client: Client, tmp_path: Path) -> None:
    """Wherever they stand now; not for another parameter, nor after another value of what the agent has read."""
    log = tmp_path / "log"

    def counted(items: list[Any], rate: int, **keys: Any) -> tuple[Any, list[str]]:
        log.write_text("")
        priced = mapped("priced", items, "priced", with_={"log": str(log)}, concurrency=2, **keys)
        status, result = ran(client, priced, inputs={"rate": rate, "other": len(items)})
        assert status.state is RunState.SUCCESS, status
        return result["priced"]["results"], sorted(log.read_text().split())

    assert counted([1, 2, 3], 10) == ([10, 20, 30], ["1", "2", "3"])
    assert counted([3, 4, 1, 2], 10) == ([30, 40, 10, 20], ["4"])
    assert counted([1, 2], 20) == ([20, 40], ["1", "2"])
    assert counted([1, 4], 10, cache=False) == ([10, 40], ["1", "4"])
    assert counted([1, 5], 10, cache=True) == ([10, 50], ["5"])
    log.write_text("")
    steps = [mapped("priced", [1, 5], "priced", with_={"log": str(log)})]
    run = client.submit({"name": "mapped", "steps": steps}, {"rate": 10})
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert log.read_text() == ""
    run.retry("priced")
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert sorted(log.read_text().split()) == ["1", "5"], "what is begun anew by hand is computed anew"


def test_a_pipeline_maps_filters_and_reduces(client: Client) -> None:
    pipeline = [{"map": "double", "concurrency": 2}, {"map": "add", "with": {"n": 1}, "concurrency": 2},
                {"filter": "third"}, {"reduce": "total", "concurrency": 2}]  # fmt: skip
    rows = [2 * number + 1 for number in range(300)]
    kept = [number for number in rows if number % 3 == 0]
    status, result = ran(
        client,
        mapped("whole", list(range(300))) | {"pipeline": pipeline},
        mapped("kept", list(range(300))) | {"pipeline": pipeline[:3], "chunk_size": 7},
        mapped("empty", []) | {"pipeline": pipeline},
    )
    assert status.state is RunState.SUCCESS, status
    assert result["whole"] == {"count": 300, "failed": 0, "result": sum(kept)}
    assert result["kept"] == {"count": 300, "failed": 0, "results": kept}
    assert result["empty"] == {"count": 0, "failed": 0, "result": None}


def test_a_stage_starts_while_the_one_before_still_runs_and_does_not_run_far_ahead(client: Client) -> None:
    """Stage 1 is quick, stage 2 slow: when the last item enters stage 2, no more than its room has waited before it."""
    slow = {"map": "stamped", "with": {"seconds": 0.02}, "concurrency": 1}
    stages = [{"map": "stamped", "concurrency": 1}, slow]
    status, result = ran(client, mapped("a", list(range(40))) | {"pipeline": stages, "chunk_size": 1})
    assert status.state is RunState.SUCCESS, status
    first = [row[0][1] for row in result["a"]["results"]]
    second = [row[1] for row in result["a"]["results"]]
    assert second[0] < first[-1]
    ahead = max(sum(moment < second[at] for moment in first) - at for at in range(40))
    assert 1 <= ahead <= 5, "one in work, two that wait, one in the hands of each lane"


def test_forks_are_joined_by_their_merge(client: Client) -> None:
    numbers = [(7 * number) % 31 for number in range(31)]
    forked = {"for_each": "numbers", "retry": ONCE}
    status, result = ran(
        client,
        {"id": "merged", **forked, "fork_join": {"forks": 4, "agent": "sort", "merge": "join"}},
        {"id": "joined", **forked, "fork_join": {"forks": 2, "agent": "sort"}},
        inputs={"numbers": numbers},
    )
    assert status.state is RunState.SUCCESS, status
    assert result["merged"]["result"] == {"slices": 4, "sorted": sorted(numbers)}
    assert result["joined"]["result"] == sorted(numbers[:16]) + sorted(numbers[16:])


def test_each_item_has_its_attempts_and_the_policy_of_barriers_judges_what_failed(client: Client) -> None:
    """Item 3 is liked at the second attempt, item 5 never; nobody else is called twice."""
    liked = {"fail": [3, 5], "times": 1}
    hated = {"fail": [3]}
    items = list(range(20))
    partial = {"on_timeout": "continue_with_partial"}
    status, result = ran(
        client,
        mapped("again", items, with_=liked, retry=QUICK),
        mapped("strict", items, with_=hated, barrier={"on_timeout": "extend_timeout"}),
        mapped("enough", items, with_=hated, barrier={"min_success": "90%"}),
        mapped("filled", items, with_=hated, barrier=partial, defaults={"instead": True}),
        mapped("lacking", items, with_=hated, barrier={"min_success": 20, **partial}, defaults={"instead": True}),
        mapped("turned", items, with_={"fail": [3], "times": 1}, barrier={"on_timeout": "abort_and_fallback"}),
    )  # fmt: skip
    found = {name: (step.state.value, step.error) for name, step in status.steps.items()}
    error = "ItemsFailed: 1 of 20 items failed: item 3: ValueError: 3 is not liked"
    assert found.pop("strict") == found.pop("lacking") == ("failed", error)
    assert set(found.values()) == {("success", None)}, found
    doubled = [2 * item for item in items]
    assert result["again"]["results"] == result["turned"]["results"] == doubled
    assert result["enough"] == {"count": 20, "failed": 1, "results": [value for value in doubled if value != 6]}
    assert result["filled"]["results"] == [{"instead": True} if value == 6 else value for value in doubled]
    assert {mark.step: mark.message for mark in status.quality} == {
        name: f"1 of 20 items of {name} gave no result" for name in ("enough", "filled")
    }


def test_what_no_item_may_do_and_what_is_no_list_is_said(client: Client) -> None:
    status, _ = ran(
        client,
        mapped("writes", [1], "writer", barrier={"on_timeout": "extend_timeout"}),
        mapped("no_list", "text"),
        mapped("no_answer", [1]) | {"pipeline": [{"filter": "double"}], "barrier": {"on_timeout": "extend_timeout"}},
        inputs={"text": "abc"},
    )
    errors = {name: step.error or "" for name, step in status.steps.items()}
    assert "agent 'writer' wrote beside its result" in errors["writes"]
    said = "InvalidValue: step 'no_list' maps over 'text', which is no list but a text; give it as JSON: --input text:="
    assert errors["no_list"].startswith(said)
    assert "a filter says true or false; agent 'double' returned 2" in errors["no_answer"]


def test_a_retry_runs_what_failed_and_nothing_else(client: Client, tmp_path: Path) -> None:
    folder = {"folder": str(tmp_path)}
    (tmp_path / "fail").touch()
    step = mapped("a", list(range(200)), "moody", with_=folder, barrier={"on_timeout": "extend_timeout"})
    after = {"id": "b", "for_each": "a.results", "agent": "double"}
    handle = client.submit({"name": "mapped", "steps": [step, after]})
    status = handle.wait(SECONDS)
    assert (status.steps["a"].state, status.steps["b"].state) == ("failed", "upstream_failed")
    assert "20 of 200 items failed" in (status.steps["a"].error or "")
    (tmp_path / "fail").unlink()
    handle.retry(failed=True)
    status = handle.wait(SECONDS)
    assert status.state is RunState.SUCCESS, status
    assert handle.result()["b"]["results"] == [2 * number for number in range(200)]
    calls = client.redis.hgetall(f"effects:{handle.id}:moody")
    assert {int(place): int(count) for place, count in calls.items()} == {
        n: 2 if n % 10 == 3 else 1 for n in range(200)
    }
    handle.retry("a")
    assert handle.wait(SECONDS).state is RunState.SUCCESS
    calls = client.redis.hgetall(f"effects:{handle.id}:moody")
    assert sum(map(int, calls.values())) == 420, "a retry of a step that succeeded runs all of it"


def test_an_item_that_kills_its_processes_is_poisoned_and_its_neighbours_are_not(client: Client) -> None:
    """Chunks of ten: one kills thrice and lives, one for ever. Afterwards the step is in the dead-letter list."""
    lived = mapped("lived", list(range(30)), "killer", with_={"kill": [4], "times": 2}, retry={"maximum_attempts": 3})
    dead = mapped("dead", list(range(30)), "killer", with_={"kill": [14]}, retry={"maximum_attempts": 2})
    keys = {"chunk_size": 10, "concurrency": 1, "barrier": {"on_timeout": "extend_timeout"}}
    handle = client.submit({"name": "mapped", "steps": [lived | keys, dead | keys]})
    status = handle.wait(SECONDS)
    assert handle.result()["lived"]["results"] == list(range(30))
    assert status.steps["dead"].error == "ItemsFailed: 1 of 30 items failed: item 14: AgentError: its process died"
    assert status.steps["dead"].reason == "poisoned"
    calls = {int(place): int(count) for place, count in client.redis.hgetall(f"effects:{handle.id}:killer").items()}
    assert set(calls) == set(range(30))


def test_a_pause_holds_items_back_and_a_cancel_ends_them(client: Client, tmp_path: Path) -> None:
    step = mapped("a", list(range(40)), "held", with_={"folder": str(tmp_path)}, chunk_size=1, concurrency=2)
    handle = client.submit({"name": "mapped", "steps": [step]})
    eventually(lambda: len(list(tmp_path.glob("begun-*"))) == 2, within=SECONDS, what="two items have begun")
    handle.pause()
    (tmp_path / "go").touch()
    eventually(lambda: handle.status().steps["a"].message == "2 of 40 items", within=SECONDS, what="they have ended")
    assert handle.status().state is RunState.PAUSED
    assert len(list(tmp_path.glob("begun-*"))) == 2, "nothing starts in a pause"
    (tmp_path / "go").unlink()
    handle.resume()
    eventually(lambda: len(list(tmp_path.glob("begun-*"))) == 4, within=SECONDS, what="two more have begun")
    handle.cancel()
    status = handle.wait(SECONDS)
    assert (status.state, status.steps["a"].state) == ("cancelled", "cancelled")
    assert len(list(tmp_path.glob("begun-*"))) == 4
    (tmp_path / "go").touch()
    handle.retry(failed=True)
    assert handle.wait(SECONDS).state is RunState.SUCCESS
    assert handle.result()["a"]["results"] == list(range(40))


def test_a_timeout_ends_the_step_or_goes_on_with_what_there_is(client: Client, tmp_path: Path) -> None:
    one = {"chunk_size": 1, "concurrency": 1, "timeout": 600}
    late = mapped("late", list(range(3)), "held", with_={"folder": str(tmp_path)}, **one)
    steps = [
        mapped("partial", [0.01, 0.01, 600], "slow", defaults={"late": True}, **one)
        | {"barrier": {"on_timeout": "continue_with_partial"}},
        late | {"barrier": {"on_timeout": "extend_timeout"}},
    ]
    handle = client.submit({"name": "mapped", "steps": steps})
    eventually(lambda: handle.status().steps["partial"].message == "2 of 3 items", within=SECONDS, what="one is left")
    eventually((tmp_path / "begun-0").exists, within=SECONDS, what="the other step works")
    for name in ("partial", "late"):
        time_is_over(client, handle.id, f"timeout:{name}")
    status, result = handle.wait(SECONDS), handle.result()
    assert status.steps["partial"].state == "success"
    assert result["partial"] == {"count": 3, "failed": 1, "results": [0.01, 0.01, {"late": True}]}
    assert status.steps["late"].state == "timed_out"
    assert status.steps["late"].error == "StepTimeout: 0 of 3 items had ended in time"


def test_an_item_has_its_own_time(client: Client) -> None:
    """One that sleeps on and one that catches the error are both ended; their neighbours are not."""
    keys = {"item_timeout": "2s", "chunk_size": 2, "concurrency": 2, "barrier": {"min_success": 2}}
    status, result = ran(client, mapped("a", [0, 600, "stubborn", 0], "slow", **keys))
    assert status.steps["a"].state == "success", status
    assert result["a"] == {"count": 4, "failed": 2, "results": [0, 0]}
    said = [line.text for line in client.get(status.run_id).logs("a") if "StepTimeout" in line.text]
    assert len(said) == 2, said
    assert all("the item took longer than 2 s" in text for text in said)


def test_a_mapped_step_leaves_nothing_behind_that_does_not_expire(client: Client) -> None:
    handle = client.submit({"name": "mapped", "steps": [mapped("a", [1, 2, 3], with_={"fail": [2]})]})
    handle.wait(SECONDS)
    idle(client)
    names = [name for name in client.redis.keys(f"orc:{{{handle.id}}}:*") if client.redis.ttl(name) == -1]
    assert names == []
