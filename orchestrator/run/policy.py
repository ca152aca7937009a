"""Decisions about attempts, as values: no clock, no chance, no Redis."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from orchestrator.run.models import StepState
from orchestrator.workflow.models import RetryPolicy


class Cause(StrEnum):
    """Why an attempt ended without a result."""

    ERROR = "error"
    TIMEOUT = "timeout"
    IDLE = "idle_timeout"
    LOST = "worker_lost"


class Ended(Struct, frozen=True):
    """An attempt that ended badly. `attempt` counts from 1; `error_types` are the class names of the error and
    its bases; `chance` is a number from 0 to 1 drawn by the caller, for jitter."""

    cause: Cause
    attempt: int
    error_types: tuple[str, ...] = ()
    chance: float = 0.0


class Verdict(Struct, frozen=True):
    """`state` is the step's next state; RETRYING comes with `delay` in seconds, a final one with its `reason`."""

    state: StepState
    delay: float = 0.0
    reason: str = ""


POISONED = "poisoned"
"""Why a step has failed whose attempts ended with their processes."""

NEVER_RETRIED = ("OwnershipError", "InvalidValue", "MissingInput", "NotFound")
"""Our own errors that the next attempt would meet again."""


def decide(policy: RetryPolicy, ended: Ended) -> Verdict:
    """What follows a bad end. Intervals grow as in Temporal: initial × coefficient^(attempt - 1), capped.

    A lost worker costs an attempt, without a wait: the work was not at fault. When attempts are used up by lost
    workers, the step is failed as `poisoned`.
    """
    final = StepState.TIMED_OUT if ended.cause in (Cause.TIMEOUT, Cause.IDLE) else StepState.FAILED
    if any(name in policy.non_retryable_error_types or name in NEVER_RETRIED for name in ended.error_types):
        return Verdict(final, reason="non_retryable")
    if policy.maximum_attempts and ended.attempt >= policy.maximum_attempts:
        return Verdict(final, reason=POISONED if ended.cause is Cause.LOST else ended.cause.value)
    if ended.cause is Cause.LOST:
        return Verdict(StepState.RETRYING)
    interval = policy.initial_interval * policy.backoff_coefficient ** min(ended.attempt - 1, 60)
    delay = min(interval, policy.maximum_interval) * (1 - policy.jitter * ended.chance)
    return Verdict(StepState.RETRYING, delay=delay)
