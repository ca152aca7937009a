"""The workflow files that ship are valid, and their agents exist."""

from __future__ import annotations

import pytest

import tasks
from orchestrator import Agent
from orchestrator.workflow.loader import load_workflow
from orchestrator.workflow.plan import make_plan
from tests.unit.tasks.running import ROOT


@pytest.mark.parametrize("name", ["product", "drills"])
def test_they_load_and_name_known_agents(name: str) -> None:
    workflow = load_workflow(ROOT / "config" / "workflows" / f"{name}.yaml")
    for step in workflow.steps:
        assert isinstance(getattr(tasks, step.agent), Agent)
    assert [step.id for step in workflow.steps] == ["analyst", "pm", "ux_expert", "architect", "developer", "qa"]


def test_declared_outputs_and_inputs_are_what_the_agents_have() -> None:
    workflow = load_workflow(ROOT / "config" / "workflows" / "product.yaml")
    for step in workflow.steps:
        agent: Agent = getattr(tasks, step.agent)
        assert agent.output is not None
        if step.outputs:
            assert set(step.outputs) == set(agent.output.model_fields)
        assert set(step.inputs) <= set(agent.reads or ())


def test_the_drills_have_the_durations_of_the_product_at_one_to_six_hundred() -> None:
    plan = make_plan(load_workflow(ROOT / "config" / "workflows" / "drills.yaml"))
    assert plan.critical_path_seconds == pytest.approx(3.1)
    assert {"ux_expert", "architect"} in [set(group.steps) for group in plan.groups]
