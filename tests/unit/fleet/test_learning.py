"""What is made of durations, and what a plan makes of that."""

from __future__ import annotations

import pytest

from orchestrator.fleet.learning import Learned, expected, learn_from, mean_seconds, of_steps
from orchestrator.units import bucket_floor, size_bucket
from orchestrator.workflow.models import EstimatedDuration, StepSpec, WorkflowSpec
from orchestrator.workflow.plan import make_plan


def learned(seconds: float, count: int = 5) -> Learned:
    return Learned(count=count, ewma=seconds, p50=seconds, p95=seconds)


def test_the_newest_duration_weighs_a_fifth_and_quantiles_are_of_real_durations() -> None:
    assert learn_from([]) is None
    assert learn_from([10, 20]) == Learned(count=2, ewma=12, p50=10, p95=20)
    many = learn_from([float(number) for number in range(1, 21)])
    assert many is not None
    assert (many.count, many.p50, many.p95) == (20, 10, 19)
    assert 15 < many.ewma < 17  # the newest are around 16 when each weighs four fifths of the next


def test_sizes_fall_into_buckets_each_four_times_the_one_before() -> None:
    assert [size_bucket(size) for size in (0, 1023, 1024, 4095, 4096, 10**9)] == [0, 0, 1, 1, 2, 7]
    assert all(size_bucket(bucket_floor(bucket)) == bucket for bucket in range(8))
    assert all(size_bucket(bucket_floor(bucket) - 1) == bucket - 1 for bucket in range(1, 8))


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(0, 3), (1, 7), (2, 3), (None, 3)],
    ids=["too few of the size", "of the size", "no such size", "size unknown"],
)
def test_a_size_is_asked_first_and_the_agent_next(size: int | None, seconds: float) -> None:
    known = {"pm": learned(3), "pm/0": learned(99, count=4), "pm/1": learned(7)}
    assert expected(known, "pm", size) == seconds
    assert expected(known, "qa", size) is None
    assert expected({"pm": learned(3, count=4)}, "pm", size) is None


def test_agents_of_a_class_count_as_often_as_they_ran() -> None:
    assert mean_seconds({"a": learned(1, count=30), "b": learned(5, count=10)}, ("a", "b", "c")) == 2
    assert mean_seconds({}, ("a",)) is None


TWO_WAYS = WorkflowSpec(
    name="two-ways",
    steps=(
        StepSpec(id="long", agent="a", estimated_duration=EstimatedDuration(low=60, high=60)),
        StepSpec(id="short", agent="b", estimated_duration=EstimatedDuration(low=10, high=10)),
        StepSpec(id="end", agent="c", needs=("long", "short")),
    ),
)


def test_estimates_share_what_was_learned_of_an_agent_with_several_steps() -> None:
    steps = [StepSpec(id=f"{n}s", agent="a", estimated_duration=EstimatedDuration(low=n, high=n)) for n in (1, 2, 9)]
    workflow = WorkflowSpec(name="one-agent", steps=(*steps, StepSpec(id="own", agent="b")))
    assert of_steps({"a": learned(8), "b": learned(3)}, workflow, 0) == {"1s": 2, "2s": 4, "9s": 18, "own": 3}


def test_what_was_learned_replaces_estimates_and_moves_the_critical_path() -> None:
    before = make_plan(TWO_WAYS)
    after = make_plan(TWO_WAYS, learned=of_steps({"a": learned(2), "b": learned(30)}, TWO_WAYS, 0))
    assert (before.critical_path, after.critical_path) == (("long", "end"), ("short", "end"))
    assert (before.steps["short"].priority, after.steps["short"].priority) == (7, 10)
    assert (after.steps["long"].estimated_seconds, after.steps["long"].learned_seconds) == (60, 2)
    assert after.steps["long"].duration_seconds == 2
    assert after.steps["end"].learned_seconds is None
    assert after.critical_path_seconds == 90
