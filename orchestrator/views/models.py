"""The documents that pages, the HTTP API and terminals show. Times are seconds since the epoch by Redis' clock, planned
times are seconds after the start of the run, durations are seconds. A node is a step (its id) or a barrier
(`@<group>`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from orchestrator.context.models import Version
from orchestrator.fields import Frozen
from orchestrator.metrics.alerts import Alert
from orchestrator.run.models import GroupStatus, QualityMark, RunState, StepState

EdgeKind = Literal["needs", "wants", "validates", "member", "barrier"]
AttemptState = Literal[
    "held", "queued", "running", "success", "cached", "failed", "timed_out", "cancelled", "taken_back"
]
Action = Literal["cancel", "pause", "resume", "retry", "retry_failed"]


class RunRow(Frozen):
    """One line of the list of runs. `progress` is the share of its steps and barriers that have ended."""

    run_id: str
    workflow: str
    state: RunState
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    reason: str | None = None
    quality_impact: str | None = None
    progress: float = 0.0


class Shown(Frozen):
    """A JSON value as it is shown: `value` with every masked part replaced by `***`; of one whose JSON has more bytes
    than are shown only the `beginning` of that text, and `value` is null. `bytes` is the size of the whole."""

    value: Any = None
    bytes: int
    beginning: str | None = None


class Attempt(Frozen):
    """One attempt of a step. `held`: it waits for locks or the end of a pause (since `held_at`); `queued`: for a worker
    (since `queued_at`); it ran from `started_at` to `ended_at`. Waiting is `queued_at` to `started_at`, or to
    `ended_at` when it never ran. The attempt after a failed one begins when it is queued again. `taken_back`: the step
    was retried, or its group fell back, while this attempt was under way; what it did counts for nothing."""

    attempt: int
    state: AttemptState
    held_at: float | None = None
    queued_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    worker: str | None = None
    error: str | None = None


class Planned(Frozen):
    """What the plan foresaw with a worker for everything: seconds after the start of the run. `slack_seconds` is how
    much later the step may end without delaying the run."""

    start_seconds: float
    finish_seconds: float
    duration_seconds: float
    slack_seconds: float
    on_critical_path: bool = False


class StepView(Frozen):
    """One step. `place` counts the steps in the order of the workflow file; `task_id` is that of its Celery task, the
    same for all attempts. `attempts` are oldest first. `progress` is 0 to 1. `may_retry`: the API takes a retry of it
    now. `validates`: the barrier of its group put it in, the workflow file does not name it."""

    id: str
    agent: str
    state: StepState
    place: int
    task_id: str
    group: str | None = None
    queue: str = ""
    priority: int | None = None
    planned: Planned | None = None
    attempts: tuple[Attempt, ...] = ()
    queued_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    worker: str | None = None
    progress: float | None = None
    message: str = ""
    error: str | None = None
    reason: str | None = None
    quality_impact: str | None = None
    validates: bool = False
    may_retry: bool = False
    output: Shown | None = None


class Edge(Frozen):
    """An arrow of the graph. `needs`: target waits for source; `member`: a step arrives at the barrier of its group;
    `barrier`: target waits for a barrier; `wants`: target reads source if it is there; `validates`: target checks
    source afterwards. Only the first three hold anybody back."""

    source: str
    target: str
    kind: EdgeKind


class Decision(Frozen):
    """Something a barrier decided: `action` is extend_timeout, continue_with_partial, abort_and_fallback, release or
    another, `state` extended, fallback, success or failed. `deadline` is until when it had had before, `seconds` by how
    much an extension moved that from `at` on."""

    at: float
    state: str
    action: str
    reason: str = ""
    deadline: float | None = None
    seconds: float | None = None


class GroupView(GroupStatus):
    """A group, `node` in the graph, and all that its barrier has decided. `deadline` is a countdown while `state`
    is pending and `started_at` is set."""

    node: str
    decisions: tuple[Decision, ...] = ()


class LockWait(Frozen):
    """An attempt has waited for the lock of a `section`, for `seconds` until `at`; `granted`, or given up."""

    at: float
    step: str
    attempt: int | None = None
    section: str
    mode: str
    seconds: float
    granted: bool


class LockHolder(Frozen):
    """Who holds a lock, or queues for it: a step, or a group (`@<group>`)."""

    node: str
    mode: Literal["read", "write"]
    declared: bool = False


class LockView(Frozen):
    """The lock of one section as it is now: holders, and who waits, the next one first."""

    section: str
    holders: tuple[LockHolder, ...] = ()
    queue: tuple[LockHolder, ...] = ()
    grants: int = 0
    total_wait_seconds: float = 0.0


class ConflictView(Frozen):
    """Edits of one place that could not both hold, as `context.models.ContextConflict` tells it. A side that has no
    value is null; `choices` are what an `open` one can be resolved for, beside a value."""

    id: str
    kind: Literal["write", "consistency"]
    state: Literal["open", "resolved"]
    field: str
    place: str
    group: str = ""
    paths: tuple[str, ...] = ()
    ours_by: tuple[str, ...] = ()
    theirs_by: str = ""
    base: Shown | None = None
    ours: Shown | None = None
    theirs: Shown | None = None
    choices: tuple[str, ...] = ()
    action: str = ""
    winner: str = ""
    reason: str = ""
    by_hand: bool = False
    otherwise: str = ""


class Artifact(Frozen):
    """A file that a step has kept. `name` is relative, with `/` between folders."""

    step: str
    name: str
    bytes: int


class RunView(RunRow):
    """Everything a page of one run shows, its line in the list included.

    `now` is Redis' time of the reading: countdowns count from it, whatever the clock of the reader says. `cursor` is
    the id of the newest event that is in the document: following the events behind it misses nothing. `actions` are
    what the API takes now. `plan_seconds` is the length of the critical path, whose steps `critical_path` lists in
    order. `conflicts`, `versions` (newest first, the last hundred) and `alerts` are of this run only.
    """

    ended: bool
    now: float
    cursor: str
    actions: tuple[Action, ...] = ()
    plan_seconds: float = 0.0
    critical_path: tuple[str, ...] = ()
    steps: tuple[StepView, ...] = ()
    groups: tuple[GroupView, ...] = ()
    edges: tuple[Edge, ...] = ()
    inputs: Mapping[str, Shown] = Field(default_factory=dict)
    locks: tuple[LockView, ...] = ()
    lock_waits: tuple[LockWait, ...] = ()
    conflicts: tuple[ConflictView, ...] = ()
    versions: tuple[Version, ...] = ()
    alerts: tuple[Alert, ...] = ()
    quality: tuple[QualityMark, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
