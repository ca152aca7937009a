"""Priorities of a run that goes otherwise than planned, on a real server."""

from __future__ import annotations

import json
from typing import Any

from orchestrator import keys
from orchestrator.run.pacing import pace
from orchestrator.run.replies import Moved
from orchestrator.workflow.models import WorkflowSpec
from tests.state.bench import Bench, step


def priority(bench: Bench, name: str) -> int:
    text: Any = bench.client.hget(keys.run_key("run", "defs"), name)
    return int(json.loads(text)["priority"])


def workflow(**more: Any) -> WorkflowSpec:
    """Two ways to the end: 60 + 300 s, and 60 + 150 s, the latter with slack."""
    steps = (
        step("a", estimated_duration=60), step("b", estimated_duration=60),
        step("long", "a", estimated_duration=300), step("short", "a", "b", estimated_duration=150, **more),
        step("end", "long", "short", estimated_duration=10),
    )  # fmt: skip
    return WorkflowSpec(name="test", steps=steps)


def test_a_late_branch_is_urgent_when_it_is_released(store_url: str) -> None:
    bench = Bench(store_url)
    bench.create(workflow())
    assert (priority(bench, "long"), priority(bench, "short")) == (10, 8)
    bench.run_step("a")
    bench.granted("long")
    assert pace(bench.ledger, "run") == {"short": 9}, "a has ended before its time"
    bench.now += 250
    bench.granted("b")
    assert pace(bench.ledger, "run") == {"short": 10}
    assert bench.client.zscore(keys.run_key("run", "due"), "pace:") == bench.now + 10
    moved = bench.ledger.finish("run", "b", "success", token=1)
    assert isinstance(moved, Moved)
    assert [(one["id"], one["priority"]) for one in moved.released] == [("short", 10)]


def test_an_explicit_priority_wins_and_a_queued_step_keeps_its_list(store_url: str) -> None:
    bench = Bench(store_url)
    bench.create(workflow(priority=2))
    bench.run_step("a")
    bench.granted("long")
    bench.granted("b")
    bench.now += 280
    assert pace(bench.ledger, "run") == {}
    assert priority(bench, "short") == 2


def test_a_run_whose_steps_are_all_alike_is_not_looked_at(store_url: str) -> None:
    bench = Bench(store_url)
    bench.create(WorkflowSpec(name="line", steps=(step("a"), step("b", "a"))))
    assert bench.client.zscore(keys.run_key("run", "due"), "pace:") is None
    bench.create(workflow(), "other")
    assert bench.client.zscore(keys.run_key("other", "due"), "pace:") == bench.now + 10
