"""The ledger's Lua on a real server: releases, fencing, recovery, barriers."""

from __future__ import annotations

import itertools
import threading
from typing import Any, cast

import pytest
import redis

from orchestrator.barrier.policy import Member, enough
from orchestrator.run.models import RunState, StepState
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.replies import Claimed, Moved, Refused
from orchestrator.run.shape import Shape
from orchestrator.run.transitions import lua
from orchestrator.workflow.models import BarrierSpec, GroupSpec, TriggerRule
from orchestrator.workflow.plan import make_plan
from tests.state.bench import OWNER, Bench, own, released, spec, step

DIAMOND = spec(
    step("a"), step("b", "a", group="g"), step("c", "a", group="g"), step("d", "b", "c"),
    groups=(GroupSpec(id="g", steps=("b", "c")),),
)  # fmt: skip


def test_a_step_starts_the_moment_its_own_dependencies_are_met(bench: Bench) -> None:
    ragged = spec(step("a"), step("x"), step("b", "a"), step("y", "x", "a"), step("z", "b"))
    assert released(bench.create(ragged)) == {"a", "x"}
    assert released(bench.run_step("a")) == {"b"}
    moved = bench.run_step("b")
    assert bench.state("y") is StepState.PENDING
    assert bench.state("z") is StepState.QUEUED, released(moved)
    assert released(bench.run_step("x")) == {"y"}


def test_links_of_a_linear_run_travel_with_its_chain(bench: Bench) -> None:
    moved = bench.create(spec(step("a"), step("b", "a"), step("c", "b")))
    assert [link[0] for link in moved.released[0]["next"]] == ["b", "c"]
    assert released(bench.run_step("a")) == set()
    assert bench.state("b") is StepState.QUEUED


def test_a_chain_is_cut_where_the_settings_say(bench: Bench) -> None:
    line = spec(*(step(name, *before) for name, before in zip("abcd", ["", "a", "b", "c"], strict=True)))
    nodes = compile_nodes(make_plan(line), str, Shape(segment_links=3))
    assert [[link[0] for link in node.definition.get("next", ())] for node in nodes] == [["b", "c"], ["c"], [], []]


