"""What the deployment's settings and a group's own keys make of its barrier."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.bench.shapes import ragged
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.shape import Shape
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import BarrierSpec, GroupSpec, StepSpec, WorkflowSpec
from orchestrator.workflow.plan import make_plan


def settings(**handling: Any) -> EngineSettings:
    strategies = {key: handling.pop(key) for key in list(handling) if key != "default_timeout"}
    return EngineSettings.model_validate(
        {"barrier_synchronization": {"timeout_handling": {**handling, "timeout_strategies": strategies}}}
    )


def barrier(deployment: EngineSettings, **keys: Any) -> dict[str, Any]:
    """The barrier of a group of two, as its judges and its members' claims read it."""
    steps = tuple(StepSpec(id=name, agent="noop", group="g") for name in "ab")
    group = GroupSpec(id="g", steps=("a", "b"), barrier=BarrierSpec(**keys))
    plan = make_plan(WorkflowSpec(name="test", steps=steps, groups=(group,)))
    nodes = {node.id: node.definition for node in compile_nodes(plan, str, Shape.of(deployment))}
    assert nodes["a"]["barrier_timeout"] == nodes["b"]["barrier_timeout"] == nodes["@g"]["barrier"]["timeout"]
    return dict(nodes["@g"]["barrier"])


def test_a_group_that_says_nothing_gets_the_deployments_barrier() -> None:
    found = barrier(EngineSettings())
    assert (found["timeout"], found["extension"], found["max_extensions"]) == (600, 300, 1)
    other = settings(default_timeout="2_minutes", extend_timeout={"extension": "1_minute", "max_extensions": 4})
    found = barrier(other)
    assert (found["timeout"], found["extension"], found["max_extensions"]) == (120, 60, 4)


@pytest.mark.parametrize(("wanted", "given"), [(30, 30), (900, 300)])
def test_an_extension_is_never_longer_than_the_deployment_allows(wanted: float, given: float) -> None:
    assert barrier(EngineSettings(), extension=wanted)["extension"] == given


def test_a_groups_own_words_win() -> None:
    found = barrier(EngineSettings(), timeout=5, max_extensions=0)
    assert (found["timeout"], found["max_extensions"]) == (5, 0)


@pytest.mark.parametrize(("phase", "gate"), [(["start_all_parallel_agents_simultaneously"], True), ([], False)])
def test_members_wait_for_each_others_needs_when_the_deployment_says_so(phase: list[str], gate: bool) -> None:
    first = [StepSpec(id=name, agent="noop") for name in "xy"]
    members = [StepSpec(id=name, agent="noop", needs=(need,), group="g") for name, need in ("ax", "by")]
    workflow = WorkflowSpec(name="test", steps=(*first, *members), groups=(GroupSpec(id="g", steps=("a", "b")),))
    deployment = EngineSettings.model_validate(
        {"barrier_synchronization": {"phases": {"phase_1_initiation": ["begin_progress_monitoring", *phase]}}}
    )
    nodes = {node.id: node for node in compile_nodes(make_plan(workflow), str, Shape.of(deployment))}
    assert ("^g" in nodes, nodes["a"].gate) == (gate, gate)


def test_a_sequential_run_gives_a_group_the_time_of_its_barrier_for_each_member() -> None:
    engine = EngineSettings.model_validate({"engine": {"sequential": True}})
    assert barrier(engine, timeout=5)["timeout"] == 10


@pytest.mark.parametrize("seed", range(20))
def test_steps_that_start_together_come_by_the_way_that_is_left_and_none_before_what_it_needs(seed: int) -> None:
    plan = make_plan(ragged(seed))
    nodes = compile_nodes(plan, str)
    assert [node.id for node in nodes] == sorted(plan.order, key=lambda name: -plan.steps[name].rank)
    place = {node.id: at for at, node in enumerate(nodes)}
    for node in nodes:
        assert all(place[need] < place[node.id] for need in node.needs)
        assert node.to == sorted(node.to, key=lambda name: -plan.steps[name].rank)
        urgent = plan.steps[node.id].slack_seconds == 0
        assert node.definition["priority"] in ({10} if urgent else {6, 7, 8, 9})
