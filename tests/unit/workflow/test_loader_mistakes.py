"""Every mistake is found, all at once, with its place, what was found and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.errors import InvalidWorkflow, Problem
from orchestrator.problems import MAX_PROBLEMS
from orchestrator.workflow.checks import MAX_GROUP_STEPS, MAX_STEPS
from orchestrator.workflow.loader import load_workflow, load_workflow_text, validate
from orchestrator.workflow.models import WorkflowSpec
from orchestrator.workflow.seed_forms import EXECUTION_GROUP_KEYS
from orchestrator.workflow.step_forms import STEP_KEYS


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidWorkflow) as caught:
        load_workflow_text(text, source="w.yaml")
    assert caught.value.exit_code == 3
    return caught.value.problems


# What is written, then the path, line, column, message and hint of the one mistake in it.
MISTAKES: list[tuple[str, str, int, int, str, str]] = [
    ("steps: [{id: a, cache: maybe}]", "steps[0].cache", 1, 24, "'maybe' is not a duration", "or true or false"),
    ("steps: [{id: a, cache: 0}]", "steps[0].cache", 1, 24, "no result is 0 s old", "write false, or an age"),
    ("steps:\n- {id: a, tmieout: 1}", "steps[0].tmieout", 2, 11, "unknown key 'tmieout'", "did you mean 'timeout'?"),
    ('schedule: "0 3 * *"\nsteps: [{id: a}]', "schedule", 1, 11, "4 fields", "write five: minute, hour"),
    ('schedule: "0 24 * * *"\nsteps: [{id: a}]', "schedule", 1, 11, "'24' is no hour", "write *, 0 to 23"),
    ('schedule: "0 3 * * 5-1"\nsteps: [{id: a}]', "schedule", 1, 11, "'5-1' is no day of the week", "1,3 or 1-5"),
    ('schedule: "x 3 * * *"\nsteps: [{id: a}]', "schedule", 1, 11, "'x' is no minute", "*/2"),
    ('schedule: "0 3 * * *"\ninputs: [b]\nsteps: [{id: a}]', "", 1, 1, "a schedule starts it without inputs: b", ""),
    ("stepz: []\nsteps: [{id: a}]", "stepz", 1, 1, "unknown key 'stepz'", "did you mean 'steps'?"),
    ("include: ../../etc/passwd\nsteps: [{id: a}]", "include", 1, 1, "unknown key 'include'", "known: barrier"),
    ("steps: [{id: a, timeout: no}]", "steps[0].timeout", 1, 26, "'no' is not a duration", "write a duration such"),
    ("steps: [{id: a, timeout: 1:30}]", "steps[0].timeout", 1, 26, "'1:30' is not a duration", "10_minutes"),
    ("steps: [{id: a, timeout: 010}]", "steps[0].timeout", 1, 26, "'010' is not a duration", "10m"),
    ("steps: [{id: a, timeout: 2024-01-01}]", "steps[0].timeout", 1, 26, "'2024-01-01' is not a duration", "10m"),
    ("steps: [{id: a, timeout: true}]", "steps[0].timeout", 1, 26, "true is not a duration", "10m"),
    ("steps: [{id: a, timeout: 0}]", "steps[0].timeout", 1, 26, "'0' is out of range", "it must be more than 0"),
    ("steps: [{id: a, timeout: -5}]", "steps[0].timeout", 1, 26, "-5 is negative", "10m"),
    ("steps: [{id: a, timeout: .inf}]", "steps[0].timeout", 1, 26, "'.inf' is not a duration", "10m"),
    ("steps: [{id: a, timeout: 3-5_minutes}]", "steps[0].timeout", 1, 26, "'3-5_minutes' is not a duration", "10m"),
    ("steps: [{id: a, estimated_duration: 5-3m}]", "steps[0].estimated_duration", 1, 37, "runs backwards", "smaller"),
    ("steps: [{id: no}]", "steps[0].id", 1, 14, "`no` is true or false to some YAML readers", "put it in quotes"),
    ("steps: [{id: a, with: {x: 010}}]", "steps[0].with.x", 1, 27, "`010` is a number or a date to some", "quotes"),
    ("steps: [{id: a, with: {x: off}}]", "steps[0].with.x", 1, 27, "`off` is true or false to some", "write true or"),
    ("steps: [{id: a b}]", "steps[0].id", 1, 14, "'a b' is no id", "letters, digits, _ and -"),
    (f"steps: [{{id: {'x' * 65}}}]", "steps[0].id", 1, 14, "is no id", "1 to 64 characters"),
    ("steps: [{id: 7}]", "steps[0].id", 1, 14, "a text is expected, found '7'", "put it in quotes"),
    ("steps: [{id: a, agent: 'os:system'}]", "steps[0].agent", 1, 24, "'os:system' is no id", "letters, digits"),
    ("steps: [{id: a, agent: os.system}]", "steps[0].agent", 1, 24, "'os.system' is no id", "letters, digits"),
    ("steps: [{priority: 3}]", "steps[0]", 1, 9, "a step needs an id or an agent", "write `id: ...`"),
    ("steps: [{id: a, priority: 11}]", "steps[0].priority", 1, 27, "'11' is out of range", "at most 10"),
    ("steps: [{id: a, priority: true}]", "steps[0].priority", 1, 27, "true is no number", ""),
    ("steps: [{id: a, priority: 2.5}]", "steps[0].priority", 1, 27, "a whole number is expected, found '2.5'", ""),
    ("steps: [{id: a, trigger_rule: al_done}]", "steps[0].trigger_rule", 1, 31, "'al_done' is not", "mean 'all_done'?"),
    (
        "steps: [{id: a, retry: {maximum_attempt: 1}}]",
        "steps[0].retry.maximum_attempt",
        1,
        25,
        "unknown",
        "maximum_attempts",
    ),
    ("steps: [{id: a, retry: {jitter: 2}}]", "steps[0].retry.jitter", 1, 33, "'2' is out of range", "at most 1"),
    ("steps: [{id: a, retry: 3}]", "steps[0].retry", 1, 24, "a mapping is expected, found '3'", ""),
    (
        "steps: [{id: a, resources: {cpu: hgih}}]",
        "steps[0].resources.cpu",
        1,
        34,
        "'hgih' is no amount",
        "mean 'high'?",
    ),
    (
        "steps: [{id: a, resources: {cpu: '40'}}]",
        "steps[0].resources.cpu",
        1,
        34,
        "'40' is no amount",
        "units such as 40",
    ),
    ("steps: [{id: a, resources: {cpu: 121}}]", "steps[0].resources.cpu", 1, 34, "121 cpu can never be sch", "has 120"),
    (
        "steps: [{id: a, resources: {memory: 101}}]",
        "steps[0].resources.memory",
        1,
        37,
        "101 memory can never",
        "has 100",
    ),
    ("steps: [{id: a, resources: {pools: {gpu: 1}}}]", "steps[0].resources.pools.gpu", 1, 37, "unknown pool 'gpu'", ""),
    (
        "steps: [{id: a, resources: {pools: {template_engine: 4}}}]",
        "steps[0].resources.pools.template_engine",
        1,
        54,
        "4 template_engine can never be scheduled",
        "has 3",
    ),
    (
        "steps: [{id: pm}, {id: b, needs: [pmm.completion]}]",
        "steps[1].needs[0]",
        1,
        35,
        "unknown step or agent 'pmm'",
        "did you mean 'pm'?",
    ),
    (
        "steps: [{id: a}, {id: b, needs: [a.output]}]",
        "steps[1].needs[0]",
        1,
        34,
        "'a.output' is no dependency",
        "'a.completion'",
    ),
    ("steps: [{id: a}, {id: b, wants: [x]}]", "steps[1].wants[0]", 1, 34, "unknown step or agent 'x'", "known: a, b"),
    ("steps: [{id: a, needs: [a]}]", "steps[0].needs[0]", 1, 25, "'a' depends on itself", "remove it"),
    ("steps: [{id: a, needs: [3]}]", "steps[0].needs[0]", 1, 25, "a name is expected, found 3", ""),
    (
        "steps: [{id: a, needs: {b: 1}}]",
        "steps[0].needs",
        1,
        24,
        "a list of names is expected, found a mapping of 1",
        "",
    ),
    (
        "steps: [{id: a},\n {id: a}]",
        "steps[1].id",
        2,
        7,
        "the step id 'a' is there twice, first in line 1, column 14",
        "a_2",
    ),
    (
        "steps: [{id: a}]\nsteps: []",
        "steps",
        2,
        1,
        "the key 'steps' stands here twice, first in line 1, column 1",
        "remove one",
    ),
    (
        "steps: [{id: a, agent: pm}, {id: b, agent: pm}, {id: c, needs: [pm.completion]}]",
        "steps[2].needs[0]",
        1,
        65,
        "'pm' is the agent of several steps: a, b",
        "by its id",
    ),
    (
        "steps: [{id: a, agent: pm}, {id: b, agent: pm}, {id: c, inputs: [pm.x]}]",
        "steps[2].inputs[0]",
        1,
        66,
        "'pm' is the agent of several steps: a, b",
        "by its id",
    ),
    (
        "steps: [{id: pm, needs: [ux]}, {id: ux, needs: [pm]}]",
        "steps[0].needs[0]",
        1,
        26,
        "the steps wait for each other: pm → ux → pm",
        "",
    ),
    ("steps: [{id: pm, inputs: [ux.x]}, {id: ux, needs: [pm]}]", "steps[0].inputs[0]", 1, 27, "pm → ux → pm", ""),
    ("steps: [{id: a, needs: b}, {id: b, needs: c}, {id: c, needs: a}]", "steps[0].needs", 1, 24, "a → c → b → a", ""),
    ("steps: [{id: a, validates: b}, {id: b, needs: a}]", "steps[0].validates", 1, 28, "a → b → a", ""),
    (
        "steps: [{id: a}, {id: b}, {id: c, needs: [a.failure, b]}]",
        "steps[2].needs[0]",
        1,
        43,
        "leaves open when to start",
        "one_failed",
    ),
    (
        "steps: [{id: a, context: {write: [requirements]}}]",
        "steps[0].context.write[0]",
        1,
        35,
        "has two owners: the ownership rules give 'requirements' to pm, not to a",
        "ownership_rules",
    ),
    (
        "execution_groups: {g: {agents: [a, b], consistency: [{equal: [a.x]}]}}",
        "execution_groups.g.consistency[0].equal",
        1,
        62,
        "at least 2 items",
        "",
    ),
    (
        "steps: [{id: c, agent: a}]\nexecution_groups:\n  g:\n    agents: [{id: d, agent: a}, b]\n"
        "    consistency: [{equal: [a.x, b.x]}]",
        "execution_groups.g.consistency[0].equal[0]",
        5,
        28,
        "'a' is the agent of several steps: c, d",
        "name the step by its id",
    ),
    (
        "execution_groups: {g: {agents: [a, b], barrier: {consistency: [{subset: [a.x, b.x], on_violation: stop}]}}}",
        "execution_groups.g.barrier.consistency[0].on_violation",
        1,
        99,
        "'stop' is not accepted",
        "fail, manual, record",
    ),
    ("merge: {hole: [x.y]}\nsteps: [{id: a}]", "merge.hole", 1, 9, "unknown key 'hole'", "did you mean 'whole'?"),
    (
        "steps: [{id: requirements, agent: pm}]",
        "steps[0].id",
        1,
        14,
        "has two owners: the ownership rules give the shared section of that name to pm",
        "another id",
    ),
    (
        "execution_groups: {g: {agents: [a, user_stories]}}",
        "execution_groups.g.agents[1]",
        1,
        36,
        "shared section of that name to pm",
        "such as user_stories_step",
    ),
    (
        "steps: [{id: a}, {id: b, context: {write: [a.x]}}]",
        "steps[1].context.write[0]",
        1,
        44,
        "has two owners: it is the namespace of step 'a', not of 'b'",
        "under 'b'",
    ),
    (
        "steps: [{id: a, inputs: ['(\\d+)+']}]",
        "steps[0].inputs[0]",
        1,
        26,
        "is no path of the context",
        "pm.user_stories",
    ),
    (
        "steps: [{id: a, context_access: read_b_write_c}, {id: c}]",
        "steps[0].context_access",
        1,
        33,
        "lets 'a' write what belongs to 'c'",
        "read_b_write_a",
    ),
    (
        "steps: [{id: a, context_access: everything}]",
        "steps[0].context_access",
        1,
        33,
        "'everything' is no word of",
        "write_only",
    ),
    (
        "steps: [{id: a1}, {id: a2}, {id: b, context_access: read_a_write_b}]",
        "steps[2].context_access",
        1,
        53,
        "can mean a1, a2",
        "whole id",
    ),
    (
        "steps: [{id: a, needs: [], dependencies: [q]}]",
        "steps[0].dependencies[0]",
        1,
        43,
        "unknown step or agent 'q'",
        "known: a",
    ),
    (
        "steps: [{id: a, resources: {}, resource_requirements: {cpu: 1}}]",
        "steps[0].resource_requirements",
        1,
        32,
        "says again what steps[0].resources has said",
        "remove one",
    ),
    ("steps: {a: {}}", "steps", 1, 8, "a list of steps is expected, found a mapping of 1", "- id:"),
    ("steps: [pm]", "steps[0]", 1, 9, "a mapping is expected, found 'pm'", ""),
    ("steps: []", "", 1, 1, "a workflow needs at least one step", "begin with"),
    ("", "", 0, 0, "the document is empty", "begin with `steps:`"),
    ("- a", "", 1, 1, "a mapping is expected, found a list of 1", "begin with"),
    ("name: a b\nsteps: [{id: a}]", "name", 1, 7, "'a b' is no id", "letters"),
    ("inputs: {a: {defalt: 1}}\nsteps: [{id: a}]", "inputs.a.defalt", 1, 14, "unknown key 'defalt'", "mean 'default'?"),
    ("inputs: [a b]\nsteps: [{id: a}]", "inputs.a b", 1, 9, "'a b' is no path of the context", ""),
    ("defaults: {outputs: [x]}\nsteps: [{id: a}]", "defaults.outputs", 1, 12, "unknown key 'outputs'", "known: "),
    ("defaults: {timeout: 1:30}\nsteps: [{id: a}, {id: b}]", "defaults.timeout", 1, 21, "'1:30' is not a duration", ""),
    (
        "resource_manager: {}\nsteps: [{id: a}]",
        "resource_manager",
        1,
        1,
        "does not belong into a workflow",
        "engine.yaml",
    ),
    (
        "execution_groups: {g: {agents: []}}",
        "execution_groups.g.agents",
        1,
        32,
        "a group needs at least one agent",
        '["pm"]',
    ),
    ("execution_groups: {g: {}}", "execution_groups.g.agents", 1, 23, "a group needs at least one agent", '["pm"]'),
    (
        "execution_groups: {g: {agents: pm}}",
        "execution_groups.g.agents",
        1,
        32,
        "a list of agents is expected, found 'pm'",
        "",
    ),
    ("execution_groups: {g: {agents: [1]}}", "execution_groups.g.agents[0]", 1, 33, "an agent or a mapping", ""),
    (
        "execution_groups: {g: {agents: [a, a]}}",
        "execution_groups.g.agents[1]",
        1,
        36,
        "'a' is there twice, first in line 1, column 33",
        "",
    ),
    (
        "execution_groups: {g: {agents: [a], x: 1}}",
        "execution_groups.g.x",
        1,
        37,
        "unknown key 'x'",
        "known: agent_spec",
    ),
    ("execution_groups: {g h: {agents: [a]}}", "execution_groups.g h", 1, 25, "'g h' is no id", "letters"),
    (
        "execution_groups: {g: {agents: [a, b], dependencies: [g]}}",
        "execution_groups.g.dependencies[0]",
        1,
        55,
        "'a' depends on its own group g",
        "",
    ),
    (
        "execution_groups: {g: {agents: [a]}, h: {agents: [b], needs: [a], synchronization: x}}",
        "execution_groups.h.synchronization",
        1,
        84,
        "'x' is not accepted",
        "the only value is 'barrier_sync'",
    ),
    (
        "execution_groups: {g: {agents: [a], synchronization_strategy: {type: chord}}}",
        "execution_groups.g.synchronization_strategy.type",
        1,
        70,
        "'chord' is not accepted",
        "'smart_barrier'",
    ),
    (
        "execution_groups: {g: {agents: [a], synchronization_strategy: {timeout: 010}}}",
        "execution_groups.g.synchronization_strategy.timeout",
        1,
        73,
        "'010' is not a duration",
        "",
    ),
    (
        "execution_groups: {g: {agents: [a], synchronization_strategy: {timeout: 1m}, timeout: 2m}}",
        "execution_groups.g.timeout",
        1,
        78,
        "says again what execution_groups.g.synchronization_strategy.timeout has said",
        "",
    ),
    (
        "execution_groups: {g: {agents: [a], barrier: {min_success: 2}}}",
        "execution_groups.g.barrier.min_success",
        1,
        60,
        "2 successes can never be reached by 1 members",
        "",
    ),
    (
        "execution_groups: {g: {agents: [a]}, h: {agents: [b], barrier: {min_success: 120%}}}",
        "execution_groups.h.barrier.min_success",
        1,
        78,
        "is no number of successes",
        "",
    ),
    (
        "execution_groups: {g: {agents: [a], barrier: {on_timeout: [explode]}}}",
        "execution_groups.g.barrier.on_timeout[0]",
        1,
        60,
        "'explode' is not accepted",
        "known: abort",
    ),
    (
        "execution_groups: {g: {agents: [a], cross_validation: {validation_agents: [b]}}}",
        "execution_groups.g.cross_validation.validation_agents[0]",
        1,
        76,
        "'b' is no member of this group",
        "known: a",
    ),
    (
        "execution_groups: {g: {agents: [a], agent_specifications: {b: {}}}}",
        "execution_groups.g.agent_specifications.b",
        1,
        60,
        "unknown key 'b'",
        "known: a",
    ),
    (
        "execution_groups: {g: {agents: [a]}, h: {agents: [b]}}\nsteps: [{id: a, group: h}]",
        "execution_groups.g.agents[0]",
        1,
        33,
        "a member of two groups, h and g",
        "",
    ),
    (
        "execution_groups: {a: {agents: [b, c]}}\nsteps: [{id: a}]",
        "execution_groups.a",
        1,
        23,
        "'a' is the id of a group and of a step",
        "",
    ),
    (
        "enhanced_workflow_step: {id: g, type: parallel, agents: [a]}",
        "enhanced_workflow_step.type",
        1,
        39,
        "'parallel' is not accepted",
        "'parallel_group'",
    ),
    (
        "enhanced_workflow_step: {type: parallel_group, agents: [a]}",
        "enhanced_workflow_step",
        1,
        25,
        "a parallel_group needs an id",
        "",
    ),
    (
        "steps: [{id: g, type: parallel_group, agents: [a], parallel_configuration: {execution_mode: serial}}]",
        "steps[0].parallel_configuration.execution_mode",
        1,
        93,
        "'serial' is not accepted",
        "'truly_parallel'",
    ),
    ("steps: [{id: a, with: !!python/object/apply:os.system [ls]}]", "steps[0].with", 1, 23, "the tag", "only plain"),
]


@pytest.mark.parametrize(
    ("text", "path", "line", "column", "message", "hint"), MISTAKES, ids=[m[0][:70] for m in MISTAKES]
)
def test_a_mistake(text: str, path: str, line: int, column: int, message: str, hint: str) -> None:
    found = problems(text)
    problem = found[0]
    assert (problem.path, problem.line or 0, problem.column or 0) == (path, line, column), found
    assert message in problem.message
    assert hint in problem.hint
    assert problem.source == "w.yaml"


def test_all_mistakes_are_told_at_once_in_file_order() -> None:
    found = problems(
        """
