"""Plans: examples computed by hand, and what holds for every random workflow."""

from __future__ import annotations

import gc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bench import shapes
from orchestrator.errors import InvalidWorkflow
from orchestrator.workflow.makespan import PlanLimits
from orchestrator.workflow.models import (
    BarrierSpec,
    ContextAccess,
    EstimatedDuration,
    FailureCriteria,
    GroupSpec,
    Resources,
    StepSpec,
    TriggerRule,
    WorkflowSpec,
)
from orchestrator.workflow.plan import Plan, make_plan
from orchestrator.workflow.schedule import schedule
from orchestrator.workflow.structure import conflicting_writes

slow_machines = settings(deadline=None, max_examples=100)


def step(name: str, *needs: str, seconds: float | None = 60, **fields: Any) -> StepSpec:
    estimate = None if seconds is None else EstimatedDuration(low=seconds, high=seconds)
    return StepSpec(id=name, agent="noop", needs=needs, estimated_duration=estimate, **fields)


def planned(*steps: StepSpec, groups: tuple[GroupSpec, ...] = (), limits: PlanLimits | None = None) -> Plan:
    return make_plan(WorkflowSpec(name="w", steps=steps, groups=groups), limits=limits)


@st.composite
def workflows(draw: st.DrawFn) -> WorkflowSpec:
    """Random steps with whole seconds, needs, context, rules, and resources in tenths of a pool."""
    steps: list[StepSpec] = []
    for index in range(draw(st.integers(1, 12))):
        earlier = [before.id for before in steps]
        needs = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=4)) if earlier else []
        wants = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2)) if earlier else []
        resources = Resources(cpu=draw(st.integers(0, 10)), memory=draw(st.integers(0, 10)))
        rule = draw(st.sampled_from([TriggerRule.ALL_SUCCESS] * 4 + [TriggerRule.ALL_DONE, TriggerRule.ONE_SUCCESS]))
        given_fields = {"wants": tuple(wants), "resources": resources, "trigger_rule": rule}
        steps.append(step(f"s{index}", *needs, seconds=draw(st.integers(0, 50)), **given_fields))
    return WorkflowSpec(name="random", steps=tuple(draw(st.permutations(steps))))


def test_the_six_agents() -> None:
    plan = make_plan(shapes.product())
    assert plan.order == ("analyst", "pm", "ux_expert", "architect", "developer", "qa")
    assert plan.critical_path == ("analyst", "pm", "ux_expert", "developer", "qa")
    assert plan.critical_path_seconds == 1860
    assert plan.makespan_seconds == {1: 2280, 2: 1860, 4: 1860, 8: 1860}
    assert plan.limited_by == "the critical path of 31m from 2 workers on; with fewer, the number of workers"
    assert plan.segments == {"analyst": ("analyst", "pm"), "developer": ("developer", "qa")}
    assert [(group.steps, group.declared, group.barrier) for group in plan.groups] == [
        (("ux_expert", "architect"), True, True)
    ]
    assert plan.steps["developer"].needs_groups == ("group_3_design_architecture",)
    assert plan.steps["developer"].earliest_start_seconds == 960
    assert plan.steps["pm"].rank == 1620
    assert plan.steps["pm"].consumers == ("ux_expert", "architect")


def test_a_shorter_member_of_the_group_has_slack_and_the_priority_of_a_group() -> None:
    group = GroupSpec(id="g", steps=("long", "short"))
    plan = planned(
        step("long", seconds=100), step("short", seconds=30), step("end", "long", "short", seconds=10), groups=(group,)
    )
    assert plan.critical_path == ("long", "end")
    assert {name: found.slack_seconds for name, found in plan.steps.items()} == {"long": 0, "short": 70, "end": 0}
    assert {name: found.priority for name, found in plan.steps.items()} == {"long": 10, "short": 7, "end": 10}
    assert [name for name, found in plan.steps.items() if found.on_critical_path] == ["long", "end"]


def test_priorities_by_role_and_the_explicit_one_wins() -> None:
    plan = planned(
        step("a", seconds=100),
        step("b", "a", seconds=100, priority=2),
        step("lone", seconds=10),
        step("check", seconds=10, validates=("a",)),
        step("urgent", seconds=10, validates=("a",), priority=9),
    )
    assert {name: found.priority for name, found in plan.steps.items()} == {
        "a": 10, "b": 2, "lone": 6, "check": 5, "urgent": 9,
    }  # fmt: skip


