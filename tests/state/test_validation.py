"""Cross-validation on a real server: it stands between a group's merge and everybody behind the group."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from orchestrator import keys
from orchestrator.context.reader import ContextReader
from orchestrator.engine import canvas
from orchestrator.engine.app import create_app
from orchestrator.engine.join import judge
from orchestrator.engine.recovery import sweep
from orchestrator.run.models import RunState
from orchestrator.run.replies import Moved
from orchestrator.settings import EngineSettings
from orchestrator.workflow.loader import load_workflow
from tests.state.bench import Bench, released, shared


@pytest.fixture
def app(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    monkeypatch.setattr(canvas, "_STEP_TASK", re.compile(r"^run\."))  # how ids of this run's tasks begin
    with create_app(store_url, store_url, EngineSettings(), name="test-validation", set_as_current=False) as app:
        yield app


def start(bench: Bench, **validation: Any) -> None:
    """b, c and e side by side, of which b and c validate; d comes after all of them, one after b alone."""
    chosen = {"validation_agents": ["b", "c"], "validation_timeout": 60} | validation
    steps = [{"id": "d", "needs": ["g"]}, {"id": "one", "needs": ["b"]}]
    group = {"agents": ["b", "c", "e"], "cross_validation": chosen, "synchronization":
             {"success_criteria": "at_least_one_agent_succeeds"}, "barrier": {"on_timeout": []}}  # fmt: skip
    bench.create(load_workflow({"name": "validated", "steps": steps, "execution_groups": {"g": group}}))


def grouped(bench: Bench, app: Celery, **states: str) -> None:
    """The members end and their barrier is judged."""
    for name in ("b", "c", "e"):
        bench.run_step(name, states.get(name, "success"), {"x": name})
    judge(app, "run", "g")


def validated(bench: Bench, app: Celery, **results: Any) -> None:
    """Both validators succeed with these results."""
    for name in ("b", "c"):
        bench.run_step(f"{name}-validates", output=results.get(name, {"valid": True, "findings": []}))
    judge(app, "run", "g.validation")


def test_nobody_behind_the_group_starts_before_its_validation_has_ended(bench: Bench, app: Celery) -> None:
    start(bench)
    for name in ("b", "c"):
        bench.run_step(name, output={"x": name})
    assert bench.state("one") == "queued", "who needs one member alone waits for no validation"
    granted = bench.granted("e")
    bench.end("e", granted, {}, shared("board.x", 1, 0))
    judge(app, "run", "g")
    assert [bench.state(name) for name in ("b-validates", "c-validates", "d")] == ["queued", "queued", "pending"]
    checking = bench.granted("c-validates")
    assert (checking.definition["validates"], checking.definition["validates_as"]) == (["b", "e"], "c")
    seen = ContextReader(bench.context, "run", version=checking.version, branches=checking.branches)
    assert seen.field("b.x") == "b"
    assert seen.field("board.x") == 1, "what they look at is merged"
    bench.end("c-validates", checking, {"valid": True, "findings": []})
    assert bench.state("d") == "pending"
    bench.run_step("b-validates", output={"valid": True, "findings": ["nicely done"]})
    assert judge(app, "run", "g.validation") == "release"
    assert bench.state("d") == "queued"
    assert bench.reader.status("run").quality == ()
    assert bench.context.documents("run")["b-validates"] == {"valid": True, "findings": ["nicely done"]}


@pytest.mark.parametrize("blocking", [False, True])
def test_what_a_validator_finds_marks_the_run_or_fails_the_group(bench: Bench, app: Celery, blocking: bool) -> None:
    start(bench, blocking=blocking, quality_impact="high")
    grouped(bench, app)
    validated(bench, app, b={"valid": False, "findings": ["no screen for US-1"]})
    status = bench.reader.status("run")
    (mark,) = status.quality
    assert (mark.kind, mark.group, mark.level) == ("validation", "g", "high")
    assert mark.message == "b-validates: no screen for US-1"
    assert status.steps["d"].state == ("upstream_failed" if blocking else "queued")
    bench.run_step("one")
    if not blocking:
        bench.run_step("d")
    assert bench.reader.state("run") is (RunState.FAILED if blocking else RunState.SUCCESS)


def test_a_validator_that_fails_marks_the_run(bench: Bench, app: Celery) -> None:
    start(bench)
    grouped(bench, app)
    bench.run_step("b-validates", "failed")
    bench.run_step("c-validates", output={"valid": True, "findings": []})
    judge(app, "run", "g.validation")
    assert bench.state("d") == "queued"
    assert [mark.message for mark in bench.reader.status("run").quality] == ["b-validates ended as failed"]


def test_a_group_that_is_not_released_is_not_validated(bench: Bench, app: Celery) -> None:
    start(bench)
    grouped(bench, app, b="failed", c="failed", e="failed")
    assert bench.state("b-validates") == "upstream_failed"
    judge(app, "run", "g.validation")
    assert (bench.state("d"), bench.reader.state("run")) == ("upstream_failed", RunState.FAILED)


def test_validation_ends_with_its_timeout(bench: Bench, app: Celery) -> None:
    start(bench)
    grouped(bench, app)
    bench.run_step("c-validates", output={"valid": True, "findings": []})
    assert bench.granted("b-validates").definition["timeout"] == 60
    bench.client.zincrby(keys.run_key("run", "due"), -61, "barrier:@g.validation")
    bench.client.hset(keys.run_key("run", "s:@g.validation"), "deadline", bench.now - 1)
    bench.client.zadd(keys.ACTIVE, {"run": 0})
    sweep(app)
    assert [bench.state(name) for name in ("b-validates", "d")] == ["timed_out", "queued"]
    (mark,) = bench.reader.status("run").quality
    assert mark.message == "b-validates did not end within 1m"


def test_validators_that_no_worker_takes_hold_nobody_up_for_ever(bench: Bench, app: Celery) -> None:
    start(bench)
    grouped(bench, app)
    for name in ("b", "c"):
        bench.client.zincrby(keys.run_key("run", "due"), -61, f"schedule:{name}-validates")
    bench.client.zadd(keys.ACTIVE, {"run": 0})
    sweep(app)
    assert [bench.state(name) for name in ("b-validates", "c-validates", "d")] == ["timed_out", "timed_out", "queued"]


def test_a_validation_can_be_done_again(bench: Bench, app: Celery) -> None:
    start(bench, blocking=True)
    grouped(bench, app)
    bench.run_step("one")
    validated(bench, app, b={"valid": False, "findings": ["hm"]})
    assert bench.reader.state("run") is RunState.FAILED
    assert isinstance(bench.ledger.retry("run", step="b-validates"), Moved)
    assert [bench.state(name) for name in ("b", "c-validates", "b-validates", "d")] == [
        "success", "success", "queued", "pending",
    ]  # fmt: skip
    bench.run_step("b-validates", output={"valid": True, "findings": []})
    assert judge(app, "run", "g.validation") == "release"
    bench.run_step("d")
    status = bench.reader.status("run")
    assert (status.state, status.quality) == (RunState.SUCCESS, ())


def test_a_step_may_be_called_like_a_validation(bench: Bench) -> None:
    group = {"agents": ["b", "c"], "cross_validation": {"enabled": True}}
    document = {"name": "taken", "steps": [{"id": "b-validates"}], "execution_groups": {"g": group}}
    assert released(bench.create(load_workflow(document))) == {"b-validates", "b", "c"}
    assert "b-validates_" in bench.reader.status("run").steps
