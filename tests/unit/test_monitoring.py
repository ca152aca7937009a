"""Every key of the engine file's performance_monitoring changes what is measured, or what is done."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

import pytest

from orchestrator.cache.levels import Level, rules_of
from orchestrator.context.models import Version
from orchestrator.context.reader import ContextReader
from orchestrator.context.segments import LEAST
from orchestrator.context.store import Value
from orchestrator.engine import prefetching
from orchestrator.engine.runtime import Runtime
from orchestrator.engine.submission import Compiler
from orchestrator.engine_caches import ExecutionMetric, PerformanceMonitoring, QualityMetric, SystemMetric
from orchestrator.metrics.policy import Tuning, tune
from orchestrator.run.models import RunState, StepState
from orchestrator.run.shape import Shape
from orchestrator.settings import EngineSettings
from orchestrator.views.measures import Facts, measures
from orchestrator.views.models import Attempt, ConflictView, LockWait, RunView, StepView
from orchestrator.workflow.models import EstimatedDuration, GroupSpec, StepSpec, WorkflowSpec

ACTIONS = ("increase_cpu_allocation", "adjust_parallel_group_sizes", "modify_timeout_values",
           "enable_aggressive_caching")  # fmt: skip
FOUND = ("reorder_non_critical_operations", "increase_parallelization_opportunities",
         "optimize_context_access_patterns")  # fmt: skip


def monitoring(**blocks: Any) -> EngineSettings:
    return EngineSettings.model_validate({"performance_monitoring": blocks})


def without(word: str) -> EngineSettings:
    """The deployment's own list, but for one word."""
    left = [one for one in ACTIONS if one != word], [one for one in FOUND if one != word]
    optimization = {
        "adaptive_resource_allocation": {"actions": left[0]},
        "bottleneck_detection": {"automatic_optimization": left[1]},
    }
    return monitoring(performance_optimization=optimization)


# -- what is measured -------------------------------------------------------------------------------------------------


def step(name: str, agent: str, *attempts: tuple[float, float], group: str | None = None) -> StepView:
    made = tuple(Attempt(attempt=number, state="success", queued_at=begun, started_at=begun, ended_at=ended)
                 for number, (begun, ended) in enumerate(attempts, 1))  # fmt: skip
    return StepView(id=name, agent=agent, state=StepState.SUCCESS, place=0, task_id=name, attempts=made, group=group)


def facts() -> Facts:
    """Ten seconds: `a` ran for 2 and again for 3, `b` of the same agent for 4, two steps of a group for 1 each."""
    wait = LockWait(at=1.0, step="b", section="board", mode="write", seconds=0.25, granted=True)
    conflict = ConflictView(id="1", kind="write", state="resolved", field="board.x", place="board.x")
    version = Version(version=1, parent=0, author="a", attempt=1, at=5.0, hash="h", changed=(), names=())
    view = RunView(
        run_id="r", workflow="w", state=RunState.SUCCESS, ended=True, now=99.0, cursor="0-0", created_at=0.0,
        started_at=0.0, finished_at=10.0, lock_waits=(wait, wait), conflicts=(conflict,), versions=(version,),
        steps=(step("a", "pm", (0, 2), (2, 5)), step("b", "pm", (5, 9)), step("m1", "qa", (0, 1), group="g"),
               step("m2", "qa", (9, 10), group="g")),
    )  # fmt: skip
    return Facts(view, scores={"m1": 87.5}, valid={"v1": True, "v2": False}, demands={"a": "cpu=30000 agents=1000"},
                 capacity={"cpu": 120_000, "memory": 100_000, "agents": 3000})  # fmt: skip


def test_every_metric_of_a_run_that_the_settings_name_and_no_other() -> None:
    found = measures(PerformanceMonitoring(), facts())
    assert found == {
        "total_workflow_time": 10.0,
        "individual_agent_execution_time": {"pm": 9.0, "qa": 2.0},
        "parallel_efficiency_ratio": 0.1,  # without edges the chain is the last step alone
        "context_lock_wait_time": 0.5,
        "resource_utilization_percentage": {"cpu": 12.5, "memory": 0.0},  # 30 units for 5 s of 120 for 10
        "output_quality_scores": {"m1": 87.5},
        "validation_failure_rate": 0.5,
        "context_conflict_frequency": 0.333,  # of a, and of two members
        "retry_rate": 0.2,
    }
    assert set(found) == {*get_args(ExecutionMetric), *get_args(QualityMetric)}
    for name, value in found.items():
        kinds = {"execution_metrics": [name], "quality_metrics": []}
        if name in get_args(QualityMetric):
            kinds = {"execution_metrics": [], "quality_metrics": [name]}
        assert measures(monitoring(metrics_collection=kinds).performance_monitoring, facts()) == {name: value}


@pytest.mark.parametrize("metric", get_args(SystemMetric))
def test_a_system_metric_is_measured_only_when_it_is_named(metric: SystemMetric) -> None:
    named = monitoring(metrics_collection={"system_metrics": [metric]}).performance_monitoring
    assert [one for one in get_args(SystemMetric) if named.measures(one)] == [metric]