def test_a_validation_as_long_as_the_way_round_it_stays_a_validation() -> None:
    plan = planned(step("a"), step("check", validates=("a",)), step("b", "a"))
    assert plan.critical_path == ("a", "b")
    assert plan.steps["check"].priority == 5
    longer = planned(step("a"), step("check", validates=("a",), seconds=61), step("b", "a"))
    assert longer.critical_path == ("a", "check")
    assert longer.steps["check"].priority == 10


def test_a_validation_waits_for_what_it_validates_and_nothing_waits_for_it() -> None:
    plan = planned(step("a"), step("check", validates=("a",), seconds=10), step("b", "a"))
    assert plan.steps["check"].needs == ("a",)
    assert plan.steps["check"].consumers == ()
    assert plan.steps["check"].earliest_start_seconds == 60
    assert plan.steps["b"].earliest_start_seconds == 60


def test_context_never_blocks_and_never_counts() -> None:
    plan = planned(step("slow", seconds=500), step("quick", seconds=5, wants=("slow",)), step("c", "quick", seconds=5))
    assert plan.steps["quick"].earliest_start_seconds == 0
    assert plan.critical_path == ("slow",)
    circular = planned(step("a", wants=("b",)), step("b", "a"))
    assert circular.order == ("a", "b")


def test_steps_without_an_estimate_take_their_groups_share_or_a_minute() -> None:
    two_minutes = EstimatedDuration(low=60, high=180)
    names = [("p1", "p2"), ("q1", "q2"), ("r",)]
    groups = (
        GroupSpec(id="p", steps=names[0], estimated_duration=two_minutes),
        GroupSpec(id="q", steps=names[1], estimated_duration=two_minutes, parallel_capable=False),
        GroupSpec(id="r", steps=names[2]),
    )
    steps = [step(name, seconds=7 if name == "p2" else None) for group in names for name in group]
    plan = planned(*steps, groups=groups)
    assert {name: found.duration_seconds for name, found in plan.steps.items()} == {
        "p1": 120, "p2": 7, "q1": 60, "q2": 60, "r": 60,
    }  # fmt: skip


def test_a_range_counts_with_its_midpoint() -> None:
    wide = StepSpec(id="a", agent="noop", estimated_duration=EstimatedDuration(low=180, high=300))
    assert planned(wide).critical_path_seconds == 240


def test_a_cycle_is_named_with_every_other_one() -> None:
    with pytest.raises(InvalidWorkflow) as raised:
        planned(step("pm", "ux_expert"), step("ux_expert", "pm"), step("x", validates=("y",)), step("y", "x"))
    assert [problem.message.partition(": ")[2] for problem in raised.value.problems] == [
        "pm → ux_expert → pm",
        "x → y → x",
    ]


def test_the_garbage_collector_is_left_as_it_was() -> None:
    planned(step("a"))
    assert gc.isenabled()
    with pytest.raises(InvalidWorkflow):
        planned(step("a", "a"))
    assert gc.isenabled()
    gc.disable()
    try:
        planned(step("a"))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_unknown_need_is_a_problem_and_no_crash() -> None:
    with pytest.raises(InvalidWorkflow, match="found 'pmm'"):
        planned(step("pm"), step("qa", "pmm"))


def test_needs_are_reduced_only_where_success_implies_success() -> None:
    strict = planned(step("a"), step("b", "a"), step("c", "a", "b"))
    assert strict.steps["c"].needs == ("b",)
    assert strict.steps["a"].consumers == ("b",)
    judged_by_name = planned(step("a"), step("b", "a"), step("c", "a", "b", trigger_rule=TriggerRule.ONE_SUCCESS))
    assert judged_by_name.steps["c"].needs == ("a", "b")
    through_any = planned(step("a"), step("b", "a", trigger_rule=TriggerRule.ALL_DONE), step("c", "a", "b"))
    assert through_any.steps["c"].needs == ("a", "b")


def test_a_consumer_of_a_whole_group_keeps_every_member_and_waits_for_the_barrier() -> None:
    group = GroupSpec(id="g", steps=("x", "y"))
    plan = planned(
        step("x"),
        step("y"),
        step("after_x", "x"),
        step("whole", "after_x", "x", "y"),
        step("part", "x"),
        groups=(group,),
    )
    assert plan.steps["whole"].needs == ("after_x", "x", "y")
    assert plan.steps["whole"].needs_groups == ("g",)
    assert plan.steps["part"].needs_groups == ()


