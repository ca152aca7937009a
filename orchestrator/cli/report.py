"""What is told about a run that has ended: the machine's document and the human's page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.cli.follow import COLOURS, seconds, took
from orchestrator.cli.output import table
from orchestrator.run.models import GroupStatus, RunStatus, StepState, StepStatus

_OVERLAPS = 5


def run_document(status: RunStatus) -> dict[str, Any]:
    """The contract of `run -o json`: times in seconds since the epoch, durations in seconds. `steps` are those of the
    workflow file, `validations` those that barriers had agents do."""
    return {
        "run_id": status.run_id,
        "workflow": status.workflow,
        "state": str(status.state),
        "wall_seconds": status.wall_seconds,
        "critical_path_seconds": status.critical_path_seconds,
        "reason": status.reason,
        "quality_impact": status.quality_impact,
        "quality": [mark.model_dump() for mark in status.quality],
        "steps": {step.id: _step_document(step) for step in status.steps.values() if not step.validates},
        "validations": {step.id: _step_document(step) for step in status.steps.values() if step.validates},
        "groups": {group.id: _group_document(group) for group in status.groups.values()},
    }


def _step_document(step: StepStatus) -> dict[str, Any]:
    return {
        "state": str(step.state),
        "attempts": step.attempts,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "worker": step.worker,
        "error": step.error,
        "reason": step.reason,
        "quality_impact": step.quality_impact,
        "progress": step.progress,
        "message": step.message,
    }


def _group_document(group: GroupStatus) -> dict[str, Any]:
    return group.model_dump(mode="json", exclude={"id"}) | {"lateness_seconds": group.lateness_seconds}


def groups(status: RunStatus) -> Iterator[str]:
    """What each barrier did, or is doing, when that is more than opening."""
    for group in status.groups.values():
        done = []
        if group.extensions:
            done.append(f"{group.extensions} extension{'s' if group.extensions > 1 else ''} of its deadline")
        if group.fallback_at is not None:
            done.append("fell back: those without a result ran again, one after another")
        if group.filled:
            done.append(f"defaults stand for {', '.join(group.filled)} ({group.quality_impact} impact on quality)")
        if group.action not in (None, "release"):
            done.append(f"{group.action}: {group.reason}")
        if done:
            yield f"barrier of {group.id} ({group.state}): {'; '.join(done)}"


def _progress(step: StepStatus) -> str:
    """How far a running step says it is."""
    share = "" if step.progress is None else f"{step.progress:.0%} "
    return share + step.message


def step_table(status: RunStatus, steps: Iterable[StepStatus] | None = None) -> str:
    """One line per step (all of them, or `steps`), with its start relative to the run's."""
    rows = []
    for step in status.steps.values() if steps is None else steps:
        start = "" if step.started_at is None else f"+{step.started_at - status.created_at:.1f} s"
        why = step.error or step.reason or (_progress(step) if step.state is StepState.RUNNING else None)
        rows.append((step.id, step.state, step.attempts, start, took(step), step.worker or "", _one_line(why)))
    return table(("step", "state", "attempts", "started", "took", "worker", ""), rows, COLOURS)


def summary(status: RunStatus, needs: Mapping[str, tuple[str, ...]]) -> str:
    """The page for people. `needs`: step -> the steps it waited for."""
    lines = [step_table(status), "", *groups(status), *quality(status), *cached(status)]
    lines += [f"side by side: {text}" for text in side_by_side(status)]
    durations = {
        step.id: (step.finished_at or step.started_at) - step.started_at
        for step in status.steps.values()
        if step.started_at is not None
    }
    lines.append(
        f"took {seconds(status.wall_seconds or 0)}; one after another it would have been "
        f"{seconds(sum(durations.values()))}, the critical path alone {seconds(longest_way(durations, needs))}"
    )
    ending = f"run {status.run_id}: {status.state}"
    lines.append(f"{ending} ({status.reason})" if status.reason else ending)
    return "\n".join(lines)


def cached(status: RunStatus) -> Iterator[str]:
    """Which steps did not have to work."""
    names = [step.id for step in status.steps.values() if step.state is StepState.CACHED]
    if names:
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        yield f"cached, {len(names)} of {len(status.steps)} steps: {shown}"


def quality(status: RunStatus) -> Iterator[str]:
    """What the result lacks, one line each."""
    for mark in status.quality:
        where = f"group {mark.group}" if mark.group else f"step {mark.step}"
        yield f"quality, {mark.level} impact: {mark.kind} of {where}: {_one_line(mark.message)}"


def longest_way(durations: Mapping[str, float], needs: Mapping[str, tuple[str, ...]]) -> float:
    """Length of the longest chain of dependent steps, in measured seconds. `needs` lists every step after its needs."""
    finish: dict[str, float] = {}
    for step, before in needs.items():
        finish[step] = durations.get(step, 0.0) + max((finish.get(other, 0.0) for other in before), default=0.0)
    return max(finish.values(), default=0.0)


def side_by_side(status: RunStatus) -> Iterator[str]:
    """The sets of steps that ran at the same time, with how long all of them did."""
    ran = [step for step in status.steps.values() if step.started_at is not None and step.finished_at is not None]
    found: dict[frozenset[str], float] = {}
    for step in ran:
        at = step.started_at or 0.0
        now = [other for other in ran if (other.started_at or 0.0) <= at < (other.finished_at or 0.0)]
        until = min((other.finished_at or 0.0 for other in now), default=at)
        if len(now) > 1 and until - at > 0:
            found[frozenset(other.id for other in now)] = until - at
    largest = [names for names in found if not any(names < other for other in found)]
    order = list(status.steps)
    for names in largest[:_OVERLAPS]:
        listed = sorted(names, key=order.index)
        shown = ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
        yield f"{shown} ({seconds(found[names])})"
    if len(largest) > _OVERLAPS:
        widest = max(len(names) for names in largest)
        yield f"{len(largest) - _OVERLAPS} more combinations, up to {widest} steps at a time"


def stopped_at(status: RunStatus) -> list[StepStatus]:
    """The steps that ended badly by themselves, first one first."""
    bad = [step for step in status.steps.values() if step.state in (StepState.FAILED, StepState.TIMED_OUT)]
    return sorted(bad, key=lambda step: step.finished_at or 0.0)


def _one_line(text: str | None) -> str:
    shown = " ".join((text or "").split())
    return shown if len(shown) <= 120 else shown[:119] + "…"
