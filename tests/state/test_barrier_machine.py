"""The state machine of a group finds nothing in our scripts and sweeps, and finds each mistake planted in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from orchestrator.engine import recovery
from orchestrator.run.transitions import Transitions
from tests.state.barrier_machine import LEASE, MEMBERS, Attempt, BarrierMachine, Clocked, deployment
from tests.state.machines import FAST, THOROUGH, Mutant, changed, complains, hunt, named, replay, show


@pytest.fixture
def machine(store_url: str) -> type[BarrierMachine]:
    """The machine on a database of its own."""
    return type("Machine", (BarrierMachine,), {"app": deployment(store_url)})


def test_groups_keep_their_promises(machine: type[BarrierMachine]) -> None:
    run_state_machine_as_test(machine, settings=FAST)


@pytest.mark.proofs
@pytest.mark.timeout(300)
def test_groups_keep_their_promises_over_300_long_runs(machine: type[BarrierMachine]) -> None:
    run_state_machine_as_test(machine, settings=THOROUGH)


# -- histories --------------------------------------------------------------------------------------------------------


def members_begin(m: BarrierMachine) -> dict[str, Attempt]:
    m.start()
    for _ in MEMBERS:
        m.receive(0, dies=False, twice=False)
    assert set(m.current) == set(MEMBERS)
    return dict(m.current)


def comes_back_when_it_was_replaced(m: BarrierMachine) -> None:
    """Its lease has lapsed, and its step is at its second attempt."""
    late = members_begin(m)["c"]
    m.freeze(late, taken=True)
    m.finish(late, good=True, dies=False)


def comes_back_behind_the_barrier(m: BarrierMachine) -> None:
    """Two of three are there in time, and for the third its defaults stand in: the barrier does not wait for it."""
    begun = members_begin(m)
    for step in ("b", "d"):
        m.finish(begun[step], good=True, dies=False)
    m.work_goes_on()
    m.finish(begun["c"], good=True, dies=False)


def two_of_three_fail(m: BarrierMachine) -> None:
    """Both are needed, so they run once more, one after another."""
    begun = members_begin(m)
    for step in MEMBERS:
        m.finish(begun[step], good=step == "c", dies=False)


def is_delivered_twice(m: BarrierMachine) -> None:
    m.start()
    m.receive(0, dies=False, twice=True)
    for _ in MEMBERS:
        m.receive(0, dies=False, twice=False)


def dies_at_work(m: BarrierMachine) -> None:
    m.crash(members_begin(m)["c"])
    m.heal()


def dies_with_its_message(m: BarrierMachine) -> None:
    m.start()
    m.receive(0, dies=True, twice=False)
    m.heal()


def fails_and_is_tried_again(m: BarrierMachine) -> None:
    m.finish(members_begin(m)["c"], good=False, dies=False)
    m.heal()


def the_last_member_dies_behind_its_end(m: BarrierMachine) -> None:
    """The ledger knows that all are there; whoever was to judge is gone."""
    begun = members_begin(m)
    for step in MEMBERS:
        m.finish(begun[step], good=True, dies=step == "d")
    m.heal()


def hangs_past_the_deadline(m: BarrierMachine) -> None:
    """It renews its lease all the time, and comes to no end."""
    members_begin(m)
    m.work_goes_on()


def dies_and_is_missed_in_time(m: BarrierMachine) -> None:
    """A crash costs a lease and the sweep behind it, as the settings say; nobody is missed before."""
    begun = members_begin(m)
    m.crash(begun["c"])
    for seconds, missed in (LEASE - 0.01, False), (0.01, True):
        m.time_passes(seconds)
        m.renew({"b", "d", "beside"})
        m.sweep()
        assert ("c" not in m.current) is missed, f"{seconds} s later"
    assert m.node("c", "state") == ["queued"], "somebody else may take it now"


def test_a_crash_costs_a_lease_and_a_sweep(machine: type[BarrierMachine]) -> None:
    replay(machine, dies_and_is_missed_in_time)


SWEEPS: dict[str, tuple[Callable[[BarrierMachine], None], str]] = {
    "lease": (dies_at_work, "the run does not end"),
    "queued": (dies_with_its_message, "the run does not end"),
    "retry": (fails_and_is_tried_again, "the run does not end"),
    "joined": (the_last_member_dies_behind_its_end, "the run does not end"),
    "barrier": (hangs_past_the_deadline, "nobody has looked at a barrier whose time is over"),
}
"""What the sweep carries on -> a history in which somebody waits for it, and what the machine says when nobody does."""


def switch_off(machine: type[BarrierMachine], monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The deadline goes too, which would hide that anything else is missing."""
    left = {name: handle for name, handle in recovery._HANDLERS.items() if name not in (kind, "barrier")}
    monkeypatch.setattr(recovery, "_HANDLERS", left)
    machine.deadlines_count = kind == "barrier"


