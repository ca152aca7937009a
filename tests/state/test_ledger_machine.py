"""The state machine of runs finds nothing in our scripts, and finds each mistake that is planted in them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from orchestrator.engine.runtime import TRANSITIONS
from orchestrator.errors import OrchestratorError
from orchestrator.scripts import Script
from tests.state import bench
from tests.state.ledger_machine import LedgerMachine

FAST = settings(
    max_examples=50, stateful_step_count=25, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
THOROUGH = settings(FAST, max_examples=200, stateful_step_count=50)
HUNT = settings(
    FAST, max_examples=5000, stateful_step_count=30, phases=[Phase.generate], print_blob=False,
    report_multiple_bugs=False,
)  # fmt: skip


@pytest.fixture
def machine(store_url: str) -> type[LedgerMachine]:
    """The machine on a database of its own."""
    return type("Machine", (LedgerMachine,), {"url": store_url})


def test_a_run_keeps_its_promises(machine: type[LedgerMachine]) -> None:
    run_state_machine_as_test(machine, settings=FAST)


@pytest.mark.proofs
@pytest.mark.timeout(600)
def test_a_run_keeps_its_promises_over_200_long_stories(machine: type[LedgerMachine]) -> None:
    run_state_machine_as_test(machine, settings=THOROUGH)


MUTANTS = {
    "no token check": (
        "f[1] ~= 'running' or tonumber(f[2]) ~= A.token",
        "f[1] ~= 'running'",
        "a late attempt was accepted",
    ),
    "tokens begin anew": ("rule = true, need = true, token = true,", "rule = true, need = true,", "tokens rise|a late"),
    "a pause forgets what is queued": ("if s[1] == 'queued' then", "if false then", ".* starts in a pause"),
    "resume forgets what is ready": (
        "if s[1] == 'ready' and state",
        "if false and state",
        ".* waits for nothing|the run does not end",
    ),
    "those behind are not taken back": (
        "if not chosen[consumer] and",
        "if false and",
        ".* was not taken back|.* has told",
    ),
    "what was written stays": ("\nundo(chosen, whole)\n", "\n", "what is written"),
    "what has ended stays counted": ("redis.call('HINCRBY', META, 'done', -1)", "local _ = 1", "ended nodes"),
    "failed leaves stay counted": ("'bad_leaf', -1)", "'bad_leaf', 0)", "bad leaves"),
    "arrivals stay": ("if from and not chosen[from] then", "if from then", "(ok|bad|skip) of|.* has told"),
    "an ended run stays ended": ("redis.call('DEL', P .. ':end')\n", "", "who waits"),
    "an open run expires": ("each_key('PERSIST')", "", "orc|b'orc"),
    "a retry of what is open": ("if not CLASS[f[2]] then return nil, f[2] end", "", "it had not ended"),
    "the cancelled tell nobody": ("if CLASS[s[1]] then -- what", "if false then -- what", "the run does not end"),
}  # fmt: skip
"""What is wrong -> the Lua that is replaced, by what, and what the machine says to it."""


@pytest.mark.proofs
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_is_found(machine: type[LedgerMachine], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    old, new, complaint = MUTANTS[name]
    scripts = {field.name: getattr(TRANSITIONS, field.name) for field in fields(TRANSITIONS)}
    sources = {name: script.source for name, script in scripts.items() if isinstance(script, Script)}
    assert any(old in source for source in sources.values()), "the Lua has changed, and the mistake with it"
    wrong: Any = {name: Script(source.replace(old, new)) for name, source in sources.items()}
    monkeypatch.setattr(bench, "TRANSITIONS", replace(TRANSITIONS, **wrong))
    with pytest.raises((AssertionError, OrchestratorError), match=rf"^(?:{complaint})"):
        run_state_machine_as_test(machine, settings=HUNT)
