"""Locks around the work of agents, on real workers: they live as long as their attempts, and no longer."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Client, keys
from orchestrator.cli import main
from orchestrator.context.locks import Locks
from orchestrator.run.models import RunState, StepState
from tests.conftest import Store
from tests.workers import Worker, eventually

SECONDS = 40
LEASE = 1.5
"""As in the engine file of the tests' workers."""


@pytest.fixture(scope="module")
def locking(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a worker with four slots for the agents of `locking_app`."""
    directory = tmp_path_factory.mktemp("locking")
    with Worker(module_store.url, directory, app="tests.engine.locking_app"), Client(module_store.url) as client:
        yield client


@pytest.fixture
def marks(tmp_path: Path) -> dict[str, str]:
    """Files through which a holder and the test speak."""
    return {"started": str(tmp_path / "started"), "go": str(tmp_path / "go")}


def step(name: str, agent: str = "counter", **parameters: Any) -> dict[str, Any]:
    return {"id": name, "agent": agent, "with": parameters, "retry": {"maximum_attempts": 1}}


def locks(client: Client, run_id: str, store: Store) -> Locks:
    from orchestrator.connection import connect

    return Locks(connect(store.url), run_id)


def test_steps_that_count_under_a_lock_lose_nothing_and_clash_never(locking: Client) -> None:
    names = [f"s{number}" for number in range(16)]
    run = locking.submit({"name": "counters", "steps": [step(name) for name in names]})
    assert run.wait(SECONDS).state is RunState.SUCCESS, run.status()
    seen = [run.result()[name] for name in names]
    assert run.context()["board"] == {"count": 16}
    assert sorted(one["number"] for one in seen) == list(range(1, 17))
    by_token = sorted(seen, key=lambda one: one["token"])
    assert [one["number"] for one in by_token] == list(range(1, 17)), "each read what the one before it had committed"


def test_a_lock_outlives_its_first_lease_and_ends_with_its_attempt(
    locking: Client, module_store: Store, marks: dict[str, str]
) -> None:
    run = locking.submit({"name": "long", "steps": [step("first", "holder", **marks)]})
    eventually(Path(marks["started"]).exists, within=SECONDS, what="the holder holds")
    board = locks(locking, run.id, module_store)
    (first,) = board.holders("board")
    ends = first.ends or 0.0
    eventually(lambda: (board.holders("board")[0].ends or 0.0) > ends + LEASE, within=SECONDS, what="renewed twice")
    Path(marks["go"]).touch()
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert run.result()["first"]["token"] == first.token
    assert board.holders("board") == ()


def test_the_lock_of_a_dead_child_passes_to_the_next(locking: Client, marks: dict[str, str]) -> None:
    dies = step("dies", "holder", dies=True, **marks)
    run = locking.submit({"name": "crash", "steps": [dies, step("next", timeout=10, after=marks["started"])]})
    status = run.wait(SECONDS)
    assert status.steps["dies"].state is StepState.FAILED
    assert status.steps["next"].state is StepState.SUCCESS, status
    assert run.result()["next"]["token"] == 2


def test_a_holder_that_was_stopped_has_lost_its_lock_and_what_it_wrote_under_it(
    store: Store, marks: dict[str, str], tmp_path: Path
) -> None:
    """Worker and child stand still for longer than the lease, and the child wakes up first: it extends its lock, and
    commits what it had read before the others."""
    app, lost = "tests.engine.locking_app", tmp_path / "lost"
    walker = step("walker", "sleepwalker", lost=str(lost), **marks) | {"retry": {"maximum_attempts": 2}, "priority": 9}
    with Client(store.url) as client, Worker(store.url, tmp_path, app=app, concurrency=1) as first:
        run = client.submit({"name": "stopped", "steps": [walker, step("next") | {"priority": 1}]})
        eventually(Path(marks["started"]).exists, within=SECONDS, what="the walker holds")
        with Worker(store.url, tmp_path, name="w2", app=app, concurrency=1), first.frozen() as (_, *children):

            def taken() -> bool:
                walks, other = (run.status().steps[name] for name in ("walker", "next"))
                return other.state == "success" and (walks.state != "running" or walks.attempts > 1)

            eventually(taken, within=SECONDS, what="the next held it, and the walker's attempt is taken for lost")
            Path(marks["go"]).touch()
            for pid in children:
                os.kill(pid, signal.SIGCONT)
            eventually(lost.exists, within=SECONDS, what="the walker is told")
            meta = keys.run_key(run.id, "meta")
            eventually(lambda: client.redis.hget(meta, "late"), within=SECONDS, what="its commit was refused")
            status = run.wait(SECONDS)
        assert lost.read_text() == "step 'walker' lost the lock of 'board' (token 1): its lease was over"
        assert (status.state, status.steps["walker"].attempts) == (RunState.SUCCESS, 2), status
        assert sorted((one["number"], one["token"]) for one in run.result().values()) == [(1, 2), (2, 3)]
        assert run.context()["board"] == {"count": 2}


def test_waiting_is_bounded_and_an_error_of_the_agent(locking: Client, marks: dict[str, str]) -> None:
    late = step("late", timeout=0.3, after=marks["started"])
    run = locking.submit({"name": "late", "steps": [step("first", "holder", **marks), late]})
    eventually(lambda: run.status().steps["late"].state is StepState.FAILED, within=SECONDS, what="it gave up")
    Path(marks["go"]).touch()
    error = run.wait(SECONDS).steps["late"].error
    assert error == "LockTimeout: the lock of 'board' was not free within 0.3 s; held by first (writes)"
    assert run.status().steps["first"].state is StepState.SUCCESS


def test_an_attempt_asks_once(locking: Client) -> None:
    run = locking.submit({"name": "nested", "steps": [step("twice", "nesting")]})
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert "has the lock of 'board' already" in run.result()["twice"]["refused"]


def test_steps_that_declare_a_lock_take_turns_and_no_worker_while_they_wait(
    locking: Client,
    module_store: Store,
    marks: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    declared = {"locks": {"board": "write"}, "priority": 5}
    first = {**step("first", "holder", **marks), **declared, "priority": 9}
    steps = [first, *({**step(f"s{number}", "tally"), **declared} for number in range(8))]
    run = locking.submit({"name": "declared", "steps": [*steps, step("free", "free")]})
    eventually(lambda: run.status().steps["free"].state is StepState.SUCCESS, within=SECONDS, what="a slot is free")
    eventually(Path(marks["started"]).exists, within=SECONDS, what="the holder holds")
    states = {name: status.state for name, status in run.status().steps.items() if name[0] == "s"}
    assert set(states.values()) == {StepState.READY}, run.status()
    monkeypatch.setenv("ORCHESTRATOR_STORE_URL", module_store.url)
    assert main(["context", "locks", run.id]) == 0
    assert "first (writes)" in capsys.readouterr().out
    Path(marks["go"]).touch()
    assert run.wait(SECONDS).state is RunState.SUCCESS, run.status()
    assert sorted(run.result()[name]["number"] for name in states) == list(range(1, 9)), "each saw the one before"
    assert run.context()["board"] == {"count": 8}
    board = locks(locking, run.id, module_store)
    assert (board.holders("board"), board.queue("board")) == ((), ())
    assert main(["context", "locks", run.id, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["board"]
    assert (told["grants"], told["holders"], told["queue"]) == (9, [], [])
    waits = run.locks()["board"]
    assert (waits.grants, waits.waits, waits.late) == (9, 8, 0)
    assert waits.max <= waits.total


def test_the_declared_lock_of_a_dead_child_passes_to_the_next(locking: Client, marks: dict[str, str]) -> None:
    declared = {"locks": {"board": "write"}}
    dies = {**step("dies", "holder", dies=True, **marks), **declared, "priority": 9}
    run = locking.submit({"name": "crash", "steps": [dies, {**step("next", "tally"), **declared}]})
    status = run.wait(SECONDS)
    assert (status.steps["dies"].state, status.steps["next"].state) == (StepState.FAILED, StepState.SUCCESS)


def test_what_an_agent_gives_back_admits_who_waits(locking: Client, marks: dict[str, str]) -> None:
    waits = {**step("waits", "tally"), "locks": {"board": "write"}, "needs": ["second"]}
    steps = [step("first", "holder", **marks), step("second", "counter", after=marks["started"], timeout=0.1)]
    waits["trigger_rule"] = "all_done"
    run = locking.submit({"name": "handed", "steps": [*steps, waits]})
    eventually(lambda: run.status().steps["waits"].state is StepState.READY, within=SECONDS, what="it waits")
    Path(marks["go"]).touch()
    assert run.wait(SECONDS).steps["waits"].state is StepState.SUCCESS


def test_coroutines_go_on_while_one_of_them_waits(
    locking: Client, module_store: Store, marks: dict[str, str]
) -> None:
    run = locking.submit({"name": "async", "steps": [step("first", "holder", **marks), step("p", "patient", **marks)]})
    status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, status
    assert run.context()["board"] == {"count": 1}
    assert locks(locking, run.id, module_store).queue("board") == ()
