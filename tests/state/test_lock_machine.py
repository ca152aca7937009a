"""The state machine of locks finds nothing in our scripts, and finds each mistake that is planted in them."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import settings
from hypothesis.stateful import MultipleResults, run_state_machine_as_test

from orchestrator.connection import connect
from orchestrator.context import locks
from orchestrator.context.lock_models import Request
from tests.state import locking
from tests.state.lock_machine import LockMachine
from tests.state.machines import FAST, THOROUGH, Mutant, changed, hunt, show


@pytest.fixture
def machine(store_url: str) -> type[LockMachine]:
    """The machine on a database of its own."""
    return type("Machine", (LockMachine,), {"client": connect(store_url)})


def test_locks_keep_their_promises(machine: type[LockMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(FAST, max_examples=60))


@pytest.mark.proofs
@pytest.mark.timeout(300)
def test_locks_keep_their_promises_over_300_long_runs(machine: type[LockMachine]) -> None:
    run_state_machine_as_test(machine, settings=THOROUGH)


# -- histories --------------------------------------------------------------------------------------------------------


def asks(m: LockMachine, step: str, *, write: bool = True, priority: int = 5, patience: float = 8.0) -> Request:
    """A step asks for the one lock that all of these histories are about."""
    made = m.ask([step], "requirements", write, priority, patience)
    assert isinstance(made, MultipleResults)
    return made.values[0]


def waits_behind_a_writer(m: LockMachine) -> Request:
    m.start()
    holder = asks(m, "a")
    asks(m, "b")
    return holder


def gives_back_what_another_waits_for(m: LockMachine) -> None:
    m.release(waits_behind_a_writer(m))


def gives_back_beside_another_reader(m: LockMachine) -> None:
    m.start()
    asks(m, "a", write=False)
    m.release(asks(m, "b", write=False))


def takes_what_was_given_back(m: LockMachine) -> None:
    m.start()
    m.release(asks(m, "a"))
    asks(m, "b")


def wakes_up_when_another_holds_it(m: LockMachine) -> Request:
    """Nobody has renewed its lease: it is the other's the moment that is over."""
    m.start()
    late = asks(m, "a")
    m.time_passes(locking.LEASE)
    asks(m, "b")
    return late


def writes_when_another_holds_it(m: LockMachine) -> None:
    m.write(wakes_up_when_another_holds_it(m))


def gives_back_when_another_holds_it(m: LockMachine) -> None:
    m.release(wakes_up_when_another_holds_it(m))


def wakes_up_when_nobody_holds_it(m: LockMachine) -> Request:
    m.start()
    late = asks(m, "a")
    m.time_passes(locking.LEASE)
    return late


def renews_a_lease_that_is_over(m: LockMachine) -> None:
    m.extend(wakes_up_when_nobody_holds_it(m))


def gives_back_when_its_lease_is_over(m: LockMachine) -> None:
    m.release(wakes_up_when_nobody_holds_it(m))


def writes_as_a_reader(m: LockMachine) -> None:
    m.start()
    m.write(asks(m, "a", write=False))


def reads_beside_a_writer(m: LockMachine) -> None:
    m.start()
    asks(m, "a")
    asks(m, "b", write=False)


def six_read(m: LockMachine) -> None:
    m.start()
    for step in "abcdef":
        asks(m, step, write=False)


def two_wait(m: LockMachine) -> None:
    waits_behind_a_writer(m)
    asks(m, "c")


def the_second_is_more_urgent(m: LockMachine) -> None:
    waits_behind_a_writer(m)
    asks(m, "c", priority=10)


def the_holder_dies(m: LockMachine) -> None:
    m.start()
    asks(m, "a")
    m.crash("a")


def asks_when_it_is_dead(m: LockMachine) -> None:
    m.start()
    m.crash("a")


def asks_when_it_is_dead_and_another_holds_it(m: LockMachine) -> None:
    m.start()
    asks(m, "b", write=False)
    m.crash("a")


