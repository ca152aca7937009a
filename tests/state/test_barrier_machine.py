"""The state machine of a group finds nothing in our scripts and sweeps, and finds each mistake planted in them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from orchestrator.engine import recovery
from orchestrator.run.store import Transitions
from orchestrator.scripts import Script
from tests.state.barrier_machine import BarrierMachine, Clocked, deployment
from tests.state.test_lock_machine import FAST, HUNT, THOROUGH


@pytest.fixture
def machine(store_url: str) -> type[BarrierMachine]:
    """The machine on a database of its own."""
    return type("Machine", (BarrierMachine,), {"app": deployment(store_url)})


def test_groups_keep_their_promises(machine: type[BarrierMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(FAST, max_examples=40))


@pytest.mark.proofs
@pytest.mark.timeout(900)
def test_groups_keep_their_promises_over_300_long_runs(machine: type[BarrierMachine]) -> None:
    run_state_machine_as_test(machine, settings=THOROUGH)


SWEEPS = ("lease", "queued", "retry")
"""What the sweep carries on, each of which somebody waits for when it is switched off."""


@pytest.mark.proofs
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", SWEEPS)
def test_a_sweep_that_is_switched_off_is_missed(
    machine: type[BarrierMachine], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    left = {name: handle for name, handle in recovery._HANDLERS.items() if name not in (kind, "barrier")}
    monkeypatch.setattr(recovery, "_HANDLERS", left)  # the deadline would hide it
    with pytest.raises(AssertionError, match=r"^the run does not end"):
        run_state_machine_as_test(machine, settings=HUNT)


LATE = "a late attempt has ended its step|something was merged after the decision|a result was thrown away"
MUTANTS = {
    "no late guard": ("f[1] ~= 'running' or tonumber(f[2])", "tonumber(f[2])", LATE),
    "nobody waits for his turn": (
        "consider(step, queue)\n      end\n      return\n",
        "consider(step, queue)\n      end\n",
        "two members at a time",
    ),
}
"""What is wrong -> the Lua that is replaced, by what, and what the machine says to it."""


def planted(scripts: Transitions, old: str, new: str) -> Transitions:
    """The transitions with a mistake."""
    texts = {field.name: getattr(scripts, field.name).source for field in fields(scripts) if field.name != "posts"}
    wrong: dict[str, Any] = {name: Script(text.replace(old, new)) for name, text in texts.items() if old in text}
    assert wrong, "the Lua has changed, and the mistake with it"
    return replace(scripts, **wrong)


@pytest.mark.proofs
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_is_found(machine: type[BarrierMachine], name: str) -> None:
    old, new, complaint = MUTANTS[name]
    runtime = machine.app.orchestrator  # type: ignore[attr-defined]
    assert isinstance(runtime, Clocked)
    runtime.scripts = planted(runtime.scripts, old, new)
    with pytest.raises(AssertionError, match=rf"^(?:{complaint})"):
        run_state_machine_as_test(machine, settings=HUNT)
