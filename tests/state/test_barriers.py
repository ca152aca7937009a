"""Barriers in the ledger, the real Lua with a clock that we move: second turns, deadlines, what a decision tells."""

from __future__ import annotations

from orchestrator.run.models import RunState, StepState
from orchestrator.run.replies import Claimed, Moved, Refused
from orchestrator.workflow.models import BarrierSpec, GroupSpec
from tests.state.bench import OWNER, Bench, released, spec, step

GROUP = GroupSpec(id="g", steps=("b", "c", "d"), barrier=BarrierSpec(timeout=60))
FAN = spec(*(step(name, group="g") for name in "bcd"), step("z", "b", "c", "d"), groups=(GROUP,))
NODE, MEMBERS, PAUSE = "@g", ("b", "c", "d"), 3.0


def fall_back(bench: Bench, *again: str) -> Moved | Refused:
    seen = [bench.state(name).value for name in MEMBERS]
    return bench.ledger.fall_back(
        "run", NODE, again=again, members=MEMBERS, seen=seen, seconds=120, pause=PAUSE, reason="test"
    )


def due(bench: Bench) -> list[str]:
    return [item.item for item in bench.ledger.due("run", again=2).items]


def begun(bench: Bench) -> dict[str, Claimed]:
    """All members run."""
    assert released(bench.create(FAN)) == set(MEMBERS)
    return {name: bench.granted(name) for name in MEMBERS}


def test_members_run_again_one_after_another_and_then_the_barrier_joins(bench: Bench) -> None:
    bench.create(FAN)
    bench.run_step("b")
    bench.run_step("c", "failed")
    assert bench.run_step("d", "failed").joined == (NODE,)
    moved = fall_back(bench, "c", "d")
    assert released(moved) == {"c"}
    assert (bench.state("c"), bench.state("d")) == (StepState.QUEUED, StepState.PENDING)
    assert bench.claim("d") == Refused("pending"), "an old message starts nobody before his turn"
    first = bench.run_step("c")
    assert (released(first), first.joined) == ({"d"}, ())
    assert bench.run_step("d").joined == (NODE,)
    assert isinstance(bench.judge(NODE, MEMBERS, MEMBERS), Moved)
    assert bench.run_step("z").run_state == RunState.SUCCESS, "what failed at first counts for nothing"
    assert bench.reader.status("run").steps["c"].attempts == 2


def test_an_attempt_that_is_taken_away_is_fenced_and_its_slot_freed_before_the_next_starts(bench: Bench) -> None:
    granted = begun(bench)
    bench.end("b", granted["b"])
    moved = fall_back(bench, "c", "d")
    assert released(moved) == set()
    assert (bench.state("c"), bench.state("d")) == (StepState.RETRYING, StepState.PENDING)
    told = bench.ledger.renew("run", MEMBERS, owner=OWNER, lease=5)
    assert told == {"b": 7, "c": 0, "d": 0}, "the processes of c and d are ended"
    assert bench.end("c", granted["c"]) == Refused("retrying")
    assert bench.end("d", granted["d"]) == Refused("pending")
    bench.now += PAUSE
    assert due(bench) == ["retry:c"]
    assert released(bench.ledger.requeue("run", "c", found="retrying")) == {"c"}
    again = bench.granted("c")
    assert again.token == granted["c"].token + 1
    assert bench.ledger.spent("run", "c") == granted["c"].token
    ended = bench.end("c", again)
    assert isinstance(ended, Moved)
    assert released(ended) == {"d"}


def test_a_decision_takes_effect_only_over_members_as_it_saw_them(bench: Bench) -> None:
    granted = begun(bench)
    seen = ["running"] * 3
    bench.end("b", granted["b"])
    late = bench.ledger.fall_back(
        "run", NODE, again=MEMBERS, members=MEMBERS, seen=seen, seconds=0, pause=PAUSE, reason="test"
    )
    assert late == Refused("moved")
    assert bench.ledger.judge("run", NODE, "failed", decision="", members=MEMBERS, seen=seen, early=True) == late
    assert bench.state("c") is StepState.RUNNING, "a refused transition changes nothing"


def test_falling_back_happens_once(bench: Bench) -> None:
    granted = begun(bench)
    bench.end("b", granted["b"])
    assert isinstance(fall_back(bench, "c", "d"), Moved)
    assert fall_back(bench, "c", "d") == Refused("pending")
    group = bench.ledger.group("run", NODE)
    assert group is not None
    assert group.fell_back


def test_the_second_turn_has_a_deadline_of_its_own_and_members_may_fail_again(bench: Bench) -> None:
    begun(bench)
    bench.now += 60
    assert "barrier:@g" in due(bench)
    fall_back(bench, *MEMBERS)
    group = bench.ledger.group("run", NODE)
    assert group is not None
    assert (group.deadline, [member.state for member in group.members]) == (
        bench.now + 120, ["retrying", "pending", "pending"],
    )  # fmt: skip
    bench.now += PAUSE
    bench.ledger.requeue("run", "b", found="retrying")
    assert released(bench.run_step("b", "failed")) == {"c"}
    assert released(bench.run_step("c")) == {"d"}
    bench.now += 120
    assert "barrier:@g" in due(bench)
    moved = bench.judge(NODE, MEMBERS, ["c"], {"b": {}, "d": {}})
    assert released(moved) == {"z"}
    assert bench.state("d") is StepState.TIMED_OUT
    assert bench.run_step("z").run_state == RunState.PARTIAL


def test_a_member_that_waits_for_another_one_gets_its_turn_or_fails_with_it(bench: Bench) -> None:
    inner = spec(step("b", group="g"), step("c", "b", group="g"), step("d", group="g"), groups=(GROUP,))
    for ends, states in (("success", (StepState.QUEUED, StepState.PENDING)),
                         ("failed", (StepState.UPSTREAM_FAILED, StepState.QUEUED))):  # fmt: skip
        bench.client.flushdb()
        bench.create(inner)
        bench.run_step("d", "failed")
        assert bench.run_step("b", "failed").joined == (NODE,)
        assert bench.state("c") is StepState.UPSTREAM_FAILED
        assert released(fall_back(bench, "b", "c", "d")) == {"b"}
        bench.run_step("b", ends)
        assert (bench.state("c"), bench.state("d")) == states


def test_the_alert_is_due_until_somebody_has_raised_it(bench: Bench) -> None:
    begun(bench)
    fall_back(bench, *MEMBERS)
    bench.now += 11
    assert "alert:@g" in due(bench)


def test_cancelling_ends_the_second_turn(bench: Bench) -> None:
    begun(bench)
    fall_back(bench, *MEMBERS)
    answer = bench.ledger.stop("run", "cancelled", reason="test", grace=5)
    assert answer == Moved(RunState.CANCELLED)
    assert {bench.state(name) for name in MEMBERS} == {StepState.CANCELLED}


def test_a_decision_tells_its_deadline_and_when_it_was_taken(bench: Bench) -> None:
    begun(bench)
    deadline = bench.now + 60
    bench.now = deadline + 0.25
    bench.ledger.extend("run", NODE, 30, MEMBERS, reason="b made progress")
    bench.now += 31
    bench.judge(NODE, MEMBERS, [], {"b": {}})
    told = [event for event in bench.events() if event.type == "barrier"]
    assert [(event.state, float(event.detail["deadline"])) for event in told] == [
        ("extended", deadline), ("success", deadline + 30.25),
    ]  # fmt: skip
    assert float(told[1].detail["decided_at"]) == told[1].at == bench.now
