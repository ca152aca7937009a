"""The state machine of attempts and their context finds nothing in our scripts, and each mistake planted in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from orchestrator.context import scripts, store
from orchestrator.engine.runtime import TRANSITIONS
from orchestrator.scripts import Script
from tests.state import bench
from tests.state.bench import Bench
from tests.state.context_machine import ContextMachine
from tests.state.test_lock_machine import FAST, HUNT, THOROUGH


@pytest.fixture
def machine(store_url: str) -> type[ContextMachine]:
    """The machine on a database of its own."""
    return type("Machine", (ContextMachine,), {"bench": Bench(store_url)})


def test_contexts_keep_their_promises(machine: type[ContextMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(FAST, max_examples=40))


@pytest.mark.proofs
def test_contexts_keep_their_promises_over_300_long_runs(machine: type[ContextMachine]) -> None:
    run_state_machine_as_test(machine, settings=THOROUGH)


MUTANTS = {
    "no token check": ("tonumber(f[2]) ~= A.token", "false", "an attempt that is over has"),
    "no version check": ("if read_at and v ~= read_at then", "if false then", "an update was lost"),
    "no lock check": ("if lost then return {'unlocked', lost} end", "", "written under a lock that was lost"),
    "locks are not freed": ("free_locks(A.step)", "", "a free lock was refused"),
    "reads without a snapshot": ("A.version or newest()", "newest()", "not the snapshot of the claim"),
}
"""What is wrong -> the Lua that is replaced, by what, and what the machine says to it."""


@pytest.mark.proofs
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_is_found(machine: type[ContextMachine], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    old, new, complaint = MUTANTS[name]
    sound = {name: getattr(TRANSITIONS, name).source for name in ("finish", "renew")}
    assert any(old in source for source in (*sound.values(), scripts.READ.source)), (
        "the Lua has changed, and the mistake with it"
    )
    planted = {name: Script(source.replace(old, new)) for name, source in sound.items()}
    monkeypatch.setattr(bench, "TRANSITIONS", replace(TRANSITIONS, finish=planted["finish"], renew=planted["renew"]))
    monkeypatch.setattr(store, "READ", Script(scripts.READ.source.replace(old, new)))
    with pytest.raises(AssertionError, match=rf"^(?:{complaint})"):
        run_state_machine_as_test(machine, settings=HUNT)