MUTANTS: dict[str, Mutant[LockMachine]] = {
    "no token check": Mutant(
        "entry.write and entry.token == token", "entry.write", writes_when_another_holds_it, "a stale token wrote"
    ),
    "a reader may write": Mutant(
        "entry.write and entry.token == token", "entry.token == token", writes_as_a_reader, "a stale token wrote"
    ),
    "a lease never ends": Mutant("entry.ends > MS", "true", wakes_up_when_another_holds_it, "others hold"),
    "a lost lease is revived": Mutant(
        "entry.ends > MS", "entry.ends > MS - 1000", renews_a_lease_that_is_over, "renewed what was lost"
    ),
    "release without owner": Mutant(
        "entry.id == A.id then\n      table",
        "(entries == lock.held or entry.id == A.id) then\n      table",
        gives_back_beside_another_reader,
        "others hold",
    ),
    "no limit of readers": Mutant(
        "count < entry.most", "not entry.write or count < entry.most", six_read, r"\[False.* hold"
    ),
    "readers beside a writer": Mutant(
        "if other.write ~= entry.write",
        "if entry.write and not other.write",
        reads_beside_a_writer,
        r"\[True, False\] hold",
    ),
    "last come, first served": Mutant(
        "priority < entry.priority do", "priority <= entry.priority do", two_wait, "others wait"
    ),
    "priorities are ignored": Mutant(
        "priority < entry.priority do", "priority < 0 do", the_second_is_more_urgent, "others wait"
    ),
    "one token for all": Mutant(
        "its.token = its.token + 1", "its.token = 1", gives_back_what_another_waits_for, "tokens rise strictly"
    ),
    "nobody is woken": Mutant(
        "redis.call('RPUSH', P .. ':wake:' .. entry.id, message)",
        "",
        gives_back_what_another_waits_for,
        "others hold it than were told",
    ),
    "a release grants nobody": Mutant(
        "settle_lock(A.section)\nstore_locks()\nreturn found",
        "DIRTY[A.section] = lock store_locks()\nreturn found",
        gives_back_what_another_waits_for,
        "somebody waits for a lock that nobody holds",
    ),
    "the dead keep their locks": Mutant("if not gone[entry.step] then", "if true then", the_holder_dies, "others hold"),
    "the dead get locks": Mutant(
        "tonumber(f[2]) ~= A.attempt",
        "false",
        asks_when_it_is_dead_and_another_holds_it,
        "an attempt that is over got a lock",
    ),
    "the dead get free locks": Mutant(
        "f[2] == ARGV[4]", "true", asks_when_it_is_dead, "an attempt that is over got a lock"
    ),
    "the short way passes by those who wait": Mutant(
        '"queue":{},"held":%[{[^{}]',
        '"queue":.*,"held":%[{[^{}]',
        gives_back_what_another_waits_for,
        "others wait",
    ),
    "the short way back has no owner": Mutant(
        "string.find(text, '\"id\":\"' .. ARGV[3] .. '\"', 1, true)",
        "true",
        gives_back_when_another_holds_it,
        "released what was lost",
    ),
    "the short way back revives a lease": Mutant(
        "if tonumber(ends) >",
        "if true or tonumber(ends) >",
        gives_back_when_its_lease_is_over,
        "released what was lost",
    ),
    "a free lock forgets its token": Mutant(
        "redis.call('HSET', KEYS[1] .. ':locks', ARGV[2], token)",
        "redis.call('HDEL', KEYS[1] .. ':locks', ARGV[2])",
        takes_what_was_given_back,
        "tokens rise strictly",
    ),
    "no look at what is left": Mutant(
        "if soon then due_at", "if false then due_at", waits_behind_a_writer, "no sweep will look"
    ),
}
SCRIPTS: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (locks, ("ACQUIRE", "LEAVE", "RELEASE", "RENEW", "SWEEP")),
    (locking, ("WRITE", "EXTEND_ALL", "FREE_STEP")),
)


def plant(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    home = {script: module for module, names in SCRIPTS for script in names}
    scripts = [(script, getattr(module, script)) for script, module in home.items()]
    for script, wrong in changed(scripts, MUTANTS[name].old, MUTANTS[name].new).items():
        monkeypatch.setattr(home[script], script, wrong)


@pytest.mark.proofs
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_does_harm_in_its_history(
    machine: type[LockMachine], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    show(machine, MUTANTS[name], lambda: plant(monkeypatch, name))


@pytest.mark.proofs
@pytest.mark.parametrize(
    ("name", "seed", "complaint"),
    [
        ("no token check", 2, "a stale token wrote"),
        ("release without owner", 1, "released what was lost|others hold"),
    ],
)
def test_the_machine_finds_it_by_itself(
    machine: type[LockMachine], monkeypatch: pytest.MonkeyPatch, name: str, seed: int, complaint: str
) -> None:
    plant(monkeypatch, name)
    hunt(machine, seed, complaint)
