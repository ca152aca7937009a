"""Priorities as a run goes on: whoever is on the longest way that is left comes first."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orchestrator.workflow.urgency import Node, priorities, urgency

LONG = Node("pending", ("end",), seconds=300, priority=10, urgent=10, relaxed=6)
SHORT = Node("pending", ("end",), seconds=60, priority=8, urgent=10, relaxed=7)
RUN = {
    "a": Node("success", ("long",), 60, priority=10, urgent=10, relaxed=6),
    "b": Node("running", ("short",), 60, priority=7, urgent=10, relaxed=7),
    "long": LONG,
    "short": SHORT,
    "end": Node("pending", (), 60, priority=10, urgent=10, relaxed=6),
}


def test_nothing_changes_as_long_as_it_goes_as_planned() -> None:
    assert priorities(RUN) == {}


def test_a_way_that_has_become_the_longest_is_urgent_and_the_other_one_is_not() -> None:
    late = RUN | {"long": replace(LONG, state="running", since=299), "b": replace(RUN["b"], since=0)}
    assert priorities(late) == {"short": 10}
    slow = RUN | {"short": replace(SHORT, seconds=900)}
    assert priorities(slow) == {"short": 10, "long": 8}


def test_an_overdue_step_still_takes_a_tenth_of_its_estimate() -> None:
    overdue = RUN | {"long": replace(LONG, seconds=40), "b": replace(RUN["b"], seconds=600, since=10_000)}
    assert priorities(overdue) == {"short": 10, "long": 9}


@pytest.mark.parametrize(
    ("way", "priority"), [(100, 9), (51, 9), (50, 8), (26, 8), (25, 7), (13, 7), (12.5, 6), (1, 6), (0, 6)]
)
def test_whoever_has_the_longest_way_comes_first(way: float, priority: int) -> None:
    assert urgency(1, way, 100, 10, 6) == priority
    assert urgency(0, way, 100, 10, 6) == 10, "it is on the critical path"
    assert urgency(1, way, 100, 10, 10) == 10
    assert urgency(1, way, 100, 5, 7) == 7, "a deployment may want it otherwise"


def test_queued_steps_and_those_with_a_priority_of_their_own_keep_it() -> None:
    own = replace(LONG, urgent=None, relaxed=None)
    assert priorities(RUN | {"short": replace(SHORT, seconds=900, state="queued"), "long": own}) == {}
