"""Locks that a workflow declares: who has to wait for them takes no worker, and gets them all at once."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from orchestrator import keys
from orchestrator.context.lock_models import Entry, Holder, Lock, LockRules
from orchestrator.context.locks import Locks
from orchestrator.errors import AgentError, LockTimeout
from orchestrator.run.models import FINAL_STEP_STATES, RunState, StepState
from orchestrator.run.replies import Claimed, Moved
from orchestrator.workflow.models import BarrierSpec, GroupSpec, StepSpec, TriggerRule, WorkflowSpec
from tests.state.bench import OWNER, TRANSITIONS, Bench, released, spec
from tests.state.machines import changed, complains, named

WRITES = {"board": "write"}
READS = {"board": "read"}


def step(name: str, *needs: str, locks: dict[str, str] | None = None, **keys: object) -> StepSpec:
    return StepSpec.model_validate({"id": name, "agent": "noop", "needs": needs, "locks": locks or {}, **keys})


def start(bench: Bench, *steps: StepSpec, groups: tuple[GroupSpec, ...] = ()) -> set[str]:
    return released(bench.create(spec(*steps, groups=groups)))


def board(bench: Bench) -> Locks:
    return Locks(bench.client, "run", LockRules(lease=5), now=bench.now)


def holding(bench: Bench, section: str = "board") -> list[str]:
    return [entry.holder.step for entry in board(bench).holders(section)]


def waiting(bench: Bench, section: str = "board") -> list[str]:
    return [entry.holder.step for entry in board(bench).queue(section)]


def due(bench: Bench) -> set[str]:
    return {item.item for item in bench.ledger.due("run", again=2).items}


def test_who_has_to_wait_is_ready_and_takes_no_worker(bench: Bench) -> None:
    assert start(bench, step("a", locks=WRITES), step("b", locks=WRITES), step("c")) == {"a", "c"}
    assert bench.state("b") is StepState.READY
    assert (holding(bench), waiting(bench)) == (["a"], ["b"])
    bench.now += 1000
    assert holding(bench) == ["a"], "it has no lease of its own: a step that waits for a worker keeps what it has"


@pytest.mark.parametrize("state", ["success", "failed", "timed_out"])
def test_the_end_of_the_holder_releases_the_next_in_the_same_step(bench: Bench, state: str) -> None:
    start(bench, step("a", locks=WRITES), step("b", locks=WRITES), step("c", locks=WRITES))
    assert released(bench.run_step("a", state)) == {"b"}
    assert (holding(bench), waiting(bench)) == (["b"], ["c"])
    assert released(bench.run_step("b")) == {"c"}
    assert bench.run_step("c").run_state in (RunState.SUCCESS, RunState.FAILED)
    assert (holding(bench), waiting(bench)) == ([], [])


def test_a_retry_gives_way_and_queues_again(bench: Bench) -> None:
    start(bench, step("a", locks=WRITES), step("b", locks=WRITES))
    token = bench.granted("a").token
    moved = bench.ledger.finish("run", "a", "retrying", token=token, delay=1)
    assert isinstance(moved, Moved)
    assert released(moved) == {"b"}
    again = bench.ledger.requeue("run", "a", found="retrying")
    assert isinstance(again, Moved)
    assert released(again) == set()
    assert bench.state("a") is StepState.READY
    assert released(bench.run_step("b")) == {"a"}


def test_a_lost_message_keeps_its_lock(bench: Bench) -> None:
    start(bench, step("a", locks=WRITES), step("b", locks=WRITES))
    moved = bench.ledger.requeue("run", "a", found="queued")
    assert isinstance(moved, Moved)
    assert released(moved) == {"a"}
    assert (holding(bench), waiting(bench)) == (["a"], ["b"])


def test_readers_share_up_to_the_limit_and_no_writer_is_passed_over(bench: Bench) -> None:
    readers = [step(f"r{number}", locks=READS) for number in range(6)]
    assert start(bench, *readers, step("w", locks=WRITES), step("late", locks=READS)) == {f"r{n}" for n in range(5)}
    assert waiting(bench) == ["r5", "w", "late"]
    assert released(bench.run_step("r0")) == {"r5"}
    for number in range(1, 5):
        assert released(bench.run_step(f"r{number}")) == set()
    assert released(bench.run_step("r5")) == {"w"}
    assert released(bench.run_step("w")) == {"late"}


def test_several_sections_are_granted_together_or_not_at_all(bench: Bench) -> None:
    both = {"x": "write", "y": "write"}
    first = start(bench, step("x1", locks={"x": "write"}), step("both", locks=both), step("y1", locks={"y": "write"}))
    assert first == {"x1"}, "y is free, and is kept for the one who came first"
    assert (holding(bench, "y"), waiting(bench, "y")) == ([], ["both", "y1"])
    assert released(bench.run_step("x1")) == {"both"}
    assert (holding(bench, "x"), holding(bench, "y")) == (["both"], ["both"])
    assert released(bench.run_step("both")) == {"y1"}


def test_the_more_urgent_step_comes_first(bench: Bench) -> None:
    start(bench, step("a", locks=WRITES), step("b", locks=WRITES, priority=1), step("c", locks=WRITES, priority=9))
    assert released(bench.run_step("a")) == {"c"}


def test_a_step_that_waits_too_long_for_its_lock_leaves_the_queue(bench: Bench) -> None:
    start(bench, step("a", locks=WRITES), step("b", locks=WRITES, schedule_timeout=5), step("c", locks=WRITES))
    assert "schedule:b" not in due(bench)
    bench.now += 6
    assert "schedule:b" in due(bench)
    assert isinstance(bench.ledger.expire("run", "b", error="StepTimeout: late"), Moved)
    assert waiting(bench) == ["c"]
    assert isinstance(bench.ledger.expire("run", "a", error="StepTimeout: late"), Moved)
    assert bench.state("c") is StepState.QUEUED


def test_a_cancelled_run_leaves_no_lock(bench: Bench) -> None:
    start(bench, *(step(name, locks=WRITES) for name in "abcd"))
    granted = bench.granted("a")
    bench.ledger.stop("run", "cancelled", reason="", grace=5)
    assert (holding(bench), waiting(bench)) == (["a"], [])
    moved = bench.ledger.finish("run", "a", "success", token=granted.token)
    assert isinstance(moved, Moved)
    assert moved.run_state == RunState.CANCELLED
    assert bench.client.hgetall(keys.run_key("run", "locks")) == {b"board": b"1"}
    assert 0 < int(bench.client.ttl(keys.run_key("run", "locks"))) <= 60


def test_a_step_with_locks_is_no_link_of_a_chain(bench: Bench) -> None:
    moved = bench.create(spec(step("a"), step("b", "a", locks=WRITES), step("c", "b")))
    (first,) = moved.released
    assert "next" not in first
    (second,) = bench.run_step("a").released
    assert [link[0] for link in second["next"]] == ["c"]


def test_a_pause_keeps_what_is_held_and_who_waits(bench: Bench) -> None:
    start(bench, step("a", locks=WRITES), step("b", locks=WRITES), step("c", locks=WRITES))
    granted = bench.granted("a")
    bench.ledger.pause("run")
    moved = bench.ledger.finish("run", "a", "success", token=granted.token)
    assert isinstance(moved, Moved)
    assert (released(moved), holding(bench), waiting(bench)) == (set(), ["b"], ["c"])
    assert bench.state("b") is StepState.READY
    resumed = bench.ledger.resume("run")
    assert isinstance(resumed, Moved)
    assert released(resumed) == {"b"}
    assert released(bench.run_step("b")) == {"c"}


def test_a_run_that_begins_anew_queues_for_its_locks_anew(bench: Bench) -> None:
    start(bench, step("a", locks=WRITES), step("b", locks=WRITES))
    bench.run_step("a", "failed")
    bench.run_step("b")
    moved = bench.ledger.retry("run")
    assert isinstance(moved, Moved)
    assert released(moved) == {"a"} or released(moved) == {"b"}
    assert len(holding(bench)) == len(waiting(bench)) == 1
    assert int(bench.client.ttl(keys.run_key("run", "locks"))) == -1


# -- groups -----------------------------------------------------------------------------------------------------------


def group(**keys: object) -> GroupSpec:
    return GroupSpec.model_validate({"id": "g", "steps": ("m", "n"), "locks": WRITES, **keys})


def test_a_group_holds_its_locks_from_its_start_to_its_barrier(bench: Bench) -> None:
    members = [step(name, group="g") for name in "mn"]
    assert start(bench, *members, step("out", locks=WRITES), groups=(group(),)) == {"m", "n"}
    assert (holding(bench), waiting(bench)) == (["@g"], ["out"])
    bench.run_step("m")
    assert bench.run_step("n").joined == ("@g",)
    assert holding(bench) == ["@g"], "its members have ended, and what they wrote is not merged yet"
    moved = bench.judge("@g", ["m", "n"], branches=["m", "n"])
    assert released(moved) == {"out"}
    assert holding(bench) == ["out"]


def test_a_group_that_has_to_wait_starts_together(bench: Bench) -> None:
    members = [step(name, group="g") for name in "mn"]
    assert start(bench, step("out", locks=READS), *members, groups=(group(),)) == {"out"}
    assert [bench.state(name) for name in "mn"] == [StepState.READY] * 2
    assert released(bench.run_step("out")) == {"m", "n"}
    assert bench.node("@g", "header") == "2", "they travel as one chord"


def test_the_next_attempt_of_a_member_finds_the_groups_lock(bench: Bench) -> None:
    members = [step(name, group="g") for name in "mn"]
    start(bench, *members, step("out", locks=WRITES), groups=(group(),))
    bench.ledger.finish("run", "m", "retrying", token=bench.granted("m").token)
    again = bench.ledger.requeue("run", "m", found="retrying")
    assert isinstance(again, Moved)
    assert released(again) == {"m"}
    assert holding(bench) == ["@g"]


def test_members_lock_among_themselves_and_pass_by_those_who_wait_for_their_group(bench: Bench) -> None:
    members = [step(name, group="g", locks=WRITES) for name in "mn"]
    assert start(bench, *members, step("out", locks=WRITES, priority=10), groups=(group(),)) == {"m"}
    assert waiting(bench) == ["n", "out"]
    assert released(bench.run_step("m")) == {"n"}
    assert waiting(bench) == ["out"]


def test_a_barrier_that_gives_up_frees_the_groups_locks(bench: Bench) -> None:
    members = [step(name, group="g", locks=WRITES) for name in "mn"]
    start(bench, *members, step("out", locks=WRITES), groups=(group(barrier=BarrierSpec(timeout=5)),))
    bench.granted("m")
    moved = bench.judge("@g", ["m", "n"], branches=[])
    assert released(moved) == {"out"}
    assert (holding(bench), waiting(bench)) == (["out"], [])


# -- beside locks that agents take ------------------------------------------------------------------------------------


def hold(bench: Bench, name: str, section: str = "board", **options: bool) -> tuple[Claimed, Lock]:
    granted = bench.granted(name)
    return granted, board(bench).acquire(section, holder=Holder(name, granted.token, OWNER), write=True, **options)


def test_what_an_agent_releases_admits_the_step_that_waits(bench: Bench) -> None:
    start(bench, step("a"), step("go"), step("b", "go", locks=WRITES))
    _, lock = hold(bench, "a")
    assert released(bench.run_step("go")) == set()
    assert bench.state("b") is StepState.READY
    assert board(bench).release(lock) == ("b",)
    assert "admit:b" in due(bench), "when whoever released it dies now, a sweep goes on"
    moved = bench.ledger.admit("run", ["b"])
    assert isinstance(moved, Moved)
    assert released(moved) == {"b"}
    bench.now += 3
    assert "admit:b" not in due(bench)
    again = bench.ledger.admit("run", ["b", "go"])
    assert isinstance(again, Moved)
    assert released(again) == set(), "once"


def test_a_dead_holder_is_swept_for_the_step_that_waits(bench: Bench) -> None:
    start(bench, step("a"), step("go"), step("b", "go", locks=WRITES))
    hold(bench, "a")
    bench.run_step("go")
    bench.now += 6
    assert "lock:board" in due(bench)
    assert board(bench).sweep() == (1, ("b",))


def test_agents_wait_for_declared_locks_in_turn(bench: Bench) -> None:
    start(bench, step("a", locks=WRITES), step("b"))
    granted = bench.granted("b")
    wish = board(bench).request("board", Holder("b", granted.token), write=True)
    assert isinstance(board(bench).ask(wish), float)
    bench.run_step("a")
    assert isinstance(board(bench).ask(wish), Lock)


def test_an_agent_that_holds_something_is_not_kept_waiting_by_those_who_hold_nothing(bench: Bench) -> None:
    both = {"x": "write", "y": "write"}
    start(bench, step("a"), step("go"), step("b", "go", locks=both))
    granted, _ = hold(bench, "a", "x")
    bench.run_step("go")
    assert waiting(bench, "y") == ["b"]
    assert board(bench).acquire("y", holder=Holder("a", granted.token, OWNER), write=True), "y is free, b waits for x"


def test_an_agent_takes_no_declared_lock_twice(bench: Bench) -> None:
    start(bench, step("a", locks=WRITES))
    with pytest.raises(AgentError, match="has the lock of 'board' already"):
        hold(bench, "a")
    declared = board(bench).declared("board", "a")
    assert declared is not None
    assert (declared.token, declared.write) == (1, True)
    assert board(bench).declared("board", "other") is None


def test_members_agents_lock_inside_their_groups_lock(bench: Bench) -> None:
    members = [step(name, group="g") for name in "mn"]
    start(bench, *members, step("out", locks=WRITES), groups=(group(),))
    granted = bench.granted("m")
    mine = Holder("m", granted.token, OWNER, "@g")
    impatient = Locks(bench.client, "run", LockRules(queuing=False), now=bench.now)
    with pytest.raises(LockTimeout):
        impatient.acquire("board", holder=mine, write=True)
    assert impatient.acquire("board", holder=mine, write=True, covered=True)
    other = Holder("n", bench.granted("n").token, OWNER, "@g")
    with pytest.raises(LockTimeout):
        impatient.acquire("board", holder=other, write=True, covered=True)


# -- any workflow, in any order ---------------------------------------------------------------------------------

SECTIONS = ("x", "y", "z")


def _anything(random: Random) -> WorkflowSpec:
    def some() -> dict[str, str]:
        return {section: random.choice(("read", "write")) for section in SECTIONS if random.random() < 0.45}

    steps, groups = list[StepSpec](), list[GroupSpec]()
    for number in range(14):
        needs = random.sample([one.id for one in steps], min(len(steps), random.choice((0, 0, 1, 2))))
        retry = {"maximum_attempts": 0}
        options = {"priority": random.choice((1, 5, 5, 9)), "trigger_rule": TriggerRule.ALL_DONE, "retry": retry}
        steps.append(step(f"s{number}", *needs, locks=some(), **options))
    for number in range(2):
        held, names = some(), (f"g{number}a", f"g{number}b", f"g{number}c")
        need = random.sample([one.id for one in steps if one.group is None], 1)
        for name in names:
            own = {key: mode for key, mode in held.items() if random.random() < 0.5}
            steps.append(step(name, *need, locks=own, group=f"g{number}", trigger_rule=TriggerRule.ALL_DONE))
        groups.append(GroupSpec.model_validate({"id": f"g{number}", "steps": names, "locks": held}))
    return spec(*steps, groups=tuple(groups))


def _check_holders(bench: Bench, flow: WorkflowSpec) -> None:
    """Nobody holds what another one writes, and everybody that is under way holds all that it declares."""
    states = {name: status.state for name, status in bench.reader.status("run").steps.items()}
    active = {name for name, state in states.items() if state in (StepState.QUEUED, StepState.RUNNING)}
    group_of = {name: f"@{one.id}" for one in flow.groups for name in one.steps}
    for section in SECTIONS:
        held = board(bench).holders(section)
        groups = {entry.holder.step for entry in held if entry.holder.step[0] == "@"}
        _check_side_by_side([entry for entry in held if group_of.get(entry.holder.step) not in groups])
        for node in groups:
            _check_side_by_side([entry for entry in held if group_of.get(entry.holder.step) == node])
        names = {entry.holder.step for entry in held}
        assert {name for name in names if name[0] != "@"} == {
            one.id for one in flow.steps if section in one.locks and one.id in active
        }, f"not those hold {section} who are under way with it"


def _check_side_by_side(held: list[Entry]) -> None:
    writers = [entry.write for entry in held]
    assert len(held) <= (1 if any(writers) else 5), f"side by side: {held}"


def _members(flow: WorkflowSpec, node: str) -> tuple[str, ...]:
    return next(one.steps for one in flow.groups if f"@{one.id}" == node)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_nobody_waits_for_ever(bench: Bench, seed: int) -> None:
    _run_anything(bench, Random(seed))


def _run_anything(bench: Bench, random: Random) -> None:
    flow = _anything(random)
    bench.create(flow)
    tokens: dict[str, Claimed] = {}
    for _ in range(2000):
        states = {name: status.state for name, status in bench.reader.status("run").steps.items()}
        barriers = [f"@{one.id}" for one in flow.groups if bench.node(f"@{one.id}", "state") == "joined"]
        _check_holders(bench, flow)
        moves = [name for name, state in states.items() if state in ("queued", "running", "retrying")] + barriers
        if not moves:
            break
        name = random.choice(moves)
        bench.now += random.random()
        if name in barriers:
            ended = [one for one in _members(flow, name) if states[one] is StepState.SUCCESS]
            assert isinstance(bench.judge(name, _members(flow, name), branches=ended), Moved)
        elif states[name] is StepState.QUEUED:
            if random.random() < 0.1:
                assert isinstance(bench.ledger.requeue("run", name, found="queued"), Moved)
            elif random.random() < 0.1:
                assert isinstance(bench.ledger.expire("run", name, error="StepTimeout: late"), Moved)
            else:
                tokens[name] = bench.granted(name)
        elif states[name] is StepState.RUNNING:
            bench.ledger.finish("run", name, random.choice(("success", "success", "failed", "retrying")),
                                token=tokens[name].token, snapshot=tokens[name].version)  # fmt: skip
        else:
            bench.ledger.requeue("run", name, found="retrying")
    assert set(states.values()) <= FINAL_STEP_STATES, f"somebody waits for ever: {states}"
    assert [board(bench).holders(section) for section in SECTIONS] == [()] * 3, "a lock is left"
    assert [board(bench).queue(section) for section in SECTIONS] == [()] * 3, "somebody is left in a queue"


MUTANTS = {
    "one section at a time": ("if not is_next(head.id, sections) then break end", "", 0, "side by side"),
    "a retry keeps its locks": ("free_locks(A.step)", "", 0, "not those hold"),
    "the end of a node keeps its locks": ("if f[2] then free_locks(node) end", "", 0, "somebody waits for ever"),
    "whoever is granted is not released": ("ADMITTED[#ADMITTED + 1] = entry.step", "", 0, "not those hold"),
    "members queue behind those who wait for their group": (
        "(entry.under and other.under ~= entry.under)",
        "false",
        12,
        "somebody waits for ever",
    ),
    "members compete with their group": ("if other.step ~= entry.under then", "if true then", 0, "somebody waits"),
    "only one member of a group is released": (
        "cjson.decode(redis.call('HGET', DEFS, node)).members",
        "{}",
        0,
        "somebody waits for ever",
    ),
}
"""What is wrong -> the Lua that is replaced, by what, a run in which it does harm, and what is said to it."""


@pytest.mark.proofs
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    old, new, seed, complaint = MUTANTS[name]
    bench.client.flushdb()
    _run_anything(bench, Random(seed))
    bench.client.flushdb()
    wrong = changed(named(TRANSITIONS), old, new)
    monkeypatch.setattr("tests.state.bench.TRANSITIONS", replace(TRANSITIONS, **wrong))
    with complains(complaint):
        _run_anything(bench, Random(seed))
