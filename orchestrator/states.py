"""The states of runs and steps: words that the ledger writes and everybody else reads."""

from __future__ import annotations

from enum import StrEnum


class StepState(StrEnum):
    """`pending`: waits for others · `ready`: may start, waits for admission · `queued`: published · `running`:
    claimed by a worker · `retrying`: waits for its next attempt. All others are final, but `awaiting_input`."""

    PENDING = "pending"
    READY = "ready"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCESS = "success"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"
    CANCELLED = "cancelled"
    CACHED = "cached"
    AWAITING_INPUT = "awaiting_input"


class RunState(StrEnum):
    """`partial`: ended with results, yet not every step succeeded, and a barrier accepted that."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_INPUT = "awaiting_input"
    CANCELLING = "cancelling"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


FINAL_STEP_STATES = frozenset(
    {
        StepState.SUCCESS,
        StepState.FAILED,
        StepState.TIMED_OUT,
        StepState.SKIPPED,
        StepState.UPSTREAM_FAILED,
        StepState.CANCELLED,
        StepState.CACHED,
    }
)
FINAL_RUN_STATES = frozenset(
    {RunState.SUCCESS, RunState.PARTIAL, RunState.FAILED, RunState.CANCELLED, RunState.TIMED_OUT}
)
GOOD_RUN_STATES = frozenset({RunState.SUCCESS, RunState.PARTIAL})
