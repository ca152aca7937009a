"""The state machine of attempts and their context finds nothing in our scripts, and each mistake planted in them."""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from orchestrator.context import scripts, store
from tests.state import bench
from tests.state.bench import TRANSITIONS, Bench
from tests.state.context_machine import LEASE, Attempt, ContextMachine
from tests.state.machines import FAST, THOROUGH, Mutant, changed, hunt, show


@pytest.fixture
def machine(store_url: str) -> type[ContextMachine]:
    """The machine on a database of its own."""
    return type("Machine", (ContextMachine,), {"bench": Bench(store_url)})


def test_contexts_keep_their_promises(machine: type[ContextMachine]) -> None:
    run_state_machine_as_test(machine, settings=FAST)


@pytest.mark.proofs
@pytest.mark.timeout(300)
def test_contexts_keep_their_promises_over_300_long_runs(machine: type[ContextMachine]) -> None:
    run_state_machine_as_test(machine, settings=THOROUGH)


# -- histories --------------------------------------------------------------------------------------------------------


def begins(m: ContextMachine, step: str) -> Attempt:
    attempt = m.claim(step)
    assert isinstance(attempt, Attempt)
    return attempt


def locks(m: ContextMachine, step: str) -> Attempt:
    attempt = begins(m, step)
    m.lock(attempt)
    return attempt


def commits_when_it_was_replaced(m: ContextMachine) -> None:
    m.start()
    late = begins(m, "a")
    m.read(late)
    m.crash(late)
    begins(m, "a")
    m.commit(late)


def two_read_and_commit(m: ContextMachine) -> None:
    m.start()
    first, second = begins(m, "a"), begins(m, "b")
    for attempt in (first, second):
        m.read(attempt)
    for attempt in (first, second):
        m.commit(attempt)


def commits_when_its_lock_is_lost(m: ContextMachine) -> None:
    m.start()
    late = locks(m, "a")
    m.time_passes(LEASE)
    m.commit(late)


def works_for_longer_than_a_lease(m: ContextMachine) -> None:
    """Its worker renews the attempt's lease in time, and the lock's with it."""
    m.start()
    slow = locks(m, "a")
    m.time_passes(0.6 * LEASE)
    m.renew({"a"})
    m.time_passes(0.6 * LEASE)
    locks(m, "b")
    m.commit(slow)


def locks_one_after_another(m: ContextMachine) -> None:
    m.start()
    m.commit(locks(m, "a"))
    locks(m, "b")


def reads_when_another_has_committed(m: ContextMachine) -> None:
    m.start()
    slow, quick = begins(m, "a"), begins(m, "b")
    m.read(quick)
    m.commit(quick)
    m.read(slow)


MUTANTS: dict[str, Mutant[ContextMachine]] = {
    "no token check": Mutant(
        "tonumber(f[2]) ~= A.token", "false", commits_when_it_was_replaced, "an attempt that is over has written"
    ),
    "no version check": Mutant(
        "if read_at and v ~= read_at then", "if false then", two_read_and_commit, "an update was lost"
    ),
    "no lock check": Mutant(
        "if lost then return {'unlocked', lost} end",
        "",
        commits_when_its_lock_is_lost,
        "written under a lock that was lost",
    ),
    "locks are not renewed": Mutant(
        "extend_locks(held, A.lease)", "", works_for_longer_than_a_lease, "a lock was granted that another holds"
    ),
    "locks are not freed": Mutant("free_locks(A.step)", "", locks_one_after_another, "a free lock was refused"),
    "reads without a snapshot": Mutant(
        "A.version or newest()", "newest()", reads_when_another_has_committed, "not the snapshot of the claim"
    ),
}


def plant(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    sound = {"finish": TRANSITIONS.finish, "renew": TRANSITIONS.renew, "READ": scripts.READ}
    wrong = sound | changed(sound.items(), MUTANTS[name].old, MUTANTS[name].new)
    monkeypatch.setattr(store, "READ", wrong.pop("READ"))
    monkeypatch.setattr(bench, "TRANSITIONS", replace(TRANSITIONS, finish=wrong["finish"], renew=wrong["renew"]))


@pytest.mark.proofs
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_does_harm_in_its_history(
    machine: type[ContextMachine], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    show(machine, MUTANTS[name], lambda: plant(monkeypatch, name))


@pytest.mark.proofs
@pytest.mark.parametrize(
    ("name", "seed", "complaint"),
    [
        ("no token check", 0, "an attempt that is over has (written|ended its step)"),
        ("no version check", 3, "an update was lost"),
    ],
)
def test_the_machine_finds_it_by_itself(
    machine: type[ContextMachine], monkeypatch: pytest.MonkeyPatch, name: str, seed: int, complaint: str
) -> None:
    plant(monkeypatch, name)
    hunt(machine, seed, complaint)
