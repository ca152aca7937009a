"""Limits and rates of a workflow: how they are written, what they come to, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.demand import parse_demand
from orchestrator.engine.places import filled
from orchestrator.errors import InvalidWorkflow
from orchestrator.run.nodes import Node, compile_nodes
from orchestrator.run.shape import Shape
from orchestrator.settings import EngineSettings
from orchestrator.workflow.loader import load_workflow, load_workflow_text
from orchestrator.workflow.plan import make_plan
from orchestrator.workflow.writer import to_yaml

LIMITED: dict[str, Any] = {
    "name": "limited",
    "inputs": {"tenant": None},
    "max_parallel": 4,
    "fairness_key": "tenant {inputs.tenant}",
    "fairness_weight": 2,
    "steps": [
        {
            "id": "a",
            "agent": "pm",
            "resources": {"cpu": "high", "pools": {"gpu": 0.5}},
            "concurrency": {"group": "deploy {inputs.tenant}", "limit": 2, "on_conflict": "skip"},
            "rate_limit": ["10/m", "100/15m"],
            "priority": 3,
            "estimated_duration": "2m",
        },
        {"id": "b", "agent": "pm", "needs": ["a"], "rate_limit": {"key": "peer", "limits": ["2/s"]}},
    ],
}
SETTINGS = EngineSettings.model_validate(
    {"resource_manager": {"resource_pool": {"pools": {"gpu": 1}, "agent_classes": {"pm": 3}}}}
)


def nodes(document: dict[str, Any], settings: EngineSettings = SETTINGS) -> dict[str, Node]:
    plan = make_plan(load_workflow(document, engine=settings))
    return {node.id: node for node in compile_nodes(plan, lambda agent: agent, Shape.of(settings))}


def test_everything_that_a_step_waits_for_is_in_its_demand() -> None:
    first, second = filled((nodes(LIMITED)["a"], nodes(LIMITED)["b"]), {"tenant": '"A & B"'})
    assert first.definition["demand"].split() == [
        "@agent:pm=10/60000", "@agent:pm=100/900000", "agents=1000", "class:pm=1000", "cpu=40000",
        "key:deploy%20A%20%26%20B=1000/2000", "pool:gpu=500", "run:{run}=1000/4000",
    ]  # fmt: skip
    assert first.definition["fairness_key"] == "tenant A%20%26%20B"
    assert (first.definition["fairness_weight"], first.definition["on_conflict"]) == (2, "skip")
    assert first.definition["seconds"] == 120
    assert second.definition["demand"].split() == ["@key:peer=2/1000", "class:pm=1000", "run:{run}=1000/4000"]
    assert not first.carried
    assert not second.carried
    assert parse_demand("cpu=1000", SETTINGS.capacity).takes[0].most == 120_000


def test_a_step_that_asks_for_nothing_has_no_demand_and_is_carried() -> None:
    plain = nodes({"steps": [{"id": "a", "agent": "x"}, {"id": "b", "agent": "x", "needs": ["a"]}]})
    assert [plain[name].definition.get("demand") for name in "ab"] == [None, None]
    assert plain["b"].carried
    assert not plain["a"].pools


def test_it_is_written_as_it_reads() -> None:
    spec = load_workflow(LIMITED, engine=SETTINGS)
    assert load_workflow_text(to_yaml(spec), engine=SETTINGS) == spec


def test_memory_without_strictness_has_no_bound() -> None:
    sharing = {"allocation_strategy": {"resource_sharing": {"memory_strict": False, "cpu_oversubscription": 1.5}}}
    loose = EngineSettings.model_validate({"resource_manager": sharing}).capacity
    assert loose["cpu"] == 150_000
    assert loose["memory"] > 10**12
    assert EngineSettings().capacity == {
        "agents": 3000, "cpu": 120_000, "memory": 100_000, "pool:template_engine": 3000
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("rate_limit", "10 per minute", "is no rate (write a count and a time, such as 10/m, 2/s or 100/15m)"),
        ("rate_limit", [], "no rate is given"),
        ("concurrency", {"group": "a{b}"}, "write {inputs.NAME}"),
        ("concurrency", {"group": "a", "limit": 0}, "limit"),
        ("concurrency", {"group": "a", "on_conflict": "explode"}, "cancel_running"),
        ("concurrency", {"limit": 2}, "group"),
    ],
)
def test_mistakes(key: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidWorkflow) as found:
        load_workflow({"steps": [{"id": "a", "agent": "x", key: value}]})
    assert words in str(found.value)


def test_an_input_that_is_not_given_has_no_place() -> None:
    with pytest.raises(InvalidWorkflow, match=r"steps.a: \{inputs.tenant\} stands for an input that is not given"):
        filled(tuple(nodes(LIMITED).values()), {})


def test_the_deployment_says_how_urgent_roles_are() -> None:
    document = {
        "steps": [
            {"id": "a", "agent": "x", "estimated_duration": "5m"},
            {"id": "b", "agent": "x", "estimated_duration": "5s"},
            {"id": "c", "agent": "x", "priority": 10, "estimated_duration": "1m"},
            {"id": "d", "agent": "x", "needs": ["a", "b", "c"], "estimated_duration": "1s"},
        ]
    }
    priorities = {"critical_path_agents": 9, "parallel_group_agents": 4, "validation_agents": 1}
    settings = EngineSettings.model_validate({"resource_manager": {"allocation_strategy": {"priorities": priorities}}})
    found = nodes(document, settings)
    assert {name: found[name].definition["priority"] for name in "abcd"} == {"a": 9, "b": 4, "c": 10, "d": 9}
