"""The flat form and the documents' own forms become one WorkflowSpec."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.documents import parse_document
from orchestrator.errors import InvalidWorkflow
from orchestrator.settings import EngineSettings
from orchestrator.workflow.loader import inspect_document, load_workflow, load_workflow_text, validate
from orchestrator.workflow.models import EstimatedDuration, FailureCriteria, TimeoutStrategy, TriggerRule, WorkflowSpec

SEEDS = Path(__file__).parents[2] / "fixtures" / "seeds"


def load(text: str) -> WorkflowSpec:
    return load_workflow_text(text)


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_block_is_accepted_as_it_is_written(path: Path) -> None:
    kind = "workflow" if path.stem.startswith(("02", "08")) else "engine"
    found = validate(path)
    assert (found.kind, found.problems) == (kind, ())
    assert inspect_document(path) == kind
    assert (found.workflow is not None) == (kind == "workflow")


def test_several_engine_blocks_stand_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text(
        "\n".join((SEEDS / name).read_text() for name in ("03_resource_manager.yaml", "06_caching_system.yaml"))
    )
    assert validate(path).to_json() == {"valid": True, "kind": "engine", "errors": [], "warnings": []}


def test_execution_groups() -> None:
    spec = load_workflow(SEEDS / "02_execution_groups.yaml")
    assert spec.name == "02_execution_groups"
    assert {step.id: step.needs for step in spec.steps} == {
        "analyst": (),
        "pm": ("analyst",),
        "ux_expert": ("pm", "analyst"),
        "architect": ("pm", "analyst"),
        "developer": ("ux_expert", "architect"),
        "qa": ("developer",),
    }
    ux = spec.step("ux_expert")
    assert ux.outputs == ("ui_spec", "user_journeys", "component_specifications")
    assert ux.inputs == ("pm.user_stories", "pm.user_personas", "analyst.target_users")
    assert (ux.resources.cpu, ux.resources.memory) == ("medium", "medium")
    assert ux.estimated_duration == EstimatedDuration(low=360, high=480)
    group = {group.id: group for group in spec.groups}["group_3_design_architecture"]
    assert group.steps == ("ux_expert", "architect")
    assert group.parallel_capable
    assert group.barrier.timeout == 600
    assert group.barrier.trigger_rule is TriggerRule.ALL_DONE_MIN_ONE_SUCCESS
    assert TimeoutStrategy.CONTINUE_WITH_PARTIAL in group.barrier.on_timeout
    assert group.barrier.cross_validation.enabled
    assert [len(group.steps) for group in spec.groups] == [1, 1, 2, 1, 1]


def test_context_access_words_become_what_a_step_may_read() -> None:
    spec = load_workflow(SEEDS / "02_execution_groups.yaml")
    assert {step.id: step.context.read for step in spec.steps} == {
        "analyst": (),
        "pm": ("analyst",),
        "ux_expert": ("analyst", "pm"),
        "architect": ("analyst", "pm"),
        "developer": ("analyst", "pm", "ux_expert", "architect"),
        "qa": ("analyst", "pm", "ux_expert", "architect", "developer"),
    }
    assert all(step.context.write is None for step in spec.steps)


def test_the_enhanced_step_and_the_inputs_that_it_lacks() -> None:
    found = validate(SEEDS / "08_enhanced_workflow_step.yaml")
    spec = found.workflow
    assert spec is not None
    assert spec.required_inputs == (
        "pm.user_stories",
        "analyst.target_users",
        "pm.requirements",
        "analyst.technical_constraints",
    )
    assert found.warnings[0].message == "nobody produces 'pm.user_stories'"
    assert found.warnings[0].hint == "give it with --input pm.user_stories=@file"
    assert (found.warnings[0].line, found.warnings[0].column) == (18, 16)
    ux, architect = spec.steps
    assert (ux.id, ux.agent, ux.priority, ux.timeout, ux.needs) == ("ux_expert_parallel", "ux_expert", 7, 480, ())
    assert ux.context.write == ("ux_outputs",)
    assert (architect.resources.cpu, architect.resources.memory) == (40, 35)
    (group,) = spec.groups
    assert (group.id, group.name) == ("step_3_parallel_design", "Parallel Design & Architecture")
    assert group.barrier.trigger_rule is TriggerRule.ALL_DONE_MIN_ONE_SUCCESS
    assert group.barrier.cross_validation.validation_agents == ("architect_parallel", "ux_expert_parallel")


def test_the_flat_form_with_every_key() -> None:
    spec = load(
        """
