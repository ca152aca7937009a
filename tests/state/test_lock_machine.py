"""The state machine of locks finds nothing in our scripts, and finds each mistake that is planted in them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from orchestrator.connection import connect
from orchestrator.context import locks
from orchestrator.errors import OrchestratorError
from orchestrator.scripts import Script
from tests.state import locking
from tests.state.lock_machine import LockMachine

FAST = settings(
    max_examples=60, stateful_step_count=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
THOROUGH = settings(FAST, max_examples=300, stateful_step_count=40)
HUNT = settings(THOROUGH, max_examples=6000, phases=[Phase.generate], print_blob=False, report_multiple_bugs=False)


@pytest.fixture
def machine(store_url: str) -> type[LockMachine]:
    """The machine on a database of its own."""
    return type("Machine", (LockMachine,), {"client": connect(store_url)})


def test_locks_keep_their_promises(machine: type[LockMachine]) -> None:
    run_state_machine_as_test(machine, settings=FAST)


@pytest.mark.proofs
def test_locks_keep_their_promises_over_300_long_runs(machine: type[LockMachine]) -> None:
    run_state_machine_as_test(machine, settings=THOROUGH)


MUTANTS = {
    "no token check": ("entry.write and entry.token == token", "entry.write", "a stale token wrote"),
    "a reader may write": ("entry.write and entry.token == token", "entry.token == token", "a stale token wrote"),
    "a lease never ends": ("entry.ends > MS", "true", "."),
    "a lost lease is revived": ("entry.ends > MS", "entry.ends > MS - 1000", "."),
    "release without owner": (
        "entry.id == A.id then\n      table",
        "(entries == lock.held or entry.id == A.id) then\n      table",
        "released what was lost|others hold",
    ),
    "no limit of readers": ("count < entry.most", "not entry.write or count < entry.most", r"\[False.* hold"),
    "readers beside a writer": (
        "if other.write ~= entry.write",
        "if entry.write and not other.write",
        r"\[True.* hold",
    ),
    "last come, first served": (
        "priority < entry.priority do",
        "priority <= entry.priority do",
        "others wait|first come",
    ),
    "priorities are ignored": ("priority < entry.priority do", "priority < 0 do", "others wait|first come"),
    "one token for all": ("its.token = its.token + 1", "its.token = 1", "tokens rise strictly"),
    "nobody is woken": ("redis.call('RPUSH', P .. ':wake:' .. entry.id, message)", "", "others hold"),
    "a release grants nobody": (
        "settle_lock(A.section)\nstore_locks()\nreturn found",
        "DIRTY[A.section] = lock store_locks()\nreturn found",
        "others hold|a reader waits where there is room|no sweep will look",
    ),
    "the dead keep their locks": ("if not gone[entry.step] then", "if true then", "others hold|others wait"),
    "the dead get locks": ("tonumber(f[2]) ~= A.attempt", "false", "an attempt that is over got a lock"),
    "the dead get free locks": ("f[2] == ARGV[4]", "true", "an attempt that is over got a lock"),
    "the short way passes by those who wait": ('"queue":{},"held":%[{[^{}]', '"queue":.*,"held":%[{[^{}]', "others"),
    "the short way back has no owner": (
        'string.find(text, \'"id":"\' .. ARGV[3] .. \'"\', 1, true)',
        "true",
        "released what was lost|others hold",
    ),
    "the short way back revives a lease": (
        "if tonumber(ends) >",
        "if true or tonumber(ends) >",
        "released what was lost",
    ),
    "a free lock forgets its token": (
        "redis.call('HSET', KEYS[1] .. ':locks', ARGV[2], token)",
        "redis.call('HDEL', KEYS[1] .. ':locks', ARGV[2])",
        "tokens rise strictly",
    ),
    "no look at what is left": ("if soon then due_at", "if false then due_at", "no sweep will look"),
}
"""What is wrong -> the Lua that is replaced, by what, and what the machine says to it."""
SCRIPTS = ((locks, ("ACQUIRE", "LEAVE", "RELEASE", "RENEW", "SWEEP")), (locking, ("WRITE", "EXTEND_ALL", "FREE_STEP")))


@pytest.mark.proofs
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_is_found(machine: type[LockMachine], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    old, new, complaint = MUTANTS[name]
    planted = 0
    for module, names in SCRIPTS:
        for script in names:
            source = getattr(module, script).source
            planted += old in source
            monkeypatch.setattr(module, script, Script(source.replace(old, new)))
    assert planted, "the Lua has changed, and the mistake with it"
    with pytest.raises((AssertionError, OrchestratorError), match=rf"^(?:{complaint})"):
        run_state_machine_as_test(machine, settings=HUNT)
