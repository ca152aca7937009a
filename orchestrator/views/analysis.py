"""Where the time of a run went: the chain of steps that its end has waited for, and what they did meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from orchestrator.fields import Frozen
from orchestrator.views.models import Attempt, RunView, StepView

BLOCKING = ("needs", "member", "barrier")


class Leg(Frozen):
    """One step of the chain, in seconds. `between`: from the end of the one before to its own turn, which is where
    barriers and the engine take theirs; `held`: for locks, pools or the end of a pause; `queued`: for a worker;
    `failed`: in attempts that did not count, and from the end of each to the next; `running`: in the one that did.
    `planned`: what the plan foresaw of it."""

    step: str
    agent: str
    attempts: int
    between: float
    held: float
    queued: float
    failed: float
    running: float
    planned: float | None = None

    @property
    def total(self) -> float:
        """What this step has added to the run."""
        return self.between + self.held + self.queued + self.failed + self.running


class Analysis(Frozen):
    """`took` is the run so far, `work` the sum of what all attempts ran, both in seconds; `planned`: the length of the
    planned critical path. `path` is the chain that has decided the end, first step first."""

    run_id: str
    workflow: str
    state: str
    took: float
    planned: float
    work: float
    path: tuple[Leg, ...]

    @property
    def parallelism(self) -> float:
        """How many steps were at work on average."""
        return self.work / self.took if self.took > 0 else 0.0

    def lost(self) -> Mapping[str, float]:
        """What the chain did other than running, the longest first."""
        names = ("between", "held", "queued", "failed")
        sums = {name: sum(float(getattr(leg, name)) for leg in self.path) for name in names}
        return dict(sorted(sums.items(), key=lambda item: -item[1]))


def analyse(view: RunView) -> Analysis:
    """The analysis of a run as a page of it shows it; of one that still runs, up to the time of the reading."""
    now = view.finished_at or view.now
    begun = view.started_at or view.created_at
    return Analysis(
        run_id=view.run_id,
        workflow=view.workflow,
        state=view.state,
        took=now - begun,
        planned=view.plan_seconds,
        work=sum(_ran(attempt, now) for step in view.steps for attempt in step.attempts),
        path=tuple(_legs(_chain(view, now), begun, now)),
    )


def _chain(view: RunView, now: float) -> list[StepView]:
    """From the step that ended last back to a first one, by the one that each has waited for longest."""
    steps = {step.id: step for step in view.steps if step.attempts}
    before: dict[str, set[str]] = defaultdict(set)
    for edge in view.edges:
        if edge.kind in BLOCKING:
            before[edge.target].add(edge.source)
    at = max(steps.values(), key=lambda step: _end(step, now), default=None)
    chain: list[StepView] = []
    while at is not None and at not in chain:
        chain.append(at)
        waited_for = _steps_before(at.id, before) & steps.keys()
        at = max((steps[name] for name in waited_for), key=lambda step: _end(step, now), default=None)
    return chain[::-1]


def _steps_before(node: str, before: Mapping[str, set[str]]) -> set[str]:
    """The steps right before a node, barriers between them looked through."""
    found: set[str] = set()
    for source in before.get(node, ()):
        found |= _steps_before(source, before) if source.startswith("@") else {source}
    return found


def _legs(chain: list[StepView], begun: float, now: float) -> list[Leg]:
    legs = []
    for step in chain:
        last = step.attempts[-1]
        first = _begin(step.attempts[0], begun)
        legs.append(
            Leg(
                step=step.id,
                agent=step.agent,
                attempts=len(step.attempts),
                between=max(0.0, first - begun),
                held=sum(_passed(one.held_at, one.queued_at or one.ended_at, now) for one in step.attempts),
                queued=sum(_passed(one.queued_at, one.started_at or one.ended_at, now) for one in step.attempts),
                failed=sum(_ran(one, now) + _pause(one, after) for one, after in pairwise(step.attempts)),
                running=_ran(last, now),
                planned=step.planned.duration_seconds if step.planned else None,
            )
        )
        begun = _end(step, now)
    return legs


def _end(step: StepView, now: float) -> float:
    return step.attempts[-1].ended_at or now


def _begin(attempt: Attempt, otherwise: float) -> float:
    return attempt.held_at or attempt.queued_at or attempt.started_at or otherwise


def _pause(one: Attempt, after: Attempt) -> float:
    """From the end of an attempt to the beginning of the next one."""
    return 0.0 if one.ended_at is None else max(0.0, _begin(after, one.ended_at) - one.ended_at)


def _ran(attempt: Attempt, now: float) -> float:
    return _passed(attempt.started_at, attempt.ended_at, now)


def _passed(since: float | None, until: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, (until or now) - since)
