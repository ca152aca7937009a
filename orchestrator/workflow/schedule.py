"""When each step of a plan would start with a number of workers: the simulation behind the makespans, in detail."""

from __future__ import annotations

from orchestrator.workflow.makespan import Work
from orchestrator.workflow.plan import Plan


def schedule(plan: Plan, workers: int) -> dict[str, float]:
    """Step -> seconds after the start of the run, by list scheduling: highest rank first, no pools."""
    position = {name: index for index, name in enumerate(plan.steps)}
    ranked = sorted(position, key=lambda name: (-plan.steps[name].rank, position[name]))
    number = {name: index for index, name in enumerate(ranked)}
    work = Work(
        durations=[plan.steps[name].duration_seconds for name in ranked],
        needs=[len(plan.steps[name].needs) for name in ranked],
        consumers=[[number[consumer] for consumer in plan.steps[name].consumers] for name in ranked],
        demands=[()] * len(ranked),
    )
    return dict(zip(ranked, work.starts(workers), strict=True))
