"""When a figure is an alarm."""

from __future__ import annotations

from orchestrator.metrics.policy import Watched, watch


def raised(*values: float, threshold: float = 90) -> list[bool | None]:
    state, found = Watched(), []
    for value in values:
        state = watch(state, value, threshold)
        found.append(state.raised)
    return found


def test_one_peak_is_no_alarm_and_one_good_moment_does_not_end_one() -> None:
    assert raised(95, 50, 95, 50) == [None, None, None, None]
    assert raised(50, 50, 90, 90) == [None, False, False, True]
    assert raised(95, 95, 50, 95, 50, 50) == [None, True, True, True, True, False]


def test_around_the_threshold_nothing_changes() -> None:
    assert raised(91, 92, 89, 88, 85, 89, 91) == [None, True, True, True, True, True, True]
    assert raised(50, 50, 89, 91, 89, 91, 85) == [None, False, False, False, False, False, False]


def test_a_threshold_of_nothing_is_reached_by_nothing_and_still_ends() -> None:
    assert raised(3, 3, 2, 2, threshold=3) == [None, True, True, False]
    assert raised(0, 0, 0, threshold=0)[-1] is True
