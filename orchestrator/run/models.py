"""The states of a run and its steps, and what is told about them. Times are seconds since the epoch (Redis' clock)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field

from orchestrator.workflow.models import Frozen


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


class StepStatus(Frozen):
    """One step of a run, as it stands. `error` is the last failure, as `Type: message`. `quality_impact` (`low`,
    `medium`, `high`): defaults stand for its output, so much is lost by it. `validates`: the workflow file does not
    name this step; the barrier of its group has that member's agent look at the others' work."""

    id: str
    agent: str
    state: StepState
    attempts: int = 0
    group: str | None = None
    queued_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    worker: str | None = None
    error: str | None = None
    reason: str | None = None
    progress: float | None = None
    message: str = ""
    quality_impact: str | None = None
    validates: bool = False


class GroupStatus(Frozen):
    """A group whose members a barrier joins. `state` is pending, joined (about to be judged), success, failed or
    cancelled. `action` is what the barrier did in the end, `reason` why, `decided_at` when, and `deadline` until when
    it had: later by Redis' clock is `lateness_seconds`. `fallback_at`: since when its members run one after another.
    Defaults stand for the output of the members in `filled`."""

    id: str
    state: str
    members: tuple[str, ...]
    started_at: float | None = None
    deadline: float | None = None
    extensions: int = 0
    fallback_at: float | None = None
    decided_at: float | None = None
    action: str | None = None
    reason: str | None = None
    filled: tuple[str, ...] = ()
    quality_impact: str | None = None

    @property
    def lateness_seconds(self) -> float | None:
        """How long after its deadline the barrier decided; None when it did not have to wait for it."""
        if self.decided_at is None or self.deadline is None or self.decided_at < self.deadline:
            return None
        return self.decided_at - self.deadline


class QualityMark(Frozen):
    """Something in the result of a run that is not as it should be, although the run went on. `kind` is `partial` (a
    barrier filled gaps), `consistency` or `validation` in a `group`, or `output` (a `step` did not write all that it
    declares); `level` is low, medium or high."""

    kind: str
    group: str = ""
    step: str = ""
    level: str
    message: str


class RunStatus(Frozen):
    """A run with all its steps, in the order of the definition. `quality` tells, oldest first, what is not as it should
    be in its result (of very many marks the first hundred), `quality_impact` is the worst level of it."""

    run_id: str
    workflow: str
    state: RunState
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    critical_path_seconds: float = 0.0
    reason: str | None = None
    quality_impact: str | None = None
    quality: tuple[QualityMark, ...] = ()
    steps: Mapping[str, StepStatus] = Field(default_factory=dict)
    groups: Mapping[str, GroupStatus] = Field(default_factory=dict)

    @property
    def wall_seconds(self) -> float | None:
        """From acceptance to the end; None while the run goes on."""
        return None if self.finished_at is None else self.finished_at - self.created_at

    @property
    def ended(self) -> bool:
        return self.state in FINAL_RUN_STATES


class RunSummary(Frozen):
    """One line of the list of runs."""

    run_id: str
    workflow: str
    state: RunState
    created_at: float
    finished_at: float | None = None


class Event(Frozen):
    """One change of a run. `type` is `run`, `step`, `progress`, `barrier`, `conflict` or `quality`; `id` can be resumed
    from."""

    id: str
    at: float
    type: str
    state: str = ""
    step: str | None = None
    attempt: int | None = None
    detail: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def ends_run(self) -> bool:
        """Whether the run ended with it; a retry may have opened it again."""
        return self.type == "run" and self.state in FINAL_RUN_STATES


class LogLine(Frozen):
    """One line that an attempt logged."""

    at: float
    level: str
    attempt: int
    text: str