def test_success_behind_a_forgiving_barrier_does_not_vouch_for_a_member() -> None:
    def last_needs(barrier: BarrierSpec) -> tuple[str, ...]:
        group = GroupSpec(id="g", steps=("x", "y"), barrier=barrier)
        plan = planned(step("x"), step("y"), step("whole", "x", "y"), step("last", "x", "whole"), groups=(group,))
        return plan.steps["last"].needs

    assert last_needs(BarrierSpec()) == ("whole",)
    assert last_needs(BarrierSpec(min_success=1)) == ("x", "whole")
    assert last_needs(BarrierSpec(trigger_rule=TriggerRule.ONE_SUCCESS)) == ("x", "whole")
    assert last_needs(BarrierSpec(failure_criteria=FailureCriteria.ALL)) == ("x", "whole")
    assert last_needs(BarrierSpec(min_success=1, failure_criteria=FailureCriteria.ANY)) == ("whole",)


def test_a_group_of_one_and_a_sequential_group_have_no_barrier() -> None:
    groups = (GroupSpec(id="one", steps=("a",)), GroupSpec(id="row", steps=("b", "c"), parallel_capable=False))
    plan = planned(step("a"), step("b", "a"), step("c", "b"), step("d", "b", "c"), groups=groups)
    assert [group.barrier for group in plan.groups] == [False, False]
    assert plan.steps["d"].needs_groups == ()
    assert plan.steps["d"].needs == ("c",)
    assert plan.segments == {"a": ("a", "b", "c", "d")}
    assert plan.steps["c"].group == "row"