def test_a_link_is_published_when_its_chain_ended_with_a_dead_process(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a")))
    granted = bench.claim("a")
    assert isinstance(granted, Claimed)
    moved = bench.ledger.finish("run", "a", "success", token=granted.token, executed=False)
    assert isinstance(moved, Moved)
    assert released(moved) == {"b"}


def test_only_the_current_token_may_finish(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a")))
    first = bench.claim("a")
    assert isinstance(first, Claimed)
    assert isinstance(bench.claim("a", "worker-2"), Refused)
    bench.ledger.finish("run", "a", "retrying", token=first.token, executed=False)
    bench.ledger.requeue("run", "a", found="retrying")
    second = bench.claim("a", "worker-2")
    assert isinstance(second, Claimed)
    assert second.token == first.token + 1
    late = bench.ledger.finish("run", "a", "success", token=first.token, fields=own("a", {"from": "zombie"}))
    assert late == Refused("running")
    assert bench.context.outputs("run") == {}
    assert isinstance(bench.end("a", second, {"ok": 1}), Moved)
    assert bench.end("a", second, {"ok": 2}) == Refused("success")
    assert bench.context.outputs("run") == {"a": {"ok": 1}}


class Twice:
    """A client that sends every script twice and hands out the second answer."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def evalsha(self, *arguments: Any) -> Any:
        self._client.evalsha(*arguments)
        return self._client.evalsha(*arguments)

    def eval(self, *arguments: Any) -> Any:
        self._client.eval(*arguments)
        return self._client.eval(*arguments)


def test_a_call_that_is_repeated_after_a_lost_answer_gets_the_same_answer(bench: Bench) -> None:
    """redis-py sends a command again when the connection broke before its answer came."""
    bench.create(spec(step("a"), step("b")))
    ledger = bench.ledger
    ledger.client = cast(redis.Redis, Twice(bench.client))
    granted = ledger.claim("run", "a", worker=OWNER, owner=OWNER, lease=5, pid=7)
    assert isinstance(granted, Claimed)
    assert granted.token == 1
    moved = ledger.finish("run", "a", "success", token=1)
    assert isinstance(moved, Moved)
    assert bench.state("a") is StepState.SUCCESS
    assert isinstance(bench.claim("a", "somebody else"), Refused)


def test_a_step_that_always_runs_starts_at_once(bench: Bench) -> None:
    moved = bench.create(spec(step("a"), step("b", "a", rule=TriggerRule.ALWAYS)))
    assert released(moved) == {"a", "b"}


def test_failure_reaches_everyone_behind_and_ends_the_run(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a"), step("c", "b"), step("free")))
    bench.run_step("a", "failed")
    assert bench.state("c") is StepState.UPSTREAM_FAILED
    assert bench.reader.state("run") is RunState.RUNNING
    assert bench.run_step("free").run_state == RunState.FAILED


def test_a_failure_that_a_later_step_copes_with_leaves_the_run_partial(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a", rule=TriggerRule.ALL_DONE)))
    assert released(bench.run_step("a", "failed")) == {"b"}
    assert bench.run_step("b").run_state == RunState.PARTIAL


def test_a_barrier_joins_when_all_members_have_ended_and_releases_once(bench: Bench) -> None:
    bench.create(DIAMOND)
    assert released(bench.run_step("a")) == {"b", "c"}
    assert bench.run_step("b").joined == ()
    assert bench.node("@g", "state") == "pending"
    assert bench.run_step("c").joined == ("@g",)
    done = bench.judge("@g", ["b", "c"], ["b", "c"])
    assert isinstance(done, Moved)
    assert released(done) == {"d"}
    again = bench.judge("@g", ["b", "c"], ["b", "c"])
    assert again == Refused("success")
    assert bench.run_step("d").run_state == RunState.SUCCESS


def test_a_joined_barrier_that_nobody_judged_is_due(bench: Bench) -> None:
    bench.create(DIAMOND)
    for name in ("a", "b", "c"):
        bench.run_step(name)
    bench.now += 2.1
    assert [item.item for item in bench.ledger.due("run", again=2).items] == ["joined:@g"]


def test_members_that_are_released_together_know_the_size_of_their_chord(bench: Bench) -> None:
    bench.create(DIAMOND)
    bench.run_step("a")
    assert bench.node("@g", "header") == "2"


def test_a_barrier_that_moves_on_fills_gaps_and_refuses_late_members(bench: Bench) -> None:
    bench.create(DIAMOND)
    bench.run_step("a")
    slow = bench.claim("b")
    assert isinstance(slow, Claimed)
    bench.run_step("c")
    moved = bench.judge("@g", ["b", "c"], ["c"], {"b": {"default": True}})
    assert isinstance(moved, Moved)
    assert released(moved) == {"d"}
    assert bench.state("b") is StepState.TIMED_OUT
    assert bench.end("b", slow, {"late": 1}) == Refused("timed_out")
    assert bench.context.outputs("run")["b"] == {"default": True}
    assert bench.run_step("d").run_state == RunState.PARTIAL


def test_a_failed_member_is_judged_by_its_barrier_before_anyone_else_hears_of_it(bench: Bench) -> None:
    bench.create(
        spec(
            step("b", group="g"),
            step("c", group="g"),
            step("direct", "b"),
            step("d", "b", "c"),
            groups=(GroupSpec(id="g", steps=("b", "c")),),
        )
    )
    bench.run_step("b", "failed")
    assert bench.state("direct") is StepState.PENDING
    bench.run_step("c")
    moved = bench.judge("@g", ["b", "c"], ["c"], {"b": {}})
    assert isinstance(moved, Moved)
    assert released(moved) == {"direct", "d"}


def test_members_with_different_dependencies_start_together(bench: Bench) -> None:
    moved = bench.create(
        spec(
            step("a"),
            step("x"),
            step("b", "a", group="g"),
            step("c", "x", group="g"),
            groups=(GroupSpec(id="g", steps=("b", "c")),),
        )
    )
    assert released(moved) == {"a", "x"}
    assert released(bench.run_step("a")) == set()
    assert released(bench.run_step("x")) == {"b", "c"}


def test_a_member_that_waits_for_another_one_through_a_step_outside_is_not_held_back(bench: Bench) -> None:
    bench.create(
        spec(
            step("x", group="g"),
            step("c", "x"),
            step("y", "c", group="g"),
            step("z", "x", "y"),
            groups=(GroupSpec(id="g", steps=("x", "y")),),
        )
    )
    for name in ("x", "c"):
        bench.run_step(name)
    assert bench.run_step("y").joined == ("@g",)


def test_what_is_due_is_handed_out_and_comes_back_when_nobody_acts(bench: Bench) -> None:
    bench.create(spec(step("a")))
    bench.claim("a")
    assert bench.ledger.due("run", again=2).items == ()
    bench.now += 5.1
    (item,) = bench.ledger.due("run", again=2).items
    assert (item.kind, item.node, item.state, item.token) == ("lease", "a", "running", 1)
    assert bench.ledger.due("run", again=2).items == ()
    bench.now += 2.1
    assert [found.kind for found in bench.ledger.due("run", again=2).items] == ["lease"]


def test_a_step_that_no_worker_takes_in_time_is_timed_out(bench: Bench) -> None:
    bench.create(spec(step("a", schedule_timeout=3), step("taken", schedule_timeout=3), step("b", "a")))
    bench.claim("taken")
    bench.now += 3.1
    (item,) = bench.ledger.due("run", again=2).items
    assert (item.item, round(item.late, 3)) == ("schedule:a", 0.1)
    assert isinstance(bench.ledger.expire("run", "a", error="late"), Moved)
    assert (bench.state("a"), bench.state("b")) == (StepState.TIMED_OUT, StepState.UPSTREAM_FAILED)
    assert bench.ledger.expire("run", "taken", error="late") == Refused("running")


def test_renewal_keeps_a_lease_and_names_what_is_no_longer_held(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b"), step("c")))
    bench.claim("a")
    bench.claim("b", "worker-2")
    bench.now += 4
    assert bench.ledger.renew("run", ["a", "b", "c"], owner=OWNER, lease=5) == {"a": 7, "b": -1}
    bench.now += 4
    assert [item.node for item in bench.ledger.due("run", again=2).items] == ["b"]


def test_a_process_that_ended_its_attempt_itself_is_left_alone_and_one_that_lost_it_is_not(bench: Bench) -> None:
    bench.create(spec(step("done"), step("failed"), step("lost"), step("queued")))
    bench.run_step("done")
    bench.run_step("failed", "retrying")
    lost = bench.claim("lost")
    assert isinstance(lost, Claimed)
    bench.ledger.finish("run", "lost", "timed_out", token=lost.token, executed=False)
    told = bench.ledger.renew("run", ["done", "failed", "lost", "queued"], owner=OWNER, lease=5)
    assert told == {"done": 7, "failed": 7, "lost": 0}


def test_cancelling_ends_what_waits_and_gives_grace_to_what_runs(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a"), step("c")))
    granted = bench.claim("a")
    assert isinstance(granted, Claimed)
    answer = bench.ledger.stop("run", "cancelled", reason="test", grace=5)
    assert answer == Moved("cancelling")
    assert (bench.state("b"), bench.state("c")) == (StepState.CANCELLED, StepState.CANCELLED)
    assert isinstance(bench.claim("c"), Refused)
    moved = bench.ledger.finish("run", "a", "success", token=granted.token, fields=own("a", {"x": 1}))
    assert isinstance(moved, Moved)
    assert moved.run_state == RunState.CANCELLED
    assert bench.context.outputs("run") == {}


def test_creating_twice_changes_nothing(bench: Bench) -> None:
    bench.create(spec(step("a")))
    bench.run_step("a")
    plan = make_plan(spec(step("a")))
    again = bench.ledger.create("run", compile_nodes(plan, str), workflow="w", spec="", inputs={})
    assert again == Refused("exists")
    assert bench.state("a") is StepState.SUCCESS


def test_every_key_of_an_ended_run_expires(bench: Bench) -> None:
    bench.create(DIAMOND)
    for name in ("a", "b", "c"):
        bench.run_step(name)
    bench.judge("@g", ["b", "c"], ["b", "c"])
    bench.run_step("d")
    left = {name: bench.client.ttl(name) for name in bench.client.scan_iter("orc:{*")}
    assert left, "the run is still there"
    assert all(0 < seconds <= 60 for seconds in left.values()), left


def expected(rule: TriggerRule, ok: int, bad: int, skip: int, n: int) -> str:
    """Airflow 3's rules, written down a second time."""
    done, stop = ok + bad + skip == n, "upstream_failed" if bad else "skipped"
    table = {
        TriggerRule.ALL_SUCCESS: stop if bad or skip else "run" if ok == n else "wait",
        TriggerRule.ALL_FAILED: "skipped" if ok or skip else "run" if bad == n else "wait",
        TriggerRule.ALL_DONE: "run" if done else "wait",
        TriggerRule.ALL_DONE_MIN_ONE_SUCCESS: ("run" if ok else stop) if done else "wait",
        TriggerRule.ONE_SUCCESS: "run" if ok else stop if done else "wait",
        TriggerRule.ONE_FAILED: "run" if bad else "skipped" if done else "wait",
        TriggerRule.ONE_DONE: "run" if ok or bad else "skipped" if done else "wait",
        TriggerRule.NONE_FAILED: "upstream_failed" if bad else "run" if done else "wait",
        TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: stop if bad else ("run" if ok else "skipped") if done else "wait",
        TriggerRule.NONE_SKIPPED: "skipped" if skip else "run" if done else "wait",
        TriggerRule.ALL_SKIPPED: "skipped" if ok or bad else "run" if done else "wait",
        TriggerRule.ALWAYS: "run",
    }
    return table[rule]


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_trigger_rules_are_airflows(bench: Bench, rule: TriggerRule) -> None:
    """Those of steps, and those of groups, which are judged when all members have ended."""
    source = lua("rules") + "\nreturn verdict(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), " \
        "tonumber(ARGV[5]))"  # fmt: skip
    for ok, bad, skip, left in itertools.product(range(3), repeat=4):
        n = ok + bad + skip + left
        if n:
            found = bench.client.eval(source, 0, rule.value, n, ok, bad, skip)
            assert found == expected(rule, ok, bad, skip, n).encode(), (rule, ok, bad, skip, n)
            if not left:
                states = ["success"] * ok + ["timed_out"] * bad + ["skipped"] * skip
                members = [Member(str(number), state) for number, state in enumerate(states)]
                assert enough(BarrierSpec(trigger_rule=rule), members) == (found == b"run"), (rule, ok, bad, skip)


def test_a_hundred_claims_at_once_grant_one_attempt(bench: Bench) -> None:
    bench.create(spec(step("a")))
    granted: list[Claimed] = []
    gate = threading.Barrier(100)

    def try_to_claim(number: int) -> None:
        gate.wait()
        answer = bench.claim("a", f"worker-{number}")
        if isinstance(answer, Claimed):
            granted.append(answer)

    threads = [threading.Thread(target=try_to_claim, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.token for answer in granted] == [1]


def test_a_fan_in_of_a_thousand_releases_once_whoever_is_last(bench: Bench) -> None:
    names = [f"s{number}" for number in range(1000)]
    bench.create(spec(*(step(name) for name in names), step("join", *names)))
    released_by: list[str] = []

    def work(mine: list[str]) -> None:
        for name in mine:
            released_by.extend(released(bench.run_step(name)))

    threads = [threading.Thread(target=work, args=(names[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert released_by == ["join"]