name: x
stepz: 1
steps:
  - {id: a, timeout: no, priority: 12, tmieout: 3}
  - {id: b, needs: [c, aa], resources: {cpu: 500}}
  - {id: d, needs: [e]}
  - {id: e, needs: [d]}
  - {id: a}
execution_groups:
  g: {agents: [], synchronization: chord}
"""
    )
    assert [(problem.line, problem.message.split(",")[0]) for problem in found] == [
        (3, "unknown key 'stepz'"),
        (5, "'no' is not a duration"),
        (5, "'12' is out of range"),
        (5, "unknown key 'tmieout'"),
        (6, "unknown step or agent 'c'"),
        (6, "unknown step or agent 'aa'"),
        (6, "500 cpu can never be scheduled"),
        (7, "the steps wait for each other: d → e → d"),
        (9, "the step id 'a' is there twice"),
        (11, "a group needs at least one agent"),
        (11, "'chord' is not accepted"),
    ]


def test_a_message_reads_as_one_line_with_file_line_key_and_remedy() -> None:
    (problem,) = problems("steps:\n  - {id: a, tmieout: 3}")
    assert str(problem) == "w.yaml:2:13: steps[0].tmieout: unknown key 'tmieout' (did you mean 'timeout'?)"


def test_the_json_form_of_a_validation(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("steps: [{id: a, needs: [b]}]")
    assert validate(path).to_json() == {
        "valid": False,
        "kind": "workflow",
        "errors": [
            {
                "path": "steps[0].needs[0]",
                "line": 1,
                "column": 25,
                "message": "unknown step or agent 'b'",
                "hint": "known: a",
            }
        ],
        "warnings": [],
    }


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidWorkflow, match="cannot be read"):
        load_workflow(tmp_path / name)
    assert not validate(tmp_path / name).valid


def test_a_mistake_in_python_has_a_path_and_no_line() -> None:
    with pytest.raises(InvalidWorkflow) as caught:
        load_workflow({"steps": [{"id": "a", "timeout": object()}, {"id": "b", "tmieout": 1}]})
    assert [(problem.path, problem.line) for problem in caught.value.problems] == [
        ("steps[0].timeout", None),
        ("steps[1].tmieout", None),
    ]


def test_too_many_steps_members_and_problems() -> None:
    many = {"steps": [{"id": f"s{i}"} for i in range(MAX_STEPS + 1)]}
    with pytest.raises(InvalidWorkflow, match=r"at most 100,000 steps, this one has 100,001"):
        load_workflow(many)
    group = {"execution_groups": {"g": {"agents": [f"s{i}" for i in range(MAX_GROUP_STEPS + 1)]}}}
    with pytest.raises(InvalidWorkflow, match=r"at most 10,000 agents"):
        load_workflow(group)
    with pytest.raises(InvalidWorkflow) as caught:
        load_workflow({"steps": [{"id": f"s{i}", "x": 1} for i in range(1000)]})
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert caught.value.problems[-1].message == "and 800 more"


def test_what_is_not_produced_but_close_to_a_step_is_a_warning_with_a_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("steps: [{id: analyst}, {id: pm, inputs: [analist.brief]}]")
    (warning,) = validate(path).warnings
    assert warning.message == "nobody produces 'analist.brief'"
    assert warning.hint.startswith("did you mean 'analyst'?")


_TOP = ["name", "version", "inputs", "timeout", "defaults", "barrier", "steps", "workflow_steps", "execution_groups"]
_KEYS = st.sampled_from([*_TOP, "enhanced_workflow_step", "type", *sorted(STEP_KEYS), *sorted(EXECUTION_GROUP_KEYS)])
_SCALARS = st.sampled_from(
    [
        "a",
        "b",
        "a.completion",
        "read_all_write_a",
        "no",
        "010",
        "10m",
        "parallel_group",
        "",
        0,
        1,
        -1,
        2.5,
        True,
        None,
        "50%",
    ]
)
_ANY = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5), max_leaves=25
)
_DOCUMENT = st.dictionaries(_KEYS, _ANY, max_size=6)


def accept_or_explain(source: dict[str, object] | str) -> WorkflowSpec | tuple[Problem, ...]:
    """Anything else than these two outcomes is a defect."""
    try:
        return load_workflow_text(source) if isinstance(source, str) else load_workflow(source)
    except InvalidWorkflow as error:
        return error.problems


@given(_DOCUMENT)
@example({"execution_groups": {"a": {"agents": ["a"]}}})
def test_any_mapping_is_a_workflow_or_invalid(raw: dict[str, object]) -> None:
    assert accept_or_explain(raw)


@given(st.text(alphabet=st.sampled_from(list("abidgents:-[]{}&*!|>'\"#\n ,?<1")), max_size=80))
def test_any_text_is_a_workflow_or_invalid(text: str) -> None:
    assert accept_or_explain("steps:\n" + text)
