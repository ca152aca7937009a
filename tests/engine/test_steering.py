"""Pausing, resuming, retrying and cancelling runs on a real worker, and what is parked when a step kills processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator import AsyncClient, Client, RunHandle
from orchestrator.engine import steering
from orchestrator.engine.routing import agent_queue
from orchestrator.engine.runtime import ledger
from orchestrator.errors import NotFound, RunStateError
from orchestrator.run import dead_letters
from orchestrator.run.models import RunState, RunStatus, StepState
from tests.conftest import Store
from tests.workers import Worker, eventually, time_is_over

SECONDS = 40


@pytest.fixture(scope="module")
def client(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a worker with four processes for the agents of `steering_app`."""
    directory = tmp_path_factory.mktemp("steering")
    with Worker(module_store.url, directory, app="tests.engine.steering_app"), Client(module_store.url) as connected:
        yield connected


def step(folder: Path, name: str, *needs: str, agent: str = "worker", **parameters: Any) -> dict[str, Any]:
    parameters |= {"folder": str(folder)} if agent != "bomb" else {}
    retry = {"maximum_attempts": 3 if agent == "bomb" else 1}
    return {"id": name, "agent": agent, "needs": list(needs), "with": parameters, "retry": retry}


def group(folder: Path, *members: str, **parameters: Any) -> dict[str, Any]:
    listed = [step(folder, name, **parameters) for name in members]
    barrier = {"on_timeout": ["extend_timeout"]}  # no fallback: what fails is left to the test
    return {"g": {"agents": listed, "parallel_capable": True, "dependencies": ["a"], "barrier": barrier}}


def states(status: RunStatus) -> dict[str, str]:
    return {name: one.state.value for name, one in status.steps.items()}


def begun(folder: Path, *names: str) -> None:
    eventually(lambda: all((folder / f"begun-{name}").exists() for name in names), within=SECONDS, what="all begin")


def effects(folder: Path) -> list[str]:
    return sorted((folder / "effects").read_text().split())


def test_a_pause_lets_what_runs_end_and_resume_goes_on_from_there(client: Client, tmp_path: Path) -> None:
    """In the middle of a chain and before a group; the second pause takes a chord apart."""
    run = client.submit(
        {
            "name": "paused",
            "steps": [step(tmp_path, "a", wait=True), step(tmp_path, "d", "b", "c")],
            "execution_groups": group(tmp_path, "b", "c"),
        }
    )
    begun(tmp_path, "a")
    assert run.pause() is RunState.PAUSED
    (tmp_path / "go").touch()
    eventually(lambda: run.status().steps["a"].state is StepState.SUCCESS, within=SECONDS, what="a ends")
    assert states(run.status()) == {"a": "success", "b": "ready", "c": "ready", "d": "pending"}
    assert run.resume() is RunState.RUNNING
    status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, states(status)
    assert effects(tmp_path) == ["a#1", "b#1", "c#1", "d#1"]
    told = [event.state for event in run.events() if event.type == "run"]
    assert told == ["pending", "running", "paused", "running", "success"]


def test_queued_members_that_a_pause_took_back_are_joined_all_the_same(client: Client, tmp_path: Path) -> None:
    """Six members on four processes: two are still queued when the run is paused."""
    members = [f"m{number}" for number in range(6)]
    run = client.submit(
        {
            "name": "apart",
            "steps": [step(tmp_path, "a"), step(tmp_path, "z", *members)],
            "execution_groups": group(tmp_path, *members, wait=True),
        }
    )

    def running() -> int:
        return list(states(run.status()).values()).count("running")

    eventually(lambda: running() == 4, within=SECONDS, what="four members run")
    run.pause()
    assert sorted(states(run.status()).values()) == ["pending", *["ready"] * 2, *["running"] * 4, "success"]
    (tmp_path / "go").touch()
    eventually(lambda: not running(), within=SECONDS, what="the four end")
    assert list(states(run.status()).values()).count("ready") == 2
    run.resume()
    status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, states(status)
    assert effects(tmp_path) == ["a#1", *(f"{name}#1" for name in members), "z#1"]


