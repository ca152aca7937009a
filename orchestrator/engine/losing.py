"""A worker's main process reports a child that died over a step."""

from __future__ import annotations

from typing import NamedTuple, cast

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery import Celery

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine import recovery
from orchestrator.engine.canvas import task_id
from orchestrator.engine.runtime import Runtime, runtime_of
from orchestrator.processes import is_running
from orchestrator.run import waiting
from orchestrator.run.models import FINAL_STEP_STATES, StepState

LOST = "lost_id"
"""Attribute of a request's context: the task over which its process died, when that is another one; empty when it died
over an attempt that had been replaced."""
ENDED_WELL = frozenset({StepState.SUCCESS, StepState.CACHED, StepState.SKIPPED})
_LOST = (WorkerLostError, Terminated, TimeLimitExceeded)


def judged(error: BaseException) -> bool:
    """Whether the child itself has reported this error to the ledger; a killed child could not."""
    return not isinstance(error, _LOST)


def outcome(runtime: Runtime, run_id: str, step: str) -> str | None:
    """The final state of a step, or None while it has none."""
    with guarded():
        raw = cast("bytes | None", runtime.client.hget(keys.run_key(run_id, f"s:{step}"), "state"))
    state = "" if raw is None else raw.decode()
    return state if state in FINAL_STEP_STATES else None


class Loss(NamedTuple):
    """The step that a dead process had come to, its run, and whether that goes on without it; no step when it has long
    gone on in another process."""

    run_id: str
    step: str
    goes_on: bool


def lost(app: Celery, run_id: str, step: str, error: BaseException) -> Loss:
    """The parent reports that a child of its pool died, which was given this step, and may have gone on to another one.

    The dead one may have run an earlier attempt: only when the process of the last attempt is gone, that has ended.
    """
    runtime = runtime_of(app)
    place = waiting.place(runtime.client, runtime.owner, task_id(run_id, step))
    if place is not None:
        run_id, step = place.run_id, place.step
    standing = _standing(runtime, run_id, step)
    if standing.owner and (standing.owner != runtime.owner or is_running(standing.pid)):
        return Loss(run_id, "", goes_on=True)
    if standing.state in ENDED_WELL:  # it waited for another one
        return Loss(run_id, "", goes_on=True)
    if standing.definition is None:
        return Loss(run_id, step, goes_on=True)
    ours = standing.state == StepState.RUNNING and standing.owner == runtime.owner
    if ours and not is_running(standing.pid):
        recovery.attempt_lost(
            app, run_id, step, definition=standing.definition, token=standing.token, executed=True, error=error
        )
    return Loss(run_id, step, goes_on=outcome(runtime, run_id, step) is None)


class _Standing(NamedTuple):
    state: str
    token: int
    owner: str
    pid: int
    definition: bytes | None


def _standing(runtime: Runtime, run_id: str, step: str) -> _Standing:
    with guarded():
        pipe = runtime.client.pipeline(transaction=False)
        pipe.hmget(keys.run_key(run_id, f"s:{step}"), "state", "token", "owner", "pid")
        pipe.hget(keys.run_key(run_id, "defs"), step)
        found, definition = pipe.execute()
    state, token, owner, pid = ("" if raw is None else raw.decode() for raw in found)
    return _Standing(state, int(token or 0), owner, int(pid or 0), definition)