def test_groups_are_found_where_joining_adds_no_wait() -> None:
    plan = planned(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"))
    assert [(group.id, group.steps, group.declared) for group in plan.groups] == [("found_b", ("b", "c"), False)]
    assert plan.steps["b"].group is None
    # e also waits for b alone, so that joining b and c would let e wait for c.
    assert planned(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"), step("e", "b")).groups == ()
    assert planned(step("a"), step("b", "a"), step("x"), step("c", "x"), step("d", "b", "c")).groups == ()


def test_no_group_is_found_before_a_step_that_starts_early() -> None:
    assert planned(step("b"), step("c"), step("d", "b", "c", trigger_rule=TriggerRule.ONE_SUCCESS)).groups == ()


def test_declared_members_are_not_found_again_and_ids_do_not_collide() -> None:
    group = GroupSpec(id="found_c", steps=("a", "b"))
    plan = planned(step("a"), step("b"), step("c"), step("d"), step("e", "a", "b", "c", "d"), groups=(group,))
    assert [(found.id, found.steps) for found in plan.groups] == [("found_c", ("a", "b")), ("found_c_", ("c", "d"))]


def test_a_run_ends_at_forks_joins_other_rules_and_groups() -> None:
    plan = planned(
        step("a"), step("b", "a"), step("c", "b"),
        step("d", "c"), step("e", "c"), step("f", "d", "e"),
        step("g", "f", trigger_rule=TriggerRule.ALL_DONE), step("h", "g"), step("i", "h"),
    )  # fmt: skip
    assert plan.segments == {"a": ("a", "b", "c"), "h": ("h", "i")}
    assert [plan.steps[name].segment for name in "abcdefghi"] == ["a", "a", "a", None, None, None, None, "h", "h"]


def test_a_member_of_a_parallel_group_is_in_no_run() -> None:
    group = GroupSpec(id="g", steps=("x", "y"))
    plan = planned(step("a"), step("x", "a"), step("b", "x"), step("y"), step("c", "b"), groups=(group,))
    assert plan.segments == {"b": ("b", "c")}


def test_makespan_by_hand_with_uneven_steps() -> None:
    plan = planned(step("a", seconds=4), step("b", seconds=3), step("c", seconds=3), step("d", seconds=2))
    # Two workers: a then d, b then c. Four: all at once.
    assert plan.makespan_seconds == {1: 12, 2: 6, 4: 4, 8: 4}
    assert plan.limited_by == "the critical path of 4s from 4 workers on; with fewer, the number of workers"


def test_one_worker_is_enough_for_a_chain() -> None:
    assert make_plan(shapes.chain(5)).limited_by == "the critical path of 5m from one worker on"


def test_estimates_go_up_to_the_width() -> None:
    plan = make_plan(shapes.fan(20))
    assert plan.makespan_seconds == {1: 1320, 2: 720, 4: 420, 8: 300, 16: 240, 32: 180}
    assert plan.limited_by.startswith("the critical path of 3m from 20 workers on")


def test_estimates_stop_where_more_workers_change_nothing() -> None:
    plan = planned(step("long", seconds=600), *(step(f"s{index}") for index in range(20)))
    assert plan.makespan_seconds == {1: 1800, 2: 900, 4: 600, 8: 600}


def test_the_limit_of_agents_counts_only_those_that_request_something() -> None:
    busy = [step(f"s{index}", resources=Resources(cpu=1)) for index in range(6)]
    idle = [step(f"i{index}") for index in range(6)]
    plan = planned(*busy, *idle, limits=PlanLimits(concurrent_agents=3))
    assert plan.makespan_seconds == {1: 720, 2: 360, 4: 180, 8: 120, 16: 120}
    assert plan.limited_by == "the limit of 3 concurrent agents: 2m from 6 workers on, while the critical path takes 1m"


def test_the_scarcest_pool_is_named_and_words_are_units() -> None:
    steps = [step(f"s{index}", resources=Resources(cpu="high", memory="low")) for index in range(4)]
    plan = planned(*steps, limits=PlanLimits(cpu=120, memory=100, concurrent_agents=4))
    assert plan.makespan_seconds[8] == 120
    assert plan.limited_by.startswith("the limit of 120 cpu units: 2m from ")
    renderers = [step(f"s{index}", resources=Resources(pools={"templates": 2})) for index in range(4)]
    plan = planned(*renderers, limits=PlanLimits(pools={"templates": 3}))
    assert plan.makespan_seconds[8] == 240
    assert "3 units of pool templates" in plan.limited_by


def test_a_word_that_the_deployment_does_not_know_is_a_problem() -> None:
    with pytest.raises(InvalidWorkflow, match="found 'huge'"):
        planned(step("a", resources=Resources(cpu="huge")), limits=PlanLimits(cpu=100))


def test_a_step_that_wants_more_than_there_is_runs_alone_in_the_estimate() -> None:
    steps = [step(name, resources=Resources(cpu=500)) for name in "ab"]
    assert planned(*steps, limits=PlanLimits(cpu=100)).makespan_seconds[8] == 120


def test_conflicting_writes_name_the_steps_and_the_path() -> None:
    steps = (
        step("ux", outputs=("ui_spec", "shared"), context=ContextAccess(write=("design",))),
        step("architect", outputs=("shared",), context=ContextAccess(write=("design.api",))),
        step("third", outputs=("third_only",), context=ContextAccess(write=("designs",))),
    )
    group = GroupSpec(id="g", steps=("ux", "architect", "third"))
    warnings = planned(*steps, groups=(group,)).warnings
    assert warnings == (
        "group g is parallel_capable, yet ux and architect declare conflicting writes to 'shared'",
        "group g is parallel_capable, yet ux and architect declare conflicting writes to 'design.api'",
    )
    row = group.model_copy(update={"parallel_capable": False})
    assert conflicting_writes(WorkflowSpec(name="w", steps=steps, groups=(row,))) == ()
    assert conflicting_writes(WorkflowSpec(name="w", steps=steps)) == ()


def test_a_workflow_without_steps_has_an_empty_plan() -> None:
    plan = planned()
    assert (plan.order, plan.critical_path, plan.critical_path_seconds) == ((), (), 0)
    assert plan.makespan_seconds == {1: 0, 2: 0, 4: 0, 8: 0}
    assert plan.limited_by == "there is nothing to run"


@slow_machines
@given(workflows())
def test_every_plan_respects_its_needs_and_bounds(workflow: WorkflowSpec) -> None:
    plan = make_plan(workflow)
    position = {name: index for index, name in enumerate(plan.order)}
    assert sorted(position) == sorted(step.id for step in workflow.steps)
    assert all(position[need] < position[found.id] for found in workflow.steps for need in found.needs)
    work = sum(found.duration_seconds for found in plan.steps.values())
    longest = plan.critical_path_seconds
    assert plan.makespan_seconds[1] == work
    assert plan.makespan_seconds[max(plan.makespan_seconds)] == longest
    for workers, seconds in plan.makespan_seconds.items():
        assert seconds >= max(longest, work / workers) - 1e-9
        # Graham: a list schedule is never worse than this.
        assert seconds <= work / workers + longest * (workers - 1) / workers + 1e-9
    assert all(plan.steps[name].slack_seconds == 0 for name in plan.critical_path)
    assert min(found.slack_seconds for found in plan.steps.values()) == 0


@slow_machines
@given(workflows())
def test_a_need_is_dropped_only_if_others_vouch_for_its_success(workflow: WorkflowSpec) -> None:
    plan = make_plan(workflow)
    strict = {found.id for found in workflow.steps if found.trigger_rule is TriggerRule.ALL_SUCCESS}

    def vouched(name: str) -> set[str]:
        """Every step that has succeeded if this one has, going by the reduced needs."""
        own = plan.steps[name].needs if name in strict else ()
        return set(own).union(*map(vouched, own))

    for found in workflow.steps:
        dropped = set(found.needs) - set(plan.steps[found.id].needs)
        assert dropped <= vouched(found.id)
        kept = plan.steps[found.id].needs
        if found.id in strict:
            assert not set(kept) & set().union(*map(vouched, kept))


@slow_machines
@given(workflows(), st.integers(1, 4))
def test_limits_only_ever_lengthen_the_run(workflow: WorkflowSpec, agents: int) -> None:
    plan = make_plan(workflow, limits=PlanLimits(concurrent_agents=agents, cpu=10, memory=10))
    durations = {found.id: found.duration_seconds for found in plan.steps.values()}
    in_pools = [(found.resources, durations[found.id]) for found in workflow.steps]
    least = max(
        plan.critical_path_seconds,
        sum(seconds for wanted, seconds in in_pools if not wanted.empty) / agents,
        sum(float(wanted.cpu) * seconds for wanted, seconds in in_pools) / 10,
        sum(float(wanted.memory) * seconds for wanted, seconds in in_pools) / 10,
    )
    assert all(seconds >= least - 1e-6 for seconds in plan.makespan_seconds.values())
    assert max(plan.makespan_seconds.values()) <= sum(durations.values()) + 1e-6
    assert plan.makespan_seconds[1] == pytest.approx(sum(durations.values()))


@slow_machines
@given(workflows())
def test_a_schedule_keeps_the_needs_and_the_workers_and_ends_with_the_makespan(workflow: WorkflowSpec) -> None:
    plan = make_plan(workflow)
    for workers, makespan in plan.makespan_seconds.items():
        starts = schedule(plan, workers)
        ends = {name: start + plan.steps[name].duration_seconds for name, start in starts.items()}
        assert max(ends.values()) == pytest.approx(makespan)
        assert all(starts[name] >= ends[need] - 1e-6 for name in starts for need in plan.steps[name].needs)
        running = [sum(starts[one] <= at < ends[one] for one in starts) for at in starts.values()]
        assert max(running) <= workers



@slow_machines
@given(workflows())
def test_planning_is_deterministic_and_groups_and_runs_are_what_they_claim(workflow: WorkflowSpec) -> None:
    plan = make_plan(workflow)
    again = make_plan(WorkflowSpec.model_validate(workflow.model_dump(by_alias=True)))
    assert plan.model_dump_json() == again.model_dump_json()
    for group in plan.groups:
        members = [plan.steps[name] for name in group.steps]
        assert len({(frozenset(member.needs), frozenset(member.consumers)) for member in members}) == 1
        assert len(members) > 1
    for run in plan.segments.values():
        assert all(plan.steps[name].needs == (before,) for before, name in pairwise(run))
        assert all(plan.steps[before].consumers == (name,) for before, name in pairwise(run))


@pytest.mark.parametrize(
    "workflow",
    [
        shapes.chain(1), shapes.chain(50), shapes.fan(30, grouped=True), shapes.diamonds(10), shapes.product(),
        shapes.ragged(), shapes.layered(200, 600), shapes.deep(200, 600),
    ],
    ids=lambda workflow: workflow.name,
)  # fmt: skip
def test_the_shapes_of_the_benchmarks_can_be_planned(workflow: WorkflowSpec) -> None:
    plan = make_plan(workflow)
    assert len(plan.order) == len(workflow.steps)
    assert plan.makespan_seconds[max(plan.makespan_seconds)] == pytest.approx(plan.critical_path_seconds)


def test_shapes_have_the_size_they_were_asked_for() -> None:
    workflow = shapes.layered(300, 900)
    assert (len(workflow.steps), sum(len(found.needs) for found in workflow.steps)) == (300, 900)
    assert shapes.ragged() == shapes.ragged()
    assert make_plan(shapes.diamonds(4)).critical_path == ("j0", "l0", "j1", "l1", "j2", "l2", "j3", "l3", "j4")