def failed_group(client: Client, folder: Path) -> RunHandle:
    """Of a group in which one member has failed; its first step waits for the file `go`, which is there."""
    for name in ("fail-c", "go"):
        (folder / name).touch()
    run = client.submit(
        {
            "name": "retried",
            "steps": [step(folder, "a", wait=True), step(folder, "d", "b", "c"), step(folder, "e", "a")],
            "execution_groups": group(folder, "b", "c"),
        }
    )
    assert run.wait(SECONDS).state is RunState.FAILED
    assert states(run.status()) == {
        "a": "success", "b": "success", "c": "failed", "d": "upstream_failed", "e": "success",
    }  # fmt: skip
    (folder / "fail-c").unlink()
    return run


def test_a_retry_of_what_failed_leaves_good_steps_alone(client: Client, tmp_path: Path) -> None:
    run = failed_group(client, tmp_path)
    assert run.retry(failed=True) is RunState.RUNNING
    status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, states(status)
    assert effects(tmp_path) == ["a#1", "b#1", "c#2", "d#1", "e#1"]
    assert set(run.result()) == set("abcde")
    assert [event.state for event in run.events() if event.type == "run"] == [
        "pending", "running", "failed", "running", "success",
    ]  # fmt: skip
    with pytest.raises(RunStateError, match=r"nothing in run .* has failed"):
        run.retry(failed=True)


def test_a_retry_of_one_step_and_of_the_whole_run(client: Client, tmp_path: Path) -> None:
    """With the asyncio client, and twice: each time the chord of the group is a new one."""

    async def use() -> None:
        async with AsyncClient(client.store_url) as asynchronous:
            handle = await asynchronous.get(run.id)
            await handle.retry("b")
            assert (await handle.wait(SECONDS)).state is RunState.FAILED, "c is failed as before"
            (tmp_path / "go").unlink()
            await handle.retry()
            assert await handle.pause() is RunState.PAUSED
            (tmp_path / "go").touch()
            await handle.resume()
            assert (await handle.wait(SECONDS)).state is RunState.SUCCESS
            told = [event.state async for event in handle.events() if event.type == "run" and event.ends_run]
            assert told == ["failed", "failed", "success"]

    run = failed_group(client, tmp_path)
    asyncio.run(use())
    assert effects(tmp_path) == ["a#1", "a#2", "b#1", "b#2", "b#3", "c#2", "d#1", "e#1", "e#2"]
    with pytest.raises(NotFound, match="did you mean"):
        run.retry("bb")


class Died(BaseException):
    """What a process does not survive."""


