"""Pause, resume and retry on a real server: what starts, which clocks run, what is taken back, and races."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator import keys
from orchestrator.messages.models import LogEvent, parse_events
from orchestrator.run import logs
from orchestrator.run.models import LogLine, RunState, StepState
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.replies import Claimed, Moved, Refused
from orchestrator.workflow.models import GroupSpec, TriggerRule, WorkflowSpec
from orchestrator.workflow.plan import make_plan
from tests.state.bench import Bench, released, shared, spec, step

LINE = spec(step("a"), step("b", "a"), step("c", "b"))
DIAMOND = spec(
    step("a"), step("b", "a", group="g"), step("c", "a", group="g"), step("d", "b", "c"),
    groups=(GroupSpec(id="g", steps=("b", "c"), barrier={"timeout": 30}),),  # type: ignore[arg-type]
)  # fmt: skip
SHARED = spec(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"))


def states(bench: Bench) -> dict[str, str]:
    return {name: one.state.value for name, one in bench.reader.status("run").steps.items()}


def counted(bench: Bench) -> dict[str, int]:
    raw: Any = bench.client.hmget(keys.run_key("run", "meta"), "done", "bad", "bad_leaf")
    return dict(zip(("done", "bad", "bad_leaf"), map(int, raw), strict=True))


def due(bench: Bench) -> dict[str, float]:
    raw: Any = bench.client.zrange(keys.run_key("run", "due"), 0, -1, withscores=True)
    return {item.decode(): score - bench.now for item, score in raw}


def moved(answer: object) -> Moved:
    assert isinstance(answer, Moved), answer
    return answer


def test_a_paused_run_starts_nothing_and_what_runs_ends(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a"), step("c")))
    granted = bench.granted("a")
    assert bench.ledger.pause("run") == Moved("paused")
    assert states(bench) == {"a": "running", "b": "pending", "c": "ready"}
    assert bench.claim("c") == Refused("ready"), "its message may still come"
    assert moved(bench.end("a", granted)).released == ()
    assert states(bench) == {"a": "success", "b": "ready", "c": "ready"}
    assert released(bench.ledger.resume("run")) == {"b", "c"}
    assert bench.reader.state("run") is RunState.RUNNING
    bench.run_step("b")
    assert bench.run_step("c").run_state == RunState.SUCCESS


def test_pausing_and_resuming_twice_is_doing_it_once(bench: Bench) -> None:
    bench.create(spec(step("a")))
    for _ in range(2):
        assert bench.ledger.pause("run") == Moved("paused")
    assert released(bench.ledger.resume("run")) == {"a"}
    assert bench.ledger.resume("run") == Moved("pending"), "and nothing is published again"
    assert [event for event in events(bench) if event[0] == "run"] == [
        ("run", "", "pending"), ("run", "", "paused"), ("run", "", "pending"),
    ]  # fmt: skip
    bench.run_step("a")
    assert bench.ledger.pause("run") == bench.ledger.resume("run") == Refused("success")
    assert bench.ledger.pause("nobody") == Refused("unknown")


def events(bench: Bench) -> list[tuple[str, str, str]]:
    raw: Any = bench.client.xrange(keys.run_key("run", "events"))
    return [(one[b"t"].decode(), one[b"n"].decode(), one[b"s"].decode()) for _, one in raw]


def test_clocks_of_what_waits_stand_still_while_a_run_is_paused(bench: Bench) -> None:
    nodes = compile_nodes(make_plan(DIAMOND), str)
    bench.ledger.create("run", nodes, workflow="w", spec="{}", inputs={}, timeout=100)
    bench.run_step("a")
    granted = bench.granted("b")
    bench.now += 10
    bench.ledger.pause("run")
    assert set(due(bench)) == {"lease:b"}, "of what runs, the clocks go on"
    bench.now += 1000
    assert [item.item for item in bench.ledger.due("run", again=2).items] == ["lease:b"]
    assert moved(bench.end("b", granted)).run_state == "paused"
    assert released(bench.ledger.resume("run")) == {"c"}
    assert due(bench) == pytest.approx({"run:": 90, "barrier:@g": 20, "queued:c": 10})


def test_the_time_to_be_taken_begins_anew_with_the_message(bench: Bench) -> None:
    bench.create(spec(step("a", schedule_timeout=5)))
    bench.now += 4
    bench.ledger.pause("run")
    assert due(bench) == {}
    bench.ledger.resume("run")
    assert due(bench) == pytest.approx({"schedule:a": 5, "queued:a": 10})


def test_an_attempt_that_failed_waits_for_the_end_of_the_pause(bench: Bench) -> None:
    bench.create(spec(step("a")))
    granted = bench.granted("a")
    bench.ledger.pause("run")
    bench.ledger.finish("run", "a", "retrying", token=granted.token, delay=3)
    bench.now += 3.1
    assert [item.item for item in bench.ledger.due("run", again=2).items] == ["retry:a"]
    assert bench.ledger.requeue("run", "a", found="retrying") == Moved("paused")
    assert released(bench.ledger.resume("run")) == {"a"}
    assert bench.granted("a").token == 2


def test_a_paused_run_may_end_be_cancelled_and_wait_for_a_person(bench: Bench) -> None:
    bench.create(spec(step("a")))
    granted = bench.granted("a")
    bench.ledger.pause("run")
    opened = bench.ledger.finish("run", "a", "success", token=granted.token, conflicts=[("x", "{}")],
                                 undecided=[("x", None)])  # fmt: skip
    assert moved(opened).run_state == "paused", "a conflict is open"
    assert moved(bench.ledger.resume("run")).run_state == "awaiting_input"
    bench.ledger.pause("run")
    assert bench.ledger.stop("run", "cancelled", reason="", grace=1) == Moved("cancelled")


def test_members_of_a_chord_that_a_pause_took_apart_are_published_again(bench: Bench) -> None:
    bench.create(DIAMOND)
    bench.run_step("a")
    assert bench.node("@g", "header") == "2"
    bench.run_step("b")
    bench.ledger.pause("run")
    assert bench.node("@g", "header") == ""
    assert released(bench.ledger.resume("run")) == {"c"}
    assert bench.node("@g", "header") == "", "alone it travels as a single task"
    assert bench.run_step("c").joined == ("@g",)


def failed_line(bench: Bench) -> None:
    bench.create(LINE)
    bench.run_step("a", output={"n": 1})
    assert bench.run_step("b", "failed").run_state == RunState.FAILED


def test_retrying_what_failed_keeps_what_was_good(bench: Bench) -> None:
    failed_line(bench)
    answer = moved(bench.ledger.retry("run", failed=True))
    assert released(answer) == {"b"}
    assert states(bench) == {"a": "success", "b": "queued", "c": "pending"}
    assert counted(bench) == {"done": 1, "bad": 0, "bad_leaf": 0}
    assert bench.granted("b").token == 2
    bench.end("b", Claimed(2, {}, 0, RunState.RUNNING), {"n": 2})
    assert bench.run_step("c", output={}).run_state == RunState.SUCCESS
    assert bench.context.outputs("run") == {"a": {"n": 1}, "b": {"n": 2}, "c": {}}


def test_nothing_of_a_run_that_goes_on_expires_and_all_of_it_when_it_has_ended_again(bench: Bench) -> None:
    bench.create(DIAMOND)
    for name in ("a", "b"):
        bench.run_step(name)
    bench.run_step("c", "failed")
    bench.judge("@g", ["b", "c"], ["b"])
    bench.run_step("d", "failed")
    kept = set(bench.client.scan_iter("orc:{*"))
    assert all(bench.client.ttl(name) > 0 for name in kept)
    bench.ledger.retry("run", "d")
    assert [name for name in bench.client.scan_iter("orc:{*") if bench.client.ttl(name) != -1] == []
    bench.run_step("d")
    assert set(bench.client.scan_iter("orc:{*")) == kept
    assert all(bench.client.ttl(name) > 0 for name in kept)


def test_a_retry_of_one_step_runs_it_and_all_that_comes_after_it(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a"), step("c", "a"), step("d", "b"), step("e", "c")))
    for name in "abcde":
        bench.run_step(name, output={"by": name})
    assert bench.reader.state("run") is RunState.SUCCESS
    assert released(bench.ledger.retry("run", "b")) == {"b"}
    assert states(bench) == {"a": "success", "b": "queued", "c": "success", "d": "pending", "e": "success"}
    assert set(bench.context.outputs("run")) == {"a", "c", "e"}, "what it wrote is taken back"
    bench.run_step("b", output={"again": 1})
    assert bench.run_step("d").run_state == RunState.SUCCESS
    assert bench.context.outputs("run")["b"] == {"again": 1}, "nothing of the first time is left"
    assert {name: one.attempts for name, one in bench.reader.status("run").steps.items()} == {
        "a": 1, "b": 2, "c": 1, "d": 2, "e": 1,
    }  # fmt: skip


def test_a_retry_of_the_whole_run_begins_with_nothing(bench: Bench) -> None:
    bench.create(DIAMOND)
    granted = bench.granted("a")
    bench.end("a", granted, {"n": 1}, shared("board.note", "x", 0))
    for name in ("b", "c"):
        bench.run_step(name)
    bench.judge("@g", ["b", "c"], ["b", "c"])
    assert bench.run_step("d").run_state == RunState.SUCCESS
    assert released(bench.ledger.retry("run")) == {"a"}
    assert set(states(bench).values()) == {"queued", "pending"}
    assert counted(bench) == {"done": 0, "bad": 0, "bad_leaf": 0}
    assert bench.context.documents("run") == {}
    assert released(bench.run_step("a")) == {"b", "c"}
    assert bench.node("@g", "header") == "2", "a chord again"
    bench.run_step("b")
    assert bench.run_step("c").joined == ("@g",)
    assert released(bench.judge("@g", ["b", "c"], ["b", "c"])) == {"d"}
    assert bench.run_step("d").run_state == RunState.SUCCESS


def test_a_group_that_is_retried_by_turns_starts_side_by_side_again(bench: Bench) -> None:
    """Its fallback was under way when the run was cancelled: one member waited for its turn."""
    bench.create(DIAMOND)
    bench.run_step("a")
    for name in ("b", "c"):
        bench.run_step(name, "failed")
    bench.ledger.fall_back("run", "@g", again=["b", "c"], members=["b", "c"], seconds=0, pause=1, reason="")
    assert states(bench) == {"a": "success", "b": "queued", "c": "pending", "d": "pending"}
    bench.ledger.stop("run", "cancelled", reason="", grace=1)
    assert released(bench.ledger.retry("run", failed=True)) == {"b", "c"}
    bench.run_step("b")
    assert bench.run_step("c").joined == ("@g",)


def test_a_member_whose_turn_had_not_come_starts_when_another_one_is_retried(bench: Bench) -> None:
    bench.create(DIAMOND)
    bench.run_step("a")
    for name in ("b", "c"):
        bench.run_step(name, "failed")
    bench.ledger.fall_back("run", "@g", again=["b", "c"], members=["b", "c"], seconds=0, pause=1, reason="")
    assert released(bench.ledger.retry("run", "a")) == {"a"}
    assert released(bench.run_step("a")) == {"b", "c"}


def test_a_member_that_is_retried_is_joined_again_with_those_that_stay(bench: Bench) -> None:
    bench.create(DIAMOND)
    for name in ("a", "b"):
        bench.run_step(name, output={"by": name})
    bench.run_step("c", "failed")
    bench.judge("@g", ["b", "c"], ["b"], {"c": {"stand": "in"}})
    assert bench.run_step("d").run_state == RunState.PARTIAL
    assert released(bench.ledger.retry("run", failed=True)) == {"c"}
    assert states(bench) == {"a": "success", "b": "success", "c": "queued", "d": "pending"}
    assert "c" not in bench.context.outputs("run"), "nobody stands in any more"
    assert bench.run_step("c", output={"by": "c"}).joined == ("@g",)
    assert "barrier:@g" in due(bench), "the group's clock began with the new attempt"
    assert bench.judge("@g", ["b", "c"], ["b", "c"]) == Refused("moved"), "b is merged already"
    assert released(bench.judge("@g", ["b", "c"], ["c"])) == {"d"}
    assert bench.run_step("d").run_state == RunState.SUCCESS
    assert bench.context.outputs("run")["c"] == {"by": "c"}


def test_shared_fields_go_back_to_what_others_made_of_them(bench: Bench) -> None:
    """b wrote alpha alone and beta before c did: the first has a's value again, the second keeps c's."""
    bench.create(SHARED)
    bench.end("a", bench.granted("a"), None, shared("board.alpha", 1, 0), shared("board.beta", 1, 0))
    first = bench.granted("b")
    bench.end("b", first, None, shared("board.alpha", 2, first.version), shared("board.beta", 2, first.version))
    second = bench.granted("c")
    bench.end("c", second, None, shared("board.beta", 3, second.version))
    assert bench.run_step("d", "failed").run_state == RunState.FAILED
    bench.ledger.retry("run", "b")
    assert bench.context.documents("run")["board"] == {"alpha": 1, "beta": 3}


def test_an_edit_of_a_step_that_stays_is_not_taken_back_with_one_that_took_it_along(bench: Bench) -> None:
    """x reads what b wrote into its branch, and commits it to the main line together with its own."""
    group = GroupSpec(id="g", steps=("b", "c"))
    bench.create(spec(step("b", group="g"), step("c", group="g"), step("x", "b"), groups=(group,)))
    bench.end("b", bench.granted("b"), None, shared("board.note", ["b"], 0))
    reader = bench.granted("x")
    assert reader.branches == ("b",)
    bench.ledger.finish(
        "run", "x", "success", token=reader.token, snapshot=reader.version, absorbed=[("b", "board.note")],
        fields=[shared("board.note", ["b", "x"], 0).payload()],
    )  # fmt: skip
    bench.run_step("c")
    assert moved(bench.judge("@g", ["b", "c"], ["b", "c"])).run_state == RunState.SUCCESS
    bench.ledger.retry("run", "x")
    assert bench.context.documents("run")["board"] == {"note": ["b", "x"]}


def test_artifacts_of_steps_that_begin_anew_are_gone_and_their_logs_are_not(bench: Bench) -> None:
    bench.create(LINE)
    for name in ("a", "b"):
        granted = bench.granted(name)
        bench.ledger.finish("run", name, "success", token=granted.token, files={"plan.txt": b"x"})
    logged(bench, "b", "hello")
    bench.ledger.retry("run", "b")
    assert set(bench.reader.files("run")) == {"a/plan.txt"}
    assert [line.text for line in bench.reader.logs("run", "b")] == ["hello"]
    logged(bench, "b", "again")
    assert bench.reader.log_tail("run", "b", 1).lines[0].text == "again", "counting goes on as well"


def logged(bench: Bench, step: str, *texts: str, limit: int = 10_000) -> None:
    lines = [LogLine(at=1, level="INFO", attempt=1, text=text) for text in texts]
    logs.append(bench.client, [("run", step, lines)], limit=limit)


def test_a_log_is_read_on_from_where_somebody_was_also_when_its_oldest_lines_are_gone(bench: Bench) -> None:
    def tail(after: int) -> tuple[list[str], int]:
        found = bench.reader.log_tail("run", "b", after)
        return [line.text for line in found.lines], found.cursor

    bench.create(LINE)
    assert tail(0) == ([], 0)
    logged(bench, "b", "one", "two", "three")
    assert [tail(0), tail(1), tail(3), tail(9)] == [
        (["one", "two", "three"], 3), (["two", "three"], 3), ([], 3), ([], 3),
    ]  # fmt: skip
    size = len(LogLine(at=1, level="INFO", attempt=1, text="four").model_dump_json())
    logged(bench, "b", "four", "five", limit=2 * size)
    assert [tail(0), tail(3), tail(4)] == [(["four", "five"], 5), (["four", "five"], 5), (["five"], 5)]
    entries: Any = bench.client.xrange(keys.run_key("run", "said"))
    assert [(one.step, one.lines) for one in parse_events(entries) if isinstance(one, LogEvent)] == [("b", 3), ("b", 5)]


def test_a_cancelled_run_goes_on_where_it_was(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a"), step("x"), step("y", "x", "b")))
    bench.run_step("x")
    bench.ledger.stop("run", "cancelled", reason="enough", grace=1)
    assert bench.reader.status("run").reason == "enough"
    assert released(bench.ledger.retry("run", failed=True)) == {"a"}
    assert states(bench) == {"a": "queued", "b": "pending", "x": "success", "y": "pending"}
    assert bench.reader.status("run").reason is None
    for name in ("a", "b"):
        bench.run_step(name)
    assert bench.run_step("y").run_state == RunState.SUCCESS


def test_one_step_of_a_cancelled_run_can_be_retried_and_the_run_ends(bench: Bench) -> None:
    """What stays cancelled has told nobody yet; those behind the retried step have to hear of it."""
    bench.create(spec(step("a"), step("b"), step("d", "a", "b"), step("f", "b", rule=TriggerRule.ALL_DONE)))
    bench.ledger.stop("run", "cancelled", reason="", grace=1)
    assert released(bench.ledger.retry("run", "b")) == {"b"}
    assert states(bench) == {"a": "cancelled", "b": "queued", "d": "upstream_failed", "f": "pending"}
    assert released(bench.run_step("b")) == {"f"}
    assert bench.run_step("f").run_state == RunState.FAILED


def test_a_barrier_that_a_cancel_ended_does_not_keep_others_waiting(bench: Bench) -> None:
    bench.create(
        spec(
            step("m", group="g"), step("n", group="g"), step("b"), step("y", "m", "b"),
            groups=(GroupSpec(id="g", steps=("m", "n")),),
        )
    )  # fmt: skip
    bench.run_step("m", "failed")
    bench.ledger.stop("run", "cancelled", reason="", grace=1)
    bench.ledger.retry("run", "b")
    assert states(bench)["y"] == "upstream_failed", "the failed member was judged by nobody, and never will be"
    assert bench.run_step("b").run_state == RunState.FAILED


def test_a_step_may_be_retried_while_others_run_and_what_ran_behind_it_is_fenced(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b", "a", rule=TriggerRule.ALL_DONE), step("z")))
    running = bench.granted("z")
    bench.run_step("a", "failed")
    behind = bench.granted("b")
    assert released(bench.ledger.retry("run", "a")) == {"a"}
    assert bench.ledger.renew("run", ["b", "z"], owner="worker-1", lease=5) == {"b": 0, "z": 7}
    assert bench.end("b", behind, {"old": 1}) == Refused("pending")
    assert released(bench.run_step("a")) == {"b"}
    assert bench.end("b", behind, {"old": 1}) == Refused("queued")
    assert bench.granted("b").token == 2
    assert bench.end("b", behind, {"old": 1}) == Refused("running")
    assert isinstance(bench.end("b", Claimed(2, {}, 0, RunState.RUNNING), {"new": 1}), Moved)
    assert moved(bench.end("z", running)).run_state == RunState.SUCCESS
    assert bench.context.outputs("run")["b"] == {"new": 1}


def test_a_sequential_run_takes_turns_in_a_retry_of_some_of_its_steps(bench: Bench) -> None:
    names = ("a", "b", "c", "d", "e")
    bench.create(spec(*(step(name) for name in names)), sequential=True)
    for name in names:
        bench.run_step(name, "failed" if name in "bd" else "success")
    assert released(bench.ledger.retry("run", failed=True)) == {"b"}
    assert states(bench) == {"a": "success", "b": "queued", "c": "success", "d": "pending", "e": "success"}
    assert released(bench.run_step("b", "failed")) == {"d"}
    assert bench.run_step("d").run_state == RunState.FAILED
    assert released(bench.ledger.retry("run", "b")) == {"b"}
    assert bench.ledger.retry("run", "d") == Refused("taking turns"), "or two of them would run side by side"
    assert bench.run_step("b").run_state == RunState.SUCCESS


def test_a_retry_in_a_paused_run_waits_for_its_end(bench: Bench) -> None:
    bench.create(spec(step("a"), step("z")))
    bench.run_step("a", "failed")
    bench.ledger.pause("run")
    assert moved(bench.ledger.retry("run", "a")).released == ()
    assert states(bench) == {"a": "ready", "z": "ready"}
    assert released(bench.ledger.resume("run")) == {"a", "z"}


def test_what_cannot_be_retried_is_refused_and_nothing_changes(bench: Bench) -> None:
    failed_line(bench)
    assert bench.ledger.retry("run", "c") == Refused("blocked"), "b has to be retried first"
    assert bench.ledger.retry("run", "nobody") == Refused("unknown step")
    assert bench.ledger.retry("other") == Refused("unknown")
    bench.ledger.retry("run", "b")
    assert bench.ledger.retry("run", "b") == Refused("queued")
    assert bench.ledger.retry("run") == Refused("going on")
    assert bench.ledger.retry("run", failed=True) == Refused("nothing failed")
    bench.granted("b")
    bench.ledger.stop("run", "cancelled", reason="", grace=5)
    assert bench.ledger.retry("run", "a") == Refused("cancelling")
    assert states(bench) == {"a": "success", "b": "running", "c": "cancelled"}


def test_the_clock_of_a_run_begins_anew_with_a_retry(bench: Bench) -> None:
    nodes = compile_nodes(make_plan(LINE), str)
    bench.ledger.create("run", nodes, workflow="w", spec="{}", inputs={}, timeout=100)
    bench.now += 100
    bench.ledger.stop("run", "timed_out", reason="too slow", grace=1)
    assert bench.reader.state("run") is RunState.TIMED_OUT
    bench.ledger.retry("run", failed=True)
    assert due(bench) == pytest.approx({"run:": 100, "queued:a": 10})


def test_a_wait_that_begins_after_a_retry_is_not_told_of_the_first_end(bench: Bench) -> None:
    failed_line(bench)
    bench.ledger.retry("run", failed=True)
    assert bench.client.exists(keys.run_key("run", "end")) == 0
    bench.run_step("b")
    bench.run_step("c")
    ends: Any = bench.client.xrange(keys.run_key("run", "end"))
    assert [entry[1][b"s"] for entry in ends] == [b"success"]


def together(count: int, act: Callable[[int], object]) -> list[object]:
    """Call `act` from so many threads at once."""
    gate, answers = threading.Barrier(count), list[object]()

    def run(number: int) -> None:
        gate.wait()
        answers.append(act(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_of_fifty_retries_at_once_one_takes_effect(bench: Bench) -> None:
    failed_line(bench)
    answers = together(50, lambda _: bench.ledger.retry("run", failed=True))
    assert sum(isinstance(answer, Moved) for answer in answers) == 1
    assert {released(answer) == {"b"} for answer in answers if isinstance(answer, Moved)} == {True}
    assert sum(answer == Refused("nothing failed") for answer in answers) == 49
    assert counted(bench) == {"done": 1, "bad": 0, "bad_leaf": 0}


def test_a_pause_among_a_hundred_claims_leaves_each_step_taken_or_ready(bench: Bench) -> None:
    names = [f"s{number}" for number in range(100)]
    bench.create(spec(*(step(name) for name in names)))
    pause, claim = bench.ledger.pause, bench.claim
    answers = together(101, lambda number: pause("run") if number == 50 else claim(names[number % 100]))
    granted = [answer for answer in answers if isinstance(answer, Claimed)]
    found = list(states(bench).values())
    assert found.count("running") == len(granted)
    assert found.count("ready") == 100 - len(granted)
    assert len(released(bench.ledger.resume("run"))) == 100 - len(granted)


def test_a_cancel_among_a_hundred_ends_counts_each_of_them_once(bench: Bench) -> None:
    """Who comes first succeeds and releases, who comes later is cancelled and releases nobody."""
    names = [f"s{number}" for number in range(100)]
    bench.create(spec(*(step(name) for name in names), *(step(f"after-{name}", name) for name in names)))
    granted = {name: bench.granted(name) for name in names}
    stop = bench.ledger.stop
    answers = together(
        101,
        lambda number: stop("run", "cancelled", reason="", grace=1)
        if number == 100
        else bench.end(names[number], granted[names[number]], {"n": number}),
    )
    assert all(isinstance(answer, Moved) for answer in answers)
    found = states(bench)
    done = [name for name in names if found[name] == "success"]
    assert [name for name in names if found[name] == "cancelled"] == [name for name in names if name not in done]
    assert set(bench.context.outputs("run")) == set(done)
    assert {found[f"after-{name}"] for name in names} == {"cancelled"}
    assert counted(bench) == {"done": 200, "bad": 200 - len(done), "bad_leaf": 100}
    assert bench.reader.state("run") is RunState.CANCELLED


def test_quality_marks_of_what_is_judged_anew_are_forgotten(bench: Bench) -> None:
    marks = [
        {"kind": "partial", "group": "g", "level": "high", "message": "c has no output"},
        {"kind": "consistency", "group": "g", "level": "low", "message": "b and c differ"},
    ]
    bench.create(DIAMOND)
    bench.run_step("a")
    bench.run_step("b")
    bench.run_step("c", "failed")
    bench.ledger.judge("run", "@g", "success", decision="", members=["b", "c"], branches=["b"], marks=marks, early=True)
    bench.run_step("d", "failed")
    bench.ledger.retry("run", "d")
    assert [mark.kind for mark in bench.reader.status("run").quality] == ["partial", "consistency"]
    assert bench.reader.status("run").quality_impact == "high"
    bench.ledger.retry("run", "c")
    assert bench.reader.status("run").quality == ()
    assert bench.reader.status("run").quality_impact is None


def test_a_retry_and_the_late_end_of_what_it_takes_back_count_once(bench: Bench) -> None:
    """Twenty rounds: whoever comes first, the step has one effect at the end."""
    workflow: WorkflowSpec = spec(step("a"), step("b", "a", rule=TriggerRule.ALL_DONE))
    for _ in range(20):
        bench.client.flushdb()
        bench.create(workflow)
        bench.run_step("a", "failed")
        old = bench.granted("b")
        together(2, lambda number, old=old: bench.ledger.retry("run", "a") if number else bench.end("b", old))  # type: ignore[misc]
        assert states(bench) == {"a": "queued", "b": "pending"}
        assert counted(bench) == {"done": 0, "bad": 0, "bad_leaf": 0}
        bench.run_step("a")
        assert bench.run_step("b").run_state == RunState.SUCCESS


def test_an_answer_that_was_lost_on_its_way_does_not_retry_twice(bench: Bench) -> None:
    failed_line(bench)
    ledger = bench.ledger
    arguments = ledger.arguments(failed=True, nonce="once") | {"keep": 10, "keep_bytes": 1000}
    first = ledger._scripts.retry(bench.client, "run", arguments)
    bench.run_step("b", "failed")
    assert bench.state("b") is StepState.FAILED
    again = ledger._scripts.retry(bench.client, "run", arguments)
    assert [len(first[1]), len(again[1])] == [1, 0]
    assert bench.state("b") is StepState.FAILED