name: docs
version: 1.10
description: All of it
timeout: 1h
inputs: {brief: {description: What to build, example: x}, lang: en}
steps:
  - id: a
    agent: echo
    with: {text: "no", n: 3, deep: {list: [1, null]}}
    timeout: 10m
    idle_timeout: 30
    schedule_timeout: PT1M
    retry: {maximum_attempts: 5, initial_interval: 500ms, non_retryable_error_types: [ValueError]}
    priority: 9
    queue: fast
    estimated_duration: 3-5_minutes
    resources: {cpu: low, memory: 12.5, pools: {template_engine: 1}}
    outputs: [x]
    defaults: {x: 1}
    cache: 90m
    description: First
  - {id: b, needs: [a], wants: c, validates: [a.completion], inputs: [brief, a.x], trigger_rule: all_done}
  - agent: c
    context: {read: [a.x], write: [shared.y]}
    cache: false
"""
    )
    assert [step.cache for step in spec.steps] == [5400, None, False]
    assert (spec.name, spec.version, spec.timeout) == ("docs", "1.10", 3600)
    assert spec.required_inputs == ("brief",)
    assert spec.default_inputs == {"lang": "en"}
    a, b, c = spec.steps
    assert a.with_ == {"text": "no", "n": 3, "deep": {"list": [1, None]}}
    assert (a.timeout, a.idle_timeout, a.schedule_timeout) == (600, 30, 60)
    assert (a.retry.maximum_attempts, a.retry.initial_interval) == (5, 0.5)
    assert (a.priority, a.queue, a.resources.cpu, a.resources.memory) == (9, "fast", "low", 12.5)
    assert (b.needs, b.wants, b.validates, b.trigger_rule) == (("a",), ("c",), ("a",), TriggerRule.ALL_DONE)
    assert (c.id, c.agent, c.needs, c.context.write) == ("c", "c", ("a",), ("shared.y",))


NEEDS = [
    ("b", "steps: [{id: a}, {id: b, needs: a}]", ("a",)),
    ("b", "steps: [{id: a}, {id: b, dependencies: [a.completion]}]", ("a",)),
    ("b", "steps: [{id: a}, {id: b, needs: [a.success]}]", ("a",)),
    ("b", "steps: [{id: a}, {id: b, inputs: [a.x, a.y]}]", ("a",)),
    ("b", "steps: [{id: a}, {id: b, context: {read: [a.x]}}]", ("a",)),
    ("b", "steps: [{id: a}, {id: b, wants: [a], inputs: [a.x]}]", ()),
    ("b", "steps: [{id: a, agent: pm}, {id: b, needs: [pm.completion]}]", ("a",)),
    ("b", "steps: [{id: a, agent: pm}, {id: b, inputs: [pm.x]}]", ("a",)),
    ("b", "steps: [{id: a, agent: pm}, {id: b, inputs: [requirements.x]}]", ("a",)),
    ("b", "steps: [{id: a, context: {write: [shared]}}, {id: b, inputs: [shared.x]}]", ("a",)),
    ("b", "steps: [{id: b, inputs: [b.x]}]", ()),
    ("b", "inputs: [a]\nsteps: [{id: a}, {id: b, inputs: [a.x]}]", ()),
    ("b", "steps: [{id: pm}, {id: pm2, agent: pm}, {id: b, needs: [pm]}]", ("pm",)),
    ("c", "execution_groups: {g: {agents: [a, b]}}\nsteps: [{id: c, needs: [g.completion]}]", ("a", "b")),
    ("b", "execution_groups: {g: {agents: [a, b], parallel_capable: false}}", ("a",)),
    ("b", "execution_groups: {g: {agents: [a, b], parallel_capable: no}}", ("a",)),
    ("b", "execution_groups: {f: {agents: [a]}, g: {agents: [b], dependencies: [f]}}", ("a",)),
    ("a", "execution_groups: {g: {agents: [a], needs: c}}\nsteps: [{id: a}, {id: c}]", ("c",)),
]


@pytest.mark.parametrize(("step", "text", "needs"), NEEDS, ids=[text for _, text, _ in NEEDS])
def test_what_a_step_waits_for(step: str, text: str, needs: tuple[str, ...]) -> None:
    assert load(text).step(step).needs == needs


def test_a_failure_suffix_is_a_trigger_rule() -> None:
    assert load("steps: [{id: a}, {id: b, needs: [a.failure]}]").step("b").trigger_rule is TriggerRule.ALL_FAILED


def test_agents_in_inputs_become_step_ids() -> None:
    assert load("steps: [{id: a, agent: pm}, {id: b, inputs: [pm.x]}]").step("b").inputs == ("a.x",)


def test_groups_name_steps_that_stand_elsewhere_and_steps_name_their_group() -> None:
    groups = "execution_groups: {g: {agents: [b, c], timeout: 5m}}"
    spec = load(f"{groups}\nsteps: [{{id: a}}, {{id: b, priority: 3}}, {{id: d, group: g}}]")
    assert [step.id for step in spec.steps] == ["c", "a", "b", "d"]
    assert spec.groups[0].steps == ("b", "c", "d")
    assert (spec.step("b").priority, spec.step("d").group) == (3, "g")


def test_a_group_of_which_only_its_steps_know() -> None:
    (group,) = load("steps: [{id: a, group: g}, {id: b, group: g}]").groups
    assert (group.id, group.steps, group.parallel_capable) == ("g", ("a", "b"), True)


def test_a_list_of_steps_may_hold_parallel_groups() -> None:
    text = "workflow_steps: [{id: a}, {id: g, type: parallel_group, agents: [b, {id: c, agent: x}], needs: [a]}]"
    spec = load(text)
    assert [(step.id, step.agent, step.needs) for step in spec.steps] == [
        ("a", "a", ()),
        ("b", "b", ("a",)),
        ("c", "x", ("a",)),
    ]


def test_defaults_of_the_workflow_yield_to_the_group_and_to_the_step() -> None:
    spec = load(
        """