def test_a_client_that_dies_before_it_publishes_a_retry_loses_nothing(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Died

    (tmp_path / "fail-a").touch()
    run = client.submit({"name": "lost", "steps": [step(tmp_path, "a"), step(tmp_path, "b", "a")]})
    assert run.wait(SECONDS).state is RunState.FAILED
    (tmp_path / "fail-a").unlink()
    monkeypatch.setattr(steering, "follow", die)
    with pytest.raises(Died):
        steering.retry(client.app, ledger(client.redis, client.settings), run.id, failed=True)
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert effects(tmp_path) == ["a#2", "b#1"]


def test_a_step_is_retried_while_the_rest_of_the_run_goes_on(client: Client, tmp_path: Path) -> None:
    (tmp_path / "fail-a").touch()
    run = client.submit(
        {"name": "going", "steps": [step(tmp_path, "a"), step(tmp_path, "z", wait=True), step(tmp_path, "b", "a")]}
    )
    begun(tmp_path, "z")
    eventually(lambda: run.status().steps["b"].state is StepState.UPSTREAM_FAILED, within=SECONDS, what="a fails")
    (tmp_path / "fail-a").unlink()
    run.retry("a")
    eventually(lambda: run.status().steps["b"].state is StepState.SUCCESS, within=SECONDS, what="b runs after all")
    (tmp_path / "go").touch()
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert effects(tmp_path) == ["a#2", "b#1", "z#1"]


def test_cancelling_reaches_an_agent_that_looks_and_ends_one_that_does_not(client: Client, tmp_path: Path) -> None:
    run = client.submit(
        {
            "name": "cancelled",
            "steps": [
                step(tmp_path, "deaf", agent="deaf"),
                step(tmp_path, "polite", agent="polite"),
                step(tmp_path, "next", "deaf"),
            ],
        }
    )
    begun(tmp_path, "polite")
    eventually((tmp_path / "pid").exists, within=SECONDS, what="the deaf one begins")
    process = psutil.Process(int((tmp_path / "pid").read_text()))
    run.cancel("enough")
    eventually((tmp_path / "noticed").exists, within=SECONDS, what="the polite one has looked")
    time_is_over(client, run.id, "cancel:deaf")
    status = run.wait(SECONDS)
    assert (status.state, status.reason) == (RunState.CANCELLED, "enough")
    assert set(states(status).values()) == {"cancelled"}
    eventually(lambda: not process.is_running(), within=SECONDS, what="the child of the deaf one is ended")
    assert client.submit({"name": "on", "steps": [step(tmp_path, "a")]}).wait(SECONDS).state is RunState.SUCCESS


def test_what_a_step_completes_after_its_run_was_cancelled_counts_for_nothing(client: Client, tmp_path: Path) -> None:
    """It had been claimed before, and does all its work in the time that it is given to end."""
    run = client.submit({"name": "late", "steps": [step(tmp_path, "late", wait=True), step(tmp_path, "next", "late")]})
    begun(tmp_path, "late")
    run.cancel()
    (tmp_path / "go").touch()
    status = run.wait(SECONDS)
    assert (tmp_path / "effects").read_text() == "late#1\n", "it came to its end"
    assert states(status) == {"late": "cancelled", "next": "cancelled"}
    assert (run.result(), run.context(), status.steps["next"].attempts) == ({}, {}, 0)


def test_a_step_that_kills_every_process_is_parked_and_can_be_tried_again(client: Client, tmp_path: Path) -> None:
    """Three attempts, then by hand three more, of which the second is good."""
    run = client.submit({"name": "bomb", "steps": [step(tmp_path, "bomb", agent="bomb", times=4), step(tmp_path, "a")]})
    status = run.wait(SECONDS)
    assert states(status) == {"bomb": "failed", "a": "success"}
    (parked,) = [one for one in dead_letters.steps(client.redis) if one.run_id == run.id]
    assert (parked.step, parked.agent, parked.reason, parked.attempts) == ("bomb", "bomb", "poisoned", 3)
    assert "WorkerLost" in parked.error
    run.retry("bomb")
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert run.result()["bomb"] == {"attempt": 5}
    assert run.id not in {one.run_id for one in dead_letters.steps(client.redis)}


MESSAGE = {
    "headers": {"id": "m", "task": "orchestrator.step", "lang": "py", "root_id": "m", "parent_id": None, "group": None},
    "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "q"}, "priority": 0,
                   "body_encoding": "utf-8"},
    "content-type": "application/json", "content-encoding": "utf-8",
}  # fmt: skip


def message(identity: str, *, body: str = "[[], {}, {}]", encoding: str = "utf-8", **headers: Any) -> bytes:
    found = json.loads(json.dumps(MESSAGE)) | {"body": body}
    found["headers"] |= {"id": identity, **headers}
    found["properties"] |= {"delivery_tag": identity, "correlation_id": identity, "body_encoding": encoding}
    return json.dumps(found).encode()


def test_messages_that_nobody_can_run_are_recorded_and_the_worker_goes_on(client: Client, tmp_path: Path) -> None:
    sent = [
        message("unknown", task="orchestrator.of_tomorrow"),
        message("truncated", body="[[], {"),
        message("nested", body="[" * 100_000 + "]" * 100_000),
        message("pickled").replace(b"application/json", b"application/x-python-serialize"),
    ]
    client.redis.lpush(agent_queue("steering"), *sent)
    kept = eventually(
        lambda: len(found := dead_letters.messages(client.redis)) >= 4 and found, within=SECONDS, what="all are kept"
    )
    assert {one.headers["id"]: one.reason for one in kept or ()} == {
        "unknown": "unknown_task", "truncated": "undecodable", "nested": "undecodable", "pickled": "rejected",
    }  # fmt: skip
    found = next(one for one in kept or () if one.reason == "unknown_task")
    assert (found.task, found.queue, found.worker) == ("orchestrator.of_tomorrow", "q", "w1@test")
    assert found.body == "[[], {}, {}]"
    dead_letters.drop_message(client.redis, found.id)
    assert {one.reason for one in dead_letters.messages(client.redis)} == {"undecodable", "rejected"}
    with pytest.raises(NotFound):
        dead_letters.drop_message(client.redis, found.id)
    assert client.submit({"name": "on", "steps": [step(tmp_path, "a")]}).wait(SECONDS).state is RunState.SUCCESS
