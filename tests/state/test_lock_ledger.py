"""Locks and the ledger: attempts keep their locks alive, commit under them, and give them back with their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator import keys
from orchestrator.context.lock_models import Holder, Lock
from orchestrator.context.locks import Locks
from orchestrator.errors import LeaseLost
from orchestrator.run.models import StepState
from orchestrator.run.replies import Claimed, Moved, Unlocked
from orchestrator.workflow.models import GroupSpec, StepSpec, WorkflowSpec
from tests.state.bench import OWNER, Bench


@pytest.fixture
def bench(store_url: str) -> Iterator[Bench]:
    bench = Bench(store_url)
    bench.create(WorkflowSpec(name="two", steps=(StepSpec(id="a", agent="noop"), StepSpec(id="b", agent="noop"))))
    yield bench
    bench.client.close()


def locks(bench: Bench) -> Locks:
    return Locks(bench.client, "run", now=bench.now)


def take(bench: Bench, step: str, section: str = "board") -> tuple[Claimed, Lock]:
    granted = bench.granted(step)
    return granted, locks(bench).acquire(section, holder=Holder(step, granted.token, OWNER), write=True)


def finish(bench: Bench, granted: Claimed, lock: Lock, state: str = "success") -> object:
    step = granted.definition["id"]
    tokens = {lock.section: lock.token}
    return bench.ledger.finish("run", step, state, token=granted.token, snapshot=granted.version, locks=tokens)


@pytest.mark.parametrize("state", ["success", "failed", "retrying", "cancelled"])
def test_the_end_of_an_attempt_hands_its_locks_on(bench: Bench, state: str) -> None:
    granted, lock = take(bench, "a")
    other = bench.granted("b")
    wish = locks(bench).request("board", Holder("b", other.token), write=True)
    assert isinstance(locks(bench).ask(wish), float)
    assert isinstance(finish(bench, granted, lock, state), Moved)
    assert [entry.holder.step for entry in locks(bench).holders("board")] == ["b"]


def test_renewed_attempts_keep_their_locks(bench: Bench) -> None:
    granted, lock = take(bench, "a")
    for _ in range(4):
        bench.now += 4
        bench.ledger.renew("run", ["a", "b"], owner=OWNER, lease=5)
    assert isinstance(finish(bench, granted, lock), Moved)


def test_what_was_written_under_a_lost_lock_is_not_committed(bench: Bench) -> None:
    granted, lock = take(bench, "a")
    bench.now += 6
    take(bench, "b")
    assert finish(bench, granted, lock) == Unlocked("board")
    assert bench.state("a") is StepState.RUNNING
    assert isinstance(finish(bench, granted, lock, "failed"), Moved), "it can still fail"


def test_a_lease_renewed_too_late_brings_no_lock_back(bench: Bench) -> None:
    granted, lock = take(bench, "a")
    bench.now += 6
    bench.ledger.renew("run", ["a"], owner=OWNER, lease=5)
    assert finish(bench, granted, lock) == Unlocked("board")


def test_the_next_attempt_has_nothing_of_the_one_before(bench: Bench) -> None:
    granted, lock = take(bench, "a")
    finish(bench, granted, lock, "retrying")
    assert isinstance(bench.ledger.requeue("run", "a", found="retrying"), Moved)
    again, fresh = take(bench, "a")
    assert fresh.token > lock.token
    with pytest.raises(LeaseLost):
        locks(bench).release(lock)
    assert isinstance(finish(bench, again, fresh), Moved)


def test_a_barrier_that_moves_on_takes_the_locks_of_those_it_ends(store_url: str) -> None:
    bench = Bench(store_url)
    members = tuple(StepSpec(id=name, agent="noop", group="g") for name in "cd")
    bench.create(WorkflowSpec(name="group", steps=members, groups=(GroupSpec(id="g", steps=("c", "d")),)))
    take(bench, "c")
    bench.run_step("d")
    moved = bench.judge("@g", ["c", "d"], branches=["d"])
    assert isinstance(moved, Moved)
    assert bench.state("c") is StepState.TIMED_OUT
    assert locks(bench).holders("board") == ()


def test_locks_expire_with_their_run(bench: Bench) -> None:
    granted, lock = take(bench, "a")
    finish(bench, granted, lock)
    assert bench.client.ttl(keys.run_key("run", "locks")) == -1
    bench.run_step("b")
    assert 0 < int(bench.client.ttl(keys.run_key("run", "locks"))) <= 60
