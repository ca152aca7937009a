"""What a person does to a run that exists: cancel, pause, resume, retry. Each is one transition of the ledger, lasts
over restarts, and may be asked for again."""

from __future__ import annotations

from celery import Celery

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine.join import follow
from orchestrator.errors import NotFound, RunStateError
from orchestrator.problems import did_you_mean
from orchestrator.run.models import FINAL_RUN_STATES, RunState
from orchestrator.run.reader import RunReader
from orchestrator.run.replies import Moved, Refused
from orchestrator.run.store import Ledger

ENTERED_SECONDS = 1.0
"""A run that is about to be opened again enters the index, for sweeps that look after this: not before it is open."""


def cancel(app: Celery, ledger: Ledger, run_id: str, reason: str, grace: float) -> RunState:
    """What waits is cancelled now, what runs gets `grace` seconds. Raises NotFound, RunStateError."""
    moved = _done(run_id, ledger.stop(run_id, "cancelled", reason=reason or "cancelled by request", grace=grace))
    state = _looked_at_soon(ledger, run_id, moved)
    follow(app, run_id, moved)
    return state


def pause(app: Celery, ledger: Ledger, run_id: str) -> RunState:
    """Nothing of the run starts from now on. Raises NotFound, RunStateError."""
    moved = _done(run_id, ledger.pause(run_id))
    follow(app, run_id, moved)
    return RunState(moved.run_state)


def resume(app: Celery, ledger: Ledger, run_id: str) -> RunState:
    """A paused run goes on. Raises NotFound, RunStateError."""
    moved = _done(run_id, ledger.resume(run_id))
    state = _looked_at_soon(ledger, run_id, moved)
    follow(app, run_id, moved)
    return state


def retry(app: Celery, ledger: Ledger, run_id: str, step: str | None = None, *, failed: bool = False) -> RunState:
    """Begin anew from a step, from all that ended badly (`failed`), or from the start, with everything behind those.
    Raises NotFound, RunStateError."""
    client = ledger.client
    RunReader(client).state(run_id)
    with guarded():
        seconds, micros = client.time()
        client.zadd(keys.ACTIVE, {run_id: seconds + micros / 1e6 + ENTERED_SECONDS})
    answer = ledger.retry(run_id, step, failed=failed)
    if isinstance(answer, Refused):
        raise _not_retried(ledger, run_id, step, answer.why)
    with guarded():
        client.zadd(keys.ACTIVE, {run_id: 0})
    follow(app, run_id, answer)
    return RunState(answer.run_state)


def _not_retried(ledger: Ledger, run_id: str, step: str | None, why: str) -> Exception:
    if why == "unknown":
        return _unknown(run_id)
    if why == "unknown step":
        steps = RunReader(ledger.client).status(run_id).steps
        hint = did_you_mean(step or "", steps)
        return NotFound(f"run {run_id} has no step '{step}'" + (f"; {hint}" if hint else ""))
    reasons = {
        "going on": f"run {run_id} is going on; cancel it first, or retry one of its steps",
        "taking turns": f"the steps of run {run_id} take turns; retry when it has ended, or cancel it first",
        "nothing failed": f"nothing in run {run_id} has failed",
        "cancelling": f"run {run_id} is being cancelled; retry it when that is done",
        "blocked": f"step '{step}' would not start: a step before it has not ended well; retry that one",
    }
    return RunStateError(reasons.get(why, f"step '{step}' of run {run_id} has not ended: it is {why}"))


def _done(run_id: str, answer: Moved | Refused) -> Moved:
    if isinstance(answer, Moved):
        return answer
    if answer.why == "unknown":
        raise _unknown(run_id)
    ended = answer.why in FINAL_RUN_STATES
    raise RunStateError(f"run {run_id} {'has ended already: it ' if ended else ''}is {answer.why}")


def _unknown(run_id: str) -> NotFound:
    return NotFound(f"no run has the id '{run_id}'")


def _looked_at_soon(ledger: Ledger, run_id: str, moved: Moved) -> RunState:
    with guarded():
        ledger.client.zadd(keys.ACTIVE, {run_id: 0}, xx=True)
    return RunState(moved.run_state)
