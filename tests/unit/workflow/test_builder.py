"""Workflows written in Python: the same checks as a file, and YAML that reads back as the same definition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidWorkflow
from orchestrator.workflow.builder import Workflow
from orchestrator.workflow.loader import load_workflow, load_workflow_text
from orchestrator.workflow.models import FailureCriteria, TimeoutStrategy, TriggerRule, WorkflowSpec
from orchestrator.workflow.writer import to_yaml

SEEDS = Path(__file__).parents[2] / "fixtures" / "seeds"


@dataclass
class Decorated:
    name: str


def needs(flow: Workflow) -> dict[str, tuple[str, ...]]:
    return {step.id: step.needs for step in flow.spec().steps}


def test_steps_are_connected_by_arrows() -> None:
    flow = Workflow("docs")
    a, b, c, d = (flow.step(name) for name in "abcd")
    a >> [b, c] >> d
    assert needs(flow) == {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    [a, b] >> d
    assert needs(flow)["d"] == ("b", "c", "a")


def test_a_group_stands_for_all_its_members() -> None:
    flow = Workflow("docs")
    design = flow.group("design", ["ux_expert", Decorated("architect")], timeout="10m")
    flow.step("pm") >> design >> flow.step("qa")
    assert needs(flow) == {"pm": (), "qa": ("ux_expert", "architect"), "ux_expert": ("pm",), "architect": ("pm",)}
    (group,) = flow.spec().groups
    assert (group.steps, group.barrier.timeout) == (("ux_expert", "architect"), 600)


def test_keys_are_those_of_a_file() -> None:
    flow = Workflow("docs", version="2", description="x", inputs=["brief"], timeout=timedelta(hours=1))
    pm = flow.step("pm", Decorated("pm_agent"), with_={"x": (1, 2)}, timeout=timedelta(seconds=90), priority=3)
    flow.step("qa", needs=[pm], wants="pm", inputs=["brief"], retry={"maximum_attempts": 1}, trigger_rule="all_done")
    flow.group("g", [pm, {"id": "b", "agent": "x", "timeout": timedelta(minutes=1)}], barrier={"min_success": "50%"})
    assert flow.spec() == load_workflow_text(
        """
name: docs
version: "2"
description: x
inputs: [brief]
timeout: 1h
steps:
  - {id: pm, agent: pm_agent, with: {x: [1, 2]}, timeout: 90, priority: 3}
  - {id: qa, needs: [pm], wants: [pm], inputs: [brief], retry: {maximum_attempts: 1}, trigger_rule: all_done}
execution_groups:
  g: {agents: [pm, {id: b, agent: x, timeout: 1m}], barrier: {min_success: 50%}}
