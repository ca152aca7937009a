"""What a workflow says about shared values, on a real server: rules for merging, and rules between outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery
from pydantic import BaseModel, Field

from orchestrator import keys
from orchestrator.context.reader import ContextReader
from orchestrator.engine import schemas
from orchestrator.engine.app import create_app
from orchestrator.engine.commits import Written, complete
from orchestrator.engine.decisions import resolve
from orchestrator.engine.join import judge
from orchestrator.engine.recovery import sweep
from orchestrator.engine.runtime import runtime_of
from orchestrator.errors import InvalidValue, OrchestratorError
from orchestrator.run.models import RunState
from orchestrator.run.replies import Moved
from orchestrator.settings import EngineSettings
from orchestrator.workflow.loader import load_workflow
from orchestrator.workflow.models import BarrierSpec, GroupSpec, WorkflowSpec
from tests.state.bench import Bench, shared, spec, step

EQUAL = {"equal": ["b.spec.platform", "c.target"], "message": "two platforms"}


@contextmanager
def deployed(store_url: str, **blocks: Any) -> Iterator[Celery]:
    settings = EngineSettings.model_validate(blocks)
    with create_app(store_url, store_url, settings, name="test-agreement", set_as_current=False) as app:
        yield app


def ruled(*rules: dict[str, Any]) -> WorkflowSpec:
    """b and c side by side, whose outputs have to agree, then d."""
    barrier = BarrierSpec.model_validate({"consistency": rules})
    group = GroupSpec(id="g", steps=("b", "c"), barrier=barrier)
    return spec(step("b", group="g"), step("c", group="g"), step("d", "b", "c"), groups=(group,))


def disagree(bench: Bench, app: Celery, *rules: dict[str, Any]) -> None:
    bench.create(ruled(*rules))
    bench.run_step("b", output={"spec": {"platform": "mobile", "screens": ["home"]}})
    bench.run_step("c", output={"target": "desktop", "pages": ["home", "help"]})
    judge(app, "run", "g")


# -- rules between outputs --------------------------------------------------------------------------------------------


def test_a_rule_that_holds_leaves_no_trace(bench: Bench, store_url: str) -> None:
    with deployed(store_url) as app:
        disagree(bench, app, {"subset": ["b.spec.screens", "c.pages"]})
    assert bench.run_step("d").run_state == RunState.SUCCESS
    assert bench.reader.status("run").quality == ()
    assert bench.context.conflicts("run") == []


def test_a_violation_is_recorded_and_marks_the_run(bench: Bench, store_url: str) -> None:
    with deployed(store_url) as app:
        disagree(bench, app, EQUAL | {"quality_impact": "high"})
    assert bench.run_step("d").run_state == RunState.SUCCESS
    (mark,) = bench.reader.status("run").quality
    assert (mark.kind, mark.group, mark.level) == ("consistency", "g", "high")
    assert bench.reader.status("run").quality_impact == "high"
    assert mark.message == 'two platforms: b.spec.platform is "mobile"; c.target is "desktop"'
    (found,) = bench.context.conflicts("run")
    assert (found.kind, found.state, found.action, found.reason) == ("consistency", "resolved", "record", mark.message)
    events = [(event.type, event.state) for event in bench.events()]
    assert events.index(("quality", "high")) < events.index(("run", "success"))
    assert ("conflict", "recorded") in events


def test_a_violation_may_fail_the_group(bench: Bench, store_url: str) -> None:
    with deployed(store_url) as app:
        disagree(bench, app, EQUAL | {"on_violation": "fail"})
    status = bench.reader.status("run")
    assert (status.state, status.steps["d"].state) == (RunState.FAILED, "upstream_failed")
    assert "two platforms" in bench.node("@g", "decision")


def test_the_engine_may_leave_consistency_out(bench: Bench, store_url: str) -> None:
    phase = ["merge_parallel_results", "resolve_any_conflicts", "prepare_context_for_next_group"]
    with deployed(store_url, barrier_synchronization={"phases": {"phase_4_synchronization": phase}}) as app:
        disagree(bench, app, EQUAL | {"on_violation": "fail"})
    assert bench.run_step("d").run_state == RunState.SUCCESS


@pytest.mark.parametrize(
    ("choice", "value", "platform"), [("ours", None, "mobile"), ("theirs", None, "desktop"), (None, "both", "both")]
)
def test_a_person_decides_for_one_value(
    bench: Bench, store_url: str, choice: str | None, value: str | None, platform: str
) -> None:
    with deployed(store_url) as app:
        disagree(bench, app, EQUAL | {"on_violation": "manual"})
        assert bench.reader.state("run") is RunState.AWAITING_INPUT
        assert bench.state("d") == "ready"
        (found,) = bench.context.conflicts("run")
        with pytest.raises(InvalidValue, match="accept, ours, theirs"):
            resolve(app, bench.ledger, bench.context, "run", found.id, "base")
        done = resolve(app, bench.ledger, bench.context, "run", found.id, choice, value=value)
    assert (done.state, done.by_hand) == ("resolved", True)
    documents = bench.context.documents("run")
    assert (documents["b"]["spec"]["platform"], documents["c"]["target"]) == (platform, platform)
    assert documents["b"]["spec"]["screens"] == ["home"]
    assert bench.run_step("d").run_state == RunState.SUCCESS
    assert bench.reader.status("run").quality == ()


def test_a_person_accepts_what_breaks_a_rule(bench: Bench, store_url: str) -> None:
    rule = {"subset": ["c.pages.*", "b.spec.screens"], "on_violation": "manual"}
    with deployed(store_url) as app:
        disagree(bench, app, rule)
        (found,) = bench.context.conflicts("run")
        with pytest.raises(InvalidValue, match="only decision is accept"):
            resolve(app, bench.ledger, bench.context, "run", found.id, value=["home"])
        resolve(app, bench.ledger, bench.context, "run", found.id, "accept")
    assert bench.context.documents("run")["c"]["pages"] == ["home", "help"]
    (mark,) = bench.reader.status("run").quality
    assert mark.message.endswith("decided by hand: accept")
    assert bench.run_step("d").run_state == RunState.SUCCESS


@pytest.mark.parametrize(("fallback", "state"), [("first_writer", RunState.RUNNING), ("fail", RunState.FAILED)])
def test_a_violation_that_nobody_looks_at_is_accepted_or_fails(
    bench: Bench, store_url: str, fallback: str, state: RunState
) -> None:
    with deployed(store_url, engine={"decision_timeout": 60, "decision_fallback": fallback}) as app:
        disagree(bench, app, EQUAL | {"on_violation": "manual"})
        (found,) = bench.context.conflicts("run")
        bench.client.zincrby(keys.run_key("run", "due"), -61, f"conflict:{found.id}")
        bench.client.zadd(keys.ACTIVE, {"run": 0})
        sweep(app)
    assert bench.reader.state("run") is state


def test_a_rule_sees_what_was_merged_and_what_stands_in(bench: Bench, store_url: str) -> None:
    """Each of the two members alone would hold; together they do not."""
    rules = [{"subset": ["board.parts", "a.allowed"], "on_violation": "record"}, {"equal": ["c.x", "a.x"]}]
    group = GroupSpec(id="g", steps=("b", "c"), barrier=BarrierSpec.model_validate({"consistency": rules,
                      "trigger_rule": "all_done"}))  # fmt: skip
    needs = (step("a"), step("b", "a", group="g"), step("c", "a", group="g", defaults={"x": 2}))
    bench.create(spec(*needs, step("d", "b", "c"), groups=(group,)))
    bench.run_step("a", output={"allowed": ["b"], "x": 1})
    bench.end("b", bench.granted("b"), {}, shared("board.parts", ["b", "strange"], 0))
    bench.run_step("c", "failed")
    with deployed(store_url) as app:
        judge(app, "run", "g")
    marks = bench.reader.status("run").quality
    assert [(mark.kind, mark.message) for mark in marks] == [
        ("consistency", 'board.parts has "strange", which a.allowed has not'),
        ("consistency", "c.x is 2; a.x is 1"),
        ("partial", "defaults stand in for c"),
    ]


# -- rules for merging ------------------------------------------------------------------------------------------------

BOARD = [{"number": 1, "text": "one", "colour": "red"}, {"number": 2}]
EDITS = (
    [{"number": 1, "text": "ONE", "colour": "red"}, {"number": 2}],
    [{"number": 1, "text": "one", "colour": "blue"}, {"number": 2}],
)
MERGED = [{"number": 1, "text": "ONE", "colour": "blue"}, {"number": 2}]


def board(merge: dict[str, Any], grouped: bool) -> WorkflowSpec:
    steps = [{"id": "a"}, {"id": "b", "needs": ["a"]}, {"id": "c", "needs": ["a"]}]
    groups = {"execution_groups": {"g": {"agents": ["b", "c"]}}} if grouped else {}
    return load_workflow({"name": "board", "merge": merge, "steps": steps, **groups})


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize(
    ("merge", "conflicts"),
    [({"identity": {"board.cards": "number"}}, 0), ({}, 1),
     ({"identity": {"board.cards": "number"}, "whole": ["board.cards"]}, 1)],
)  # fmt: skip
def test_the_workflow_says_how_edits_are_merged(
    bench: Bench, store_url: str, merge: dict[str, Any], conflicts: int, grouped: bool
) -> None:
    bench.create(board(merge, grouped))
    bench.end("a", bench.granted("a"), {}, shared("board.cards", BOARD, 0))
    with deployed(store_url) as app:
        for granted, cards in zip([bench.granted("b"), bench.granted("c")], EDITS, strict=True):
            seen = ContextReader(bench.context, "run", version=granted.version, branches=granted.branches)
            answer = complete(runtime_of(app), "run", granted, seen, Written((shared("board.cards", cards, 1),), {}))
            assert isinstance(answer, Moved)
        if grouped:
            judge(app, "run", "g")
    assert len(bench.context.conflicts("run")) == conflicts
    assert bench.context.documents("run")["board"]["cards"] == (EDITS[0] if conflicts else MERGED)


# -- what fields have to look like ------------------------------------------------------------------------------------


class Plan(BaseModel):
    """At most three parts: two edits that each add one to two are too much together."""

    parts: list[str] = Field(max_length=3)


@pytest.fixture
def plan_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "_SCHEMAS", {})
    schemas.declare("planner", {"plan.main": Plan})


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize(("word", "parts"), [("first", ["x", "y", "b"]), ("last", ["x", "y", "c"])])
@pytest.mark.usefixtures("plan_schema")
def test_a_merge_that_its_schema_refuses_is_not_accepted(
    bench: Bench, store_url: str, word: str, parts: list[str], grouped: bool
) -> None:
    bench.create(board({}, grouped))
    bench.end("a", bench.granted("a"), {}, shared("plan.main", {"parts": ["x", "y"]}, 0))
    resolution = {"write_write_conflict": {"resolution": f"{word}_writer_wins_with_merge_opportunity"}}
    with deployed(store_url, context_conflicts={"conflict_types": resolution}) as app:
        attempts = [(name, bench.granted(name)) for name in "bc"]
        for name, granted in attempts:
            bench.now += 1
            seen = ContextReader(bench.context, "run", version=granted.version, branches=granted.branches)
            write = shared("plan.main", {"parts": ["x", "y", name]}, 1)
            assert isinstance(complete(runtime_of(app), "run", granted, seen, Written((write,), {})), Moved)
        if grouped:
            judge(app, "run", "g")
    assert bench.context.documents("run")["plan"]["main"] == {"parts": parts}
    (found,) = bench.context.conflicts("run")
    assert found.place == "plan.main"
    assert "not what agent 'planner' declares: parts: List should have at most 3 items" in found.reason


@pytest.mark.usefixtures("plan_schema")
def test_schemas_are_of_fields_and_of_one_agent() -> None:
    with pytest.raises(OrchestratorError, match="write a field such as"):
        schemas.declare("planner", {"plan": Plan})
    with pytest.raises(OrchestratorError, match="two agents declare"):
        schemas.declare("other", {"plan.main": dict})
    assert schemas.complaint("plan.other", "3") == ""
    assert schemas.complaint("plan.main", '{"parts": ["x"]}') == ""
