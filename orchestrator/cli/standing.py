"""Where a run stands: where it stopped, why, whether a part of it can be retried, and what to type for that."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from orchestrator.cli import report
from orchestrator.cli.follow import seconds
from orchestrator.run.models import RunState, RunStatus, StepState, StepStatus
from orchestrator.run.policy import POISONED

ROWS = 20
"""Steps in the table of a large run: those that matter now."""
STOPS = 3
NAMES = 8
_GOING = (StepState.RUNNING, StepState.RETRYING)
_WAITING = (StepState.READY, StepState.QUEUED)


def screen(
    status: RunStatus,
    behind: Mapping[str, Sequence[str]],
    *,
    workers: bool = True,
    every: bool = False,
    waits: Sequence[str] = (),
) -> str:
    """The page of `show`. `behind`: step -> the steps that come after it, of those that stopped; `workers`: whether
    any worker is alive; `every`: all steps, however many; `waits`: a sentence for each step that waits for pools."""
    why = f" ({status.reason})" if status.reason else ""
    rows = list(status.steps.values()) if every else _that_matter(status)
    lines = [
        f"run {status.run_id} of {status.workflow}: {status.state}{why}",
        f"created {moment(status.created_at)}, took {length(status.created_at, status.finished_at)}",
        "",
        report.step_table(status, rows),
    ]
    if len(rows) < len(status.steps):
        lines.append(f"{len(status.steps) - len(rows)} other steps: {_counts(status, rows)} (--all shows them)")
    lines.append("")
    lines += [*report.groups(status), *report.quality(status), *report.cached(status), *_stops(status, behind)]
    if not status.ended:
        lines += [*waits[:ROWS], *([f"and {len(waits) - ROWS} more wait:  orchestrator pools"] if waits[ROWS:] else ())]
    lines += _ended(status) if status.ended else _goes_on(status, workers)
    return "\n".join(lines)


def _that_matter(status: RunStatus) -> list[StepStatus]:
    every = list(status.steps.values())
    if len(every) <= ROWS:
        return every
    order = [*report.stopped_at(status), *(one for one in every if one.state in _GOING),
             *(one for one in every if one.state in _WAITING)]  # fmt: skip
    first = {one.id for one in order[:ROWS]}
    return [one for one in every if one.id in first]


def _counts(status: RunStatus, shown: Sequence[StepStatus]) -> str:
    rest = status.steps.keys() - {one.id for one in shown}
    counts: dict[str, int] = {}
    for name in status.steps:
        if name in rest:
            state = status.steps[name].state.value
            counts[state] = counts.get(state, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _stops(status: RunStatus, behind: Mapping[str, Sequence[str]]) -> Iterator[str]:
    stopped = report.stopped_at(status)
    for step in stopped[:STOPS]:
        tries = f"after {step.attempts} attempt{'s' if step.attempts != 1 else ''}"
        reason = f", {step.reason}" if step.reason == POISONED else ""
        error = step.error or step.reason or "no reason was recorded"
        yield f"stopped at {step.id} ({step.state} {tries}{reason}): {error}"
        yield f"  its log:          orchestrator logs {status.run_id} {step.id}"
        if step.reason == POISONED:
            yield f"  parked:           orchestrator dlq show {status.run_id} {step.id}"
        if status.state is not RunState.CANCELLING:
            after = [name for name in behind.get(step.id, ()) if name != step.id]
            then = f"   # and then {_named(after)}" if after else "   # and nothing else"
            yield f"  retry only this:  orchestrator retry {status.run_id} {step.id}{then}"
    if len(stopped) > STOPS:
        yield f"and at {_named([step.id for step in stopped[STOPS:]])}"
    held = [step.id for step in status.steps.values() if step.state in (StepState.UPSTREAM_FAILED, StepState.SKIPPED)]
    if stopped and held:
        yield f"not run because of that: {_named(held)}"


def _ended(status: RunStatus) -> Iterator[str]:
    cut = [step.id for step in status.steps.values() if step.state is StepState.CANCELLED]
    if cut:
        yield f"cut off: {_named(cut)}"
    if cut or report.stopped_at(status):
        yield f"retry all of that, good steps stay:  orchestrator retry {status.run_id} --failed"
    else:
        yield f"its log:  orchestrator logs {status.run_id}"


def _goes_on(status: RunStatus, workers: bool) -> Iterator[str]:
    going = [step.id for step in status.steps.values() if step.state in _GOING]
    waiting = [step.id for step in status.steps.values() if step.state in _WAITING]
    run, asleep = status.run_id, "the end of the pause" if status.state is RunState.PAUSED else "a worker"
    yield f"running: {_named(going) or 'nothing'}; waiting for {asleep}: {_named(waiting) or 'nothing'}"
    if waiting and not workers:
        yield "no worker is running:  orchestrator worker"
    if status.state is RunState.AWAITING_INPUT:
        yield f"a person has to decide:  orchestrator conflicts ls {run}"
    if status.state is RunState.PAUSED:
        yield f"let it go on:  orchestrator resume {run}"
    else:
        yield f"follow it:  orchestrator watch {run}"
    if status.state is not RunState.CANCELLING:
        yield f"end it:     orchestrator cancel {run}"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")


def moment(at: float) -> str:
    """A time as people read it."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def length(start: float, end: float | None) -> str:
    """How long something took, or has taken so far."""
    shown = seconds(max(0.0, (time.time() if end is None else end) - start))
    return shown if end is not None else f"{shown} so far"