@pytest.mark.proofs
@pytest.mark.parametrize("kind", SWEEPS)
def test_a_sweep_that_is_switched_off_is_missed(
    machine: type[BarrierMachine], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    history, complaint = SWEEPS[kind]
    replay(machine, history)
    switch_off(machine, monkeypatch, kind)
    with complains(complaint):
        replay(machine, history)


def goes_on_and_works_for_long(m: BarrierMachine) -> None:
    """Its worker knows it by the message of the step before."""
    begun = members_begin(m)
    assert m.finish(begun["b"], good=True, dies=False, on=True) is m.current["beside"]
    m.work_goes_on()


def goes_on_and_dies(m: BarrierMachine) -> None:
    m.finish(members_begin(m)["b"], good=True, dies=True, on=True)
    m.heal()


MUTANTS: dict[str, Mutant[BarrierMachine]] = {
    "what was gone on with is not renewed": Mutant(
        "if same and f[1] == 'running' then",
        "if false then",
        goes_on_and_works_for_long,
        "a living attempt was taken away",
    ),
    "whoever goes on has no lease": Mutant(
        "due_at('lease:' .. step, by.lease)", "", goes_on_and_dies, "the run does not end"
    ),
    "no token check": Mutant(
        "tonumber(f[2]) ~= A.token", "false", comes_back_when_it_was_replaced, "a late attempt has ended its step"
    ),
    "no late guard": Mutant(
        "f[1] ~= 'running' or tonumber(f[2])",
        "tonumber(f[2])",
        comes_back_behind_the_barrier,
        "a late attempt has ended its step",
    ),
    "arrivals are counted": Mutant(
        "redis.call('HINCRBY', ck, CLASS[outcome], -1)",
        "",
        two_of_three_fail,
        "joined before all members have ended",
    ),
    "claims without a look": Mutant(
        "if f[1] ~= 'queued' then", "if not f[1] then", is_delivered_twice, "two attempts at a time"
    ),
    "nobody waits for his turn": Mutant(
        "consider(step, queue)\n      end\n      return\n",
        "consider(step, queue)\n      end\n",
        two_of_three_fail,
        "two members at a time",
    ),
}


def plant(machine: type[BarrierMachine], name: str) -> None:
    runtime = machine.app.orchestrator  # type: ignore[attr-defined]
    assert isinstance(runtime, Clocked)
    runtime.scripts = planted(runtime.scripts, name)


def planted(scripts: Transitions, name: str) -> Transitions:
    return replace(scripts, **changed(named(scripts), MUTANTS[name].old, MUTANTS[name].new))


@pytest.mark.proofs
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_does_harm_in_its_history(machine: type[BarrierMachine], name: str) -> None:
    show(machine, MUTANTS[name], lambda: plant(machine, name))


LATE = "a late attempt has ended its step|something was merged after the decision|a result was thrown away"


@pytest.mark.proofs
@pytest.mark.parametrize(("name", "seed"), [("no late guard", 0), ("no token check", 1)])
def test_the_machine_finds_it_by_itself(machine: type[BarrierMachine], name: str, seed: int) -> None:
    plant(machine, name)
    hunt(machine, seed, LATE)


@pytest.mark.proofs
@pytest.mark.parametrize(("kind", "seed"), [("lease", 0), ("queued", 0), ("retry", 2), ("joined", 1), ("barrier", 0)])
def test_the_machine_misses_a_sweep_by_itself(
    machine: type[BarrierMachine], monkeypatch: pytest.MonkeyPatch, kind: str, seed: int
) -> None:
    switch_off(machine, monkeypatch, kind)
    hunt(machine, seed, SWEEPS[kind][1])
