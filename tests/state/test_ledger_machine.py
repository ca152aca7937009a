"""The state machine of runs finds nothing in our scripts, and finds each mistake that is planted in them."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from orchestrator.run.replies import Claimed
from orchestrator.workflow.models import GroupSpec, StepSpec
from tests.state import bench
from tests.state.bench import TRANSITIONS, spec, step
from tests.state.ledger_machine import LedgerMachine
from tests.state.machines import FAST, THOROUGH, Mutant, changed, hunt, named, show


@pytest.fixture
def machine(store_url: str) -> type[LedgerMachine]:
    """The machine on a database of its own."""
    return type("Machine", (LedgerMachine,), {"url": store_url})


def test_a_run_keeps_its_promises(machine: type[LedgerMachine]) -> None:
    run_state_machine_as_test(machine, settings=FAST)


@pytest.mark.proofs
@pytest.mark.timeout(300)
def test_a_run_keeps_its_promises_over_200_long_stories(machine: type[LedgerMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(THOROUGH, max_examples=200, stateful_step_count=50))


# -- histories --------------------------------------------------------------------------------------------------------


def begins(m: LedgerMachine, *steps: StepSpec, group: GroupSpec | None = None) -> None:
    m.create(spec(*steps, groups=() if group is None else (group,)))


def runs(m: LedgerMachine, name: str, state: str = "success") -> Claimed:
    granted = m.claim(name)
    assert isinstance(granted, Claimed)
    m.finish(name, granted, state)
    return granted


def ends_when_it_was_replaced(m: LedgerMachine) -> None:
    begins(m, step("a"))
    late = runs(m, "a", "retrying")
    m.time_passes()
    m.claim("a")
    m.finish("a", late, "success")


def succeeds(m: LedgerMachine) -> None:
    begins(m, step("a"))
    runs(m, "a")


def is_retried_as_a_whole(m: LedgerMachine) -> None:
    succeeds(m)
    m.retry_all()
    m.claim("a")


def is_retried_with_what_is_behind(m: LedgerMachine) -> None:
    begins(m, step("a"), step("b", "a"))
    runs(m, "a")
    runs(m, "b")
    m.retry_one(0)


def fails_and_is_retried(m: LedgerMachine) -> None:
    begins(m, step("a"))
    runs(m, "a", "failed")
    m.retry_failed()


def is_retried_before_its_barrier(m: LedgerMachine) -> None:
    """What a member has written is still in its branch."""
    begins(m, step("a", group="g"), step("b", group="g"), group=GroupSpec(id="g", steps=("a", "b")))
    runs(m, "a")
    m.retry_one(0)


def is_paused(m: LedgerMachine) -> None:
    begins(m, step("a"))
    m.pause()


def is_paused_and_resumed(m: LedgerMachine) -> None:
    is_paused(m)
    m.resume()


def is_retried_while_it_waits(m: LedgerMachine) -> None:
    begins(m, step("a"))
    m.retry_one(0)


def is_cancelled_and_retried_in_part(m: LedgerMachine) -> None:
    """Of the two that the third one waits for, only one begins anew; the other was cancelled, and says no more."""
    begins(m, step("a"), step("b"), step("c", "a", "b"))
    m.cancel(99)
    m.retry_one(0)


MUTANTS: dict[str, Mutant[LedgerMachine]] = {
    "no token check": Mutant(
        "f[1] ~= 'running' or tonumber(f[2]) ~= A.token",
        "f[1] ~= 'running'",
        ends_when_it_was_replaced,
        "a late attempt was accepted",
    ),
    "tokens begin anew": Mutant(
        "rule = true, need = true, token = true,",
        "rule = true, need = true,",
        is_retried_as_a_whole,
        "tokens rise",
    ),
    "a pause forgets what is queued": Mutant(
        "if s[1] == 'queued' then", "if false then", is_paused, "a starts in a pause"
    ),
    "resume forgets what is ready": Mutant(
        "if s[1] == 'ready' and state", "if false and state", is_paused_and_resumed, "a waits for nothing"
    ),
    "those behind are not taken back": Mutant(
        "if not chosen[consumer] and", "if false and", is_retried_with_what_is_behind, "b was not taken back"
    ),
    "what was written stays": Mutant(
        "\nundo(chosen, whole)\n", "\n", is_retried_with_what_is_behind, "what is written"
    ),
    "branches stay": Mutant(
        "do discard_branch(step) end", "do local _ = step end", is_retried_before_its_barrier, "what is written"
    ),
    "what has ended stays counted": Mutant(
        "redis.call('HINCRBY', META, 'done', -1)", "local _ = 1", is_retried_as_a_whole, "ended nodes"
    ),
    "failed leaves stay counted": Mutant("'bad_leaf', -1)", "'bad_leaf', 0)", fails_and_is_retried, "bad leaves"),
    "arrivals stay": Mutant(
        "if from and not chosen[from] then",
        "if from then",
        is_retried_with_what_is_behind,
        "a has told b of its end, and has not ended",
    ),
    "an ended run stays ended": Mutant(
        "redis.call('DEL', P .. ':end')\n", "", is_retried_as_a_whole, "who waits for the end is told of it"
    ),
    "an open run expires": Mutant("each_key(f[6], 'PERSIST')", "", is_retried_as_a_whole, r"b'orc:.* expires in"),
    "a retry of what is open": Mutant(
        "if not CLASS[f[2]] then return nil, f[2] end", "", is_retried_while_it_waits, "it had not ended"
    ),
    "the cancelled tell nobody": Mutant(
        "if CLASS[s[1]] then -- what", "if false then -- what", is_cancelled_and_retried_in_part, "the run does not end"
    ),
}


def plant(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    wrong = changed(named(TRANSITIONS), MUTANTS[name].old, MUTANTS[name].new)
    monkeypatch.setattr(bench, "TRANSITIONS", replace(TRANSITIONS, **wrong))


@pytest.mark.proofs
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_does_harm_in_its_history(
    machine: type[LedgerMachine], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    show(machine, MUTANTS[name], lambda: plant(monkeypatch, name))


@pytest.mark.proofs
def test_the_machine_finds_it_by_itself(machine: type[LedgerMachine], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "no token check")
    hunt(machine, 0, "a late attempt was accepted")
