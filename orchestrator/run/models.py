"""What is told about a run and its steps as they stand. Times are seconds since the epoch (Redis' clock)."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from orchestrator.fields import Frozen
from orchestrator.states import FINAL_RUN_STATES, FINAL_STEP_STATES, GOOD_RUN_STATES, RunState, StepState

__all__ = [
    "FINAL_RUN_STATES",
    "FINAL_STEP_STATES",
    "GOOD_RUN_STATES",
    "GroupStatus",
    "LogLine",
    "LogTail",
    "QualityMark",
    "RunState",
    "RunStatus",
    "RunSummary",
    "StepState",
    "StepStatus",
]


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


class LogLine(Frozen):
    """One line that an attempt logged."""

    at: float
    level: str
    attempt: int
    text: str


class LogTail(Frozen):
    """Lines of a step, oldest first, and as `cursor` how many it had logged by then: reading goes on behind that many.
    Fewer lines than that are kept where the oldest had to go."""

    lines: tuple[LogLine, ...]
    cursor: int