# -- what is done about alarms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alarms", "word", "done"),
    [
        ({"queue_depth"}, "increase_cpu_allocation", Tuning(hurries=True, hoards=True)),
        ({"response_time"}, "increase_cpu_allocation", Tuning(hurries=True, hoards=True)),
        ({"queue_depth", "cpu_usage"}, "", Tuning(hoards=True)),
        ({"queue_depth", "memory_usage"}, "adjust_parallel_group_sizes", Tuning(narrows=True, hoards=True)),
        ({"cpu_usage"}, "enable_aggressive_caching", Tuning(hoards=True)),
        (set(), "", Tuning()),
    ],
)
def test_each_action_is_taken_as_long_as_there_is_an_alarm_and_not_without_its_word(
    alarms: Collection[str], word: str, done: Tuning
) -> None:
    assert tune(PerformanceMonitoring(), alarms) == done
    off = {"increase_cpu_allocation": "hurries", "adjust_parallel_group_sizes": "narrows",
           "enable_aggressive_caching": "hoards"}  # fmt: skip
    left = tune(without(word).performance_monitoring, alarms)
    assert left == (Tuning(**{name: getattr(done, name) and name != off.get(word) for name in off.values()}))
    none = monitoring(performance_optimization={"adaptive_resource_allocation": {"actions": []}})
    assert tune(none.performance_monitoring, alarms) == Tuning()


def test_what_is_cached_while_there_is_an_alarm_lives_on_as_long_as_it_is_used() -> None:
    runtime = Runtime("redis://127.0.0.1:1", EngineSettings())
    assert not runtime.cache(Level.TEMPLATE_RENDER).rules.slides
    runtime.notices.hoarding = True
    rules = runtime.cache(Level.TEMPLATE_RENDER).rules
    assert (rules.slides, rules.lifetime) == (True, 3600.0)
    assert rules_of(EngineSettings())[Level.AGENT_OUTPUT].limit == runtime.cache(Level.AGENT_OUTPUT).rules.limit


GROUPED = WorkflowSpec(
    name="w",
    steps=tuple(StepSpec(id=name, agent=f"agent_{name}", group="g") for name in "ab"),
    groups=(GroupSpec(id="g", steps=("a", "b")),),
)


def timeout(settings: EngineSettings, spec: WorkflowSpec = GROUPED, **learned: float) -> float:
    _, nodes = Compiler()(spec, spec.model_dump_json(), _Named(), Shape.of(settings), learned)
    (barrier,) = (node.definition for node in nodes if node.id == "@g")
    (member,) = (node.definition for node in nodes if node.id == "a")
    assert member["barrier_timeout"] == barrier["barrier"]["timeout"]
    return float(barrier["barrier"]["timeout"])


class _Named(dict[str, str]):
    """Each agent's class is called as it is."""

    def __missing__(self, name: str) -> str:
        return name


def test_a_timeout_that_nobody_has_named_grows_with_what_the_members_take() -> None:
    assert timeout(EngineSettings(), a=200, b=250) == 600, "they have time enough"
    assert timeout(EngineSettings(), a=200, b=500) == 1000
    assert timeout(without("modify_timeout_values"), a=200, b=500) == 600
    named = GROUPED.model_copy(
        update={"groups": (GroupSpec.model_validate({"id": "g", "steps": ["a", "b"], "barrier": {"timeout": 30}}),)}
    )
    assert timeout(EngineSettings(), named, a=200, b=500) == 30, "a group's own word stands"


# -- what follows from the critical path ------------------------------------------------------------------------------


def _definitions(settings: EngineSettings) -> dict[str, Any]:
    hour, minute = (EstimatedDuration(low=value, high=value) for value in (3600, 60))
    steps = (StepSpec(id="long", agent="x", estimated_duration=hour), StepSpec(id="b", agent="x",
             estimated_duration=minute), StepSpec(id="c", agent="x", estimated_duration=minute),
             StepSpec(id="last", agent="x", needs=("long",)),
             StepSpec(id="end", agent="x", needs=("b", "c", "last")))  # fmt: skip
    spec = WorkflowSpec(name="w", steps=steps)
    _, nodes = Compiler()(spec, spec.model_dump_json(), _Named(), Shape.of(settings))
    return {node.id: node.definition for node in nodes}


def test_steps_become_more_urgent_as_a_run_goes_on_unless_the_word_is_left_out() -> None:
    assert _definitions(EngineSettings())["b"]["slack"] == (10, 7)
    assert all("slack" not in one for one in _definitions(without("reorder_non_critical_operations")).values())


def test_groups_that_no_file_names_are_found_unless_the_word_is_left_out() -> None:
    assert [_definitions(EngineSettings())[name]["priority"] for name in "bc"] == [7, 7]
    alone = _definitions(without("increase_parallelization_opportunities"))
    assert [alone[name]["priority"] for name in "bc"] == [6, 6]


def test_what_a_step_has_read_before_comes_with_its_first_read_unless_the_word_is_left_out() -> None:
    def ahead(settings: EngineSettings) -> list[str]:
        return prefetching.fields_ahead(Runtime("redis://127.0.0.1:1", settings), definition)

    definition = {"id": "undeclared", "agent": "nobody", "wants": ["drafter"]}
    held = ContextReader(Runtime("redis://127.0.0.1:1", EngineSettings()).context, "run", version=1)
    held._found["pm.stories"] = Value("[]", 1)
    held._found["drafter.plan"] = Value("x" * LEAST, 0, "draft")
    held.asked.update(("pm.stories", "drafter.plan", "ux.gone"))
    assert ahead(EngineSettings()) == []
    prefetching.learn_reads(definition, held)
    assert ahead(EngineSettings()) == ["pm.stories", "ux.gone"], "a draft is read when it is asked for"
    assert ahead(without("optimize_context_access_patterns")) == []
    again = ContextReader(Runtime("redis://127.0.0.1:1", EngineSettings()).context, "run", version=1)
    prefetching.read_ahead(Runtime("redis://127.0.0.1:1", EngineSettings()), definition, again, ())
    assert again._coming is None, "neither is a large one"
