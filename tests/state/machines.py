"""What the tests of state machines share: how long they look, and histories that are told step by step.

A planted mistake is shown twice. A history says in words what has to happen for it to do harm, so that it is found at
once and every time; and the machine itself comes upon the gravest ones, from a seed from which it soon does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from msgspec.structs import fields

from orchestrator.errors import OrchestratorError
from orchestrator.run.transitions import Transitions
from orchestrator.scripts import Script

FAST = settings(
    max_examples=50, stateful_step_count=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
THOROUGH = settings(FAST, max_examples=300, stateful_step_count=40)
HUNT = settings(THOROUGH, max_examples=1000, phases=[Phase.generate], print_blob=False, report_multiple_bugs=False)

M = TypeVar("M", bound=RuleBasedStateMachine)


@dataclass(frozen=True, slots=True)
class Mutant(Generic[M]):
    """A mistake: the Lua that is replaced, by what; a history in which it does harm; what the machine says to it."""

    old: str
    new: str
    history: Callable[[M], object]
    complaint: str


class _Watched:
    """A machine whose invariants are looked at after whatever it is told to do."""

    def __init__(self, machine: RuleBasedStateMachine) -> None:
        self._machine = machine

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._machine, name)
        if not callable(found):
            return found

        def done(*arguments: Any, **named: Any) -> Any:
            result = found(*arguments, **named)
            for invariant in self._machine.invariants:
                invariant.function(self._machine)
            return result

        return done


def replay(machine: type[M], history: Callable[[M], object]) -> None:
    """Tell a history to a new machine. What a rule adds to a bundle is what it returns."""
    one = machine()
    history(cast("M", _Watched(one)))
    one.teardown()


def show(machine: type[M], mutant: Mutant[M], plant: Callable[[], None]) -> None:
    """Its history goes well, until the mistake is planted."""
    replay(machine, mutant.history)
    plant()
    with complains(mutant.complaint):
        replay(machine, mutant.history)


def hunt(machine: type[RuleBasedStateMachine], number: int, complaint: str) -> None:
    """The machine has to find by itself what is wrong; from that seed on it soon does."""
    with complains(complaint):
        run_state_machine_as_test(seed(number)(machine), settings=HUNT)


def complains(complaint: str) -> AbstractContextManager[Any]:
    """What is done inside has to fail, and for this reason."""
    return pytest.raises((AssertionError, OrchestratorError), match=rf"^(?:{complaint})")


def changed(scripts: Iterable[tuple[str, Script]], old: str, new: str) -> dict[str, Any]:
    """The scripts in which `old` stands, with `new` in its place. It has to stand in one at least."""
    found = {name: Script(one.source.replace(old, new)) for name, one in scripts if old in one.source}
    assert found, f"the Lua has changed, and the mistake with it: {re.escape(old)}"
    return found


def named(scripts: Transitions) -> list[tuple[str, Script]]:
    """The transitions by their names."""
    every = [(field.name, getattr(scripts, field.name)) for field in fields(scripts)]
    return [(name, one) for name, one in every if isinstance(one, Script)]
