"""What follows the bad end of an attempt, as a table."""

from __future__ import annotations

import pytest

from orchestrator.run.models import StepState
from orchestrator.run.policy import Cause, Ended, decide
from orchestrator.workflow.models import RetryPolicy

POLICY = RetryPolicy(initial_interval=1, backoff_coefficient=2, maximum_interval=5, maximum_attempts=5)


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1), (2, 2), (3, 4), (4, 5)])
def test_intervals_grow_and_are_capped(attempt: int, delay: float) -> None:
    found = decide(POLICY, Ended(Cause.ERROR, attempt))
    assert (found.state, found.delay) == (StepState.RETRYING, delay)


def test_jitter_only_ever_shortens() -> None:
    jittery = POLICY.model_copy(update={"jitter": 0.5})
    assert decide(jittery, Ended(Cause.ERROR, 1, chance=1.0)).delay == 0.5
    assert decide(jittery, Ended(Cause.ERROR, 1, chance=0.0)).delay == 1.0


@pytest.mark.parametrize(
    ("cause", "state", "reason"),
    [
        (Cause.ERROR, StepState.FAILED, "error"),
        (Cause.TIMEOUT, StepState.TIMED_OUT, "timeout"),
        (Cause.IDLE, StepState.TIMED_OUT, "idle_timeout"),
        (Cause.LOST, StepState.FAILED, "poisoned"),
    ],
)
def test_the_last_attempt_names_why_it_was_the_last(cause: Cause, state: StepState, reason: str) -> None:
    found = decide(POLICY, Ended(cause, 5))
    assert (found.state, found.reason) == (state, reason)


def test_a_lost_worker_is_not_waited_for() -> None:
    assert decide(POLICY, Ended(Cause.LOST, 1)).delay == 0


def test_no_bound_means_no_bound() -> None:
    endless = POLICY.model_copy(update={"maximum_attempts": 0})
    assert decide(endless, Ended(Cause.ERROR, 1_000_000)).state is StepState.RETRYING


def test_errors_that_the_next_attempt_would_meet_again_end_the_step() -> None:
    listed = POLICY.model_copy(update={"non_retryable_error_types": ("ValueError",)})
    assert decide(listed, Ended(Cause.ERROR, 1, ("UnicodeError", "ValueError"))).reason == "non_retryable"
    assert decide(POLICY, Ended(Cause.ERROR, 1, ("MissingInput", "AgentError"))).reason == "non_retryable"
    assert decide(POLICY, Ended(Cause.ERROR, 1, ("ValueError",))).state is StepState.RETRYING