"""
    )


def test_every_mistake_is_told_at_once() -> None:
    flow = Workflow("docs", timeout=-1)
    flow.step("a", needs=["missing"], priority=11)
    flow.step("a", tmieout=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidWorkflow) as caught:
        flow.spec()
    assert {(problem.path, problem.line) for problem in caught.value.problems} == {
        ("timeout", None),
        ("steps[0].needs[0]", None),
        ("steps[0].priority", None),
        ("steps[1].tmieout", None),
        ("steps[1].id", None),
    }
    with pytest.raises(InvalidWorkflow):
        flow.to_yaml()


def test_a_cycle_by_arrows_is_named() -> None:
    flow = Workflow("docs")
    a, b = flow.step("a"), flow.step("b")
    a >> b >> a
    with pytest.raises(InvalidWorkflow, match="a → b → a"):
        flow.spec()


def test_steps_of_two_workflows_cannot_be_connected() -> None:
    with pytest.raises(InvalidWorkflow, match="belongs to another workflow, one"):
        Workflow("one").step("a") >> Workflow("two").step("b")


def test_two_groups_of_one_id() -> None:
    flow = Workflow("docs")
    flow.group("g", ["a"])
    with pytest.raises(InvalidWorkflow, match="the group id 'g' is there twice"):
        flow.group("g", ["b"])


@pytest.mark.parametrize("name", ["02_execution_groups.yaml", "08_enhanced_workflow_step.yaml"])
def test_files_read_back_the_same(name: str) -> None:
    spec = load_workflow(SEEDS / name)
    assert load_workflow_text(to_yaml(spec)) == spec
    assert Workflow.from_file(SEEDS / name).spec() == spec
    assert Workflow.from_spec(spec).to_yaml() == to_yaml(spec)
    assert WorkflowSpec.model_validate_json(spec.model_dump_json(by_alias=True, exclude_defaults=True)) == spec


def test_a_file_can_be_added_to() -> None:
    flow = Workflow.from_file(SEEDS / "02_execution_groups.yaml")
    flow.step("release", needs=["qa"])
    assert [step.id for step in flow.spec().steps][-2:] == ["qa", "release"]


def test_text_that_readers_could_take_for_something_else_is_quoted() -> None:
    values = [
        "no",
        "1e3",
        "010",
        "1:30",
        "2024-01-01",
        "~",
        "",
        "null",
        "a: b",
        "#x",
        "<<",
        "- a",
        "a\nb\n",
        " a",
        "é\u2028x",
    ]
    flow = Workflow("docs", description="on")
    flow.step("a", with_={"values": values, **dict.fromkeys(values, 1)})
    assert load_workflow_text(flow.to_yaml()) == flow.spec()


# ---------------------------------------------------------------------------------------------- any definition
IDS = [f"s{index}" for index in range(6)]
DURATIONS = st.floats(0.001, 1e6) | st.integers(1, 10**6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
INPUTS = JSON.map(lambda value: {"default": value} if isinstance(value, dict) else value)
PATHS = st.sampled_from(["brief", "pm.stories", "s0.x", "s1.y.z", "shared.a", "requirements"])


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


STEP = optional(
    agent=st.sampled_from(["pm", "ux_expert", "echo", "s0"]),
    inputs=st.lists(PATHS, max_size=2),
    outputs=st.lists(st.sampled_from(["x", "y.z"]), max_size=2),
    context=optional(read=st.lists(PATHS, max_size=2), write=st.lists(st.sampled_from(["own", "own.b"]), max_size=2)),
    context_access=st.sampled_from(["write_only", "read_all_write_s", "read_multiple_write_s", "read_s0_write_s"]),
    resources=optional(cpu=st.floats(0, 120) | st.just("high"), memory=st.integers(0, 100)),
    timeout=DURATIONS,
    idle_timeout=DURATIONS,
    schedule_timeout=DURATIONS,
    retry=optional(
        initial_interval=DURATIONS,
        maximum_attempts=st.integers(0, 9),
        non_retryable_error_types=st.lists(st.text(max_size=5), max_size=2),
    ),
    priority=st.integers(0, 10),
    cache=st.booleans() | DURATIONS,
    queue=st.just("fast"),
    estimated_duration=DURATIONS
    | st.tuples(st.integers(1, 99), st.integers(100, 999)).map(lambda r: f"{r[0]}-{r[1]}s"),
    trigger_rule=st.sampled_from(list(TriggerRule)),
    defaults=st.dictionaries(st.text(max_size=4), JSON, max_size=2),
    description=st.text(max_size=10),
) | st.builds(lambda data: {"with": data}, st.dictionaries(st.text(max_size=4), JSON, max_size=3))
RULE = st.builds(
    lambda kind, paths, more: {kind: paths, **more},
    st.sampled_from(["equal", "subset"]),
    st.lists(st.sampled_from(["s0.x", "s1.*.y", "shared.a", "requirements.functional.*"]), min_size=2, max_size=2),
    optional(
        message=st.text(max_size=6),
        on_violation=st.sampled_from(["record", "fail", "manual"]),
        quality_impact=st.sampled_from(["low", "high"]),
    ),
)
MERGE = optional(
    identity=st.dictionaries(PATHS, st.text(max_size=4), max_size=2),
    ordered=st.lists(PATHS, max_size=2),
    whole=st.lists(PATHS, max_size=2),
)
BARRIER = optional(
    timeout=DURATIONS,
    consistency=st.lists(RULE, max_size=2),
    on_timeout=st.lists(st.sampled_from(list(TimeoutStrategy)), max_size=3),
    trigger_rule=st.sampled_from(list(TriggerRule)),
    min_success=st.just(1) | st.just("60%"),
    failure_criteria=st.sampled_from(list(FailureCriteria)),
    extension=DURATIONS,
    max_extensions=st.integers(0, 3),
    cross_validation=optional(enabled=st.booleans(), validation_timeout=DURATIONS, blocking=st.booleans()),
)
GROUP = optional(
    name=st.text(max_size=6),
    description=st.text(max_size=6),
    parallel_capable=st.booleans(),
    resource_isolation=st.booleans(),
    estimated_duration=DURATIONS,
    barrier=BARRIER,
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """Valid definitions: edges lead forwards only, a group's members stand side by side."""
    count = draw(st.integers(1, len(IDS)))
    steps = []
    for index, step_id in enumerate(IDS[:count]):
        raw = draw(STEP)
        if "context_access" in raw:
            raw["context_access"] = (
                raw["context_access"].removesuffix("s") + step_id
                if raw["context_access"] != "write_only"
                else "write_only"
            )
        raw["inputs"] = [
            path
            for path in raw.get("inputs", [])
            if not path.startswith("s") or int(path[1:2] if path[1].isdigit() else 0) < index
        ]
        raw.get("context", {}).pop("read", None) if index < 2 else None
        for key in ("needs", "wants", "validates"):
            raw[key] = draw(st.lists(st.sampled_from(IDS[:index]), max_size=3)) if index else []
        steps.append({"id": step_id, **raw})
    document: dict[str, Any] = {
        "steps": steps,
        **draw(
            optional(
                version=st.text(max_size=5),
                description=st.text(max_size=8),
                timeout=DURATIONS,
                schedule=st.sampled_from(["17 3 * * *", "*/5 0-3,5 1 * 1-5"]),
                inputs=st.dictionaries(st.sampled_from(["brief", "pm.stories", "lang"]), INPUTS, max_size=2),
                defaults=optional(timeout=DURATIONS, priority=st.integers(0, 10)),
                barrier=BARRIER,
                merge=MERGE,
            )
        ),
    }
    if count > 3 and draw(st.booleans()):
        document["execution_groups"] = {"g": {"agents": IDS[2:4], **draw(GROUP)}}
    return document


@given(definitions())
def test_any_definition_reads_back_the_same(raw: dict[str, Any]) -> None:
    try:
        spec = load_workflow(raw)
    except InvalidWorkflow as error:
        mistakes = [problem.message for problem in error.problems]
    else:
        mistakes = []
        assert load_workflow_text(to_yaml(spec)) == spec
        assert Workflow.from_spec(spec).spec() == spec
        assert WorkflowSpec.model_validate_json(spec.model_dump_json(by_alias=True, exclude_defaults=True)) == spec
    expected = ("a schedule starts it without inputs", "several steps", "wait for each other", "two owners", "can mean")
    assert all(any(words in message for words in expected) for message in mistakes), mistakes