defaults: {timeout: 1m, priority: 1, resources: {cpu: low}}
barrier: {timeout: 9m, min_success: 1}
execution_groups:
  g: {agents: [a, {id: b, timeout: 2m}], resource_requirements: {cpu: 20}, barrier: {min_success: 50%}}
steps: [{id: c, resources: {memory: 5}}]
"""
    )
    assert {step.id: (step.timeout, step.priority, step.resources.cpu) for step in spec.steps} == {
        "a": (60, 1, 20),
        "b": (120, 1, 20),
        "c": (60, 1, 0),
    }
    assert (spec.groups[0].barrier.timeout, spec.groups[0].barrier.min_success) == (540, "50%")


def test_members_share_the_estimate_of_a_group_that_runs_one_after_another() -> None:
    spec = load("execution_groups: {g: {agents: [a, b], parallel_capable: false, estimated_duration: 4-6m}}")
    assert spec.step("a").estimated_duration == EstimatedDuration(low=120, high=180)


def test_agent_specifications_reach_members_by_id_or_agent() -> None:
    specifications = "agent_specifications: {pm: {priority: 2}, b: {priority: 3}}"
    spec = load(f"execution_groups: {{g: {{{specifications}, agents: [{{id: a, agent: pm}}, b]}}}}")
    assert [step.priority for step in spec.steps] == [2, 3]


@pytest.mark.parametrize(
    ("synchronization", "rule"),
    [
        ("synchronization: {success_criteria: at_least_one_agent_succeeds}", TriggerRule.ALL_DONE_MIN_ONE_SUCCESS),
        ("synchronization: {success_criteria: all_agents_succeed}", TriggerRule.ALL_SUCCESS),
        ("synchronization: barrier_sync", TriggerRule.ALL_SUCCESS),
        ("barrier: {trigger_rule: one_done}", TriggerRule.ONE_DONE),
        (
            "synchronization_strategy: {partial_failure_handling: continue_with_available_results}",
            TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
        ),
        ("synchronization_strategy: {partial_failure_handling: abort_and_fallback}", TriggerRule.ALL_SUCCESS),
    ],
)
def test_words_of_synchronization(synchronization: str, rule: TriggerRule) -> None:
    (group,) = load(f"execution_groups: {{g: {{agents: [a, b], {synchronization}}}}}").groups
    assert group.barrier.trigger_rule is rule


@pytest.mark.parametrize("key", ["synchronization", "barrier"])
@pytest.mark.parametrize("criteria", FailureCriteria)
def test_failure_criteria_are_kept(key: str, criteria: FailureCriteria) -> None:
    (group,) = load(f"execution_groups: {{g: {{agents: [a, b], {key}: {{failure_criteria: {criteria}}}}}}}").groups
    assert group.barrier.failure_criteria is criteria


def test_a_mapping_and_json_are_read_like_a_file() -> None:
    raw = {"name": "x", "steps": [{"id": "a"}, {"id": "b", "needs": ["a"], "timeout": "10m"}]}
    text = '{"name": "x", "steps": [{"id": "a"}, {"id": "b", "needs": ["a"], "timeout": "10m"}]}'
    assert load_workflow(raw) == load(text)
    assert load_workflow(parse_document(text)) == load(text)


def test_pools_and_words_are_the_engines() -> None:
    settings = EngineSettings.model_validate(
        {"words": {"cpu": {"tiny": 1}}, "resource_manager": {"resource_pool": {"pools": {"gpu": 2}}}}
    )
    raw = {"steps": [{"id": "a", "resources": {"cpu": "tiny", "pools": {"gpu": 2}}}]}
    assert load_workflow(raw, engine=settings).step("a").resources.pools == {"gpu": 2}
    with pytest.raises(InvalidWorkflow, match=r"unknown pool 'gpu'"):
        load_workflow(raw)


def test_conflicting_writes_in_a_parallel_group_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("execution_groups: {g: {agents: [{id: a, context: {write: [x]}}, {id: b, context: {write: [x]}}]}}")
    found = validate(path)
    assert found.valid
    assert [warning.message for warning in found.warnings] == [
        "group g is parallel_capable, yet a and b declare conflicting writes to 'x'"
    ]


@pytest.mark.parametrize(
    ("group", "complaint"),
    [
        ("{agents: [a], timeout: 1m}", "the group 'g' has one member: its barrier does nothing"),
        (
            "{agents: [a, b], parallel_capable: false, timeout: 1m}",
            "the group 'g' runs one after another: its barrier does nothing",
        ),
        ("{agents: [{id: a, defaults: {}}]}", "no barrier joins 'a', so nothing fills in its defaults"),
        (
            "{agents: [{id: a, defaults: {x: 1}}, b], parallel_capable: false}",
            "no barrier joins 'a', so nothing fills in its defaults",
        ),
        ("{agents: [{id: a, defaults: {}}, b]}", None),
        ("{agents: [{id: a, for_each: [1], defaults: {}}]}", None),
    ],
)
def test_what_no_barrier_reads_is_a_warning(tmp_path: Path, group: str, complaint: str | None) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(f"execution_groups: {{g: {group}}}")
    assert [one.message for one in validate(path).warnings] == ([complaint] if complaint else [])


def test_ten_thousand_steps_are_read(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    lines = [
        f"  - {{id: s{i}, agent: noop, needs: [{', '.join(f's{j}' for j in range(max(0, i - 3), i))}]}}"
        for i in range(10_000)
    ]
    path.write_text("steps:\n" + "\n".join(lines))
    spec = load_workflow(path)
    assert len(spec.steps) == 10_000
    assert sum(len(step.needs) for step in spec.steps) == 29_994
