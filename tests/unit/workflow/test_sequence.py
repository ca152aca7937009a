"""The sequential form of a plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.workflow.loader import load_workflow_text
from orchestrator.workflow.plan import make_plan
from orchestrator.workflow.sequence import sequence

TEXT = """
name: mixed
steps:
  - {id: slow, agent: noop, estimated_duration: 4m}
  - {id: urgent, agent: noop, priority: 10, estimated_duration: 1m}
  - {id: late, agent: noop, needs: [slow, urgent], estimated_duration: 1m}
  - {id: eager, agent: noop, needs: [m1], priority: 10, estimated_duration: 1m}
execution_groups:
  g:
    parallel_capable: true
    agents: [{id: m1, agent: noop, priority: 9}, {id: m2, agent: noop, priority: 1}]
    estimated_duration: 2m
"""


def test_the_most_urgent_goes_first_and_consumers_of_a_group_behind_all_its_members() -> None:
    plan = make_plan(load_workflow_text(TEXT, source="test"))
    found = sequence(plan)
    assert found.order.index("urgent") < found.order.index("m1") < found.order.index("m2") < found.order.index("eager")
    assert found.order.index("late") > found.order.index("slow")
    assert found.seconds(plan) == sum(step.duration_seconds for step in plan.steps.values()) == 11 * 60
    assert list(found.starts(plan))[:2] == [0, plan.steps[found.order[0]].duration_seconds]


def test_plan_shows_it_beside_the_parallel_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(TEXT)
    assert main(["plan", str(file), "--sequential", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sequential_seconds"], told["parallel_seconds"]) == (660, 300)
    assert main(["plan", str(file), "--sequential"]) == 0
    assert "takes 11m; side by side 5m" in capsys.readouterr().out
    assert main(["plan", str(file), "--sequential", "--canvas"]) == 0
    out = capsys.readouterr().out
    assert "chord" not in out
