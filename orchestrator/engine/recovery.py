"""The sweep: whatever a crash left half done, or time has made due, is looked at and carried on.

Each item of a run's agenda is put off before it is handed out, so a sweep that dies is repeated by the next one, and
each repair is a transition that happens at most once, so that two sweeps at a time do no harm.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, cast

from celery import Celery

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine import admission, decisions, join, mapping, retention
from orchestrator.engine.canvas import republish_member
from orchestrator.engine.delivery import message_is_lost
from orchestrator.engine.index import look_seconds, look_soon, store_time
from orchestrator.engine.join import follow
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.errors import RunStateError
from orchestrator.metrics.lateness import record
from orchestrator.run import dead_letters, pacing
from orchestrator.run.models import FINAL_RUN_STATES, StepState
from orchestrator.run.policy import POISONED, Cause, Ended, decide
from orchestrator.run.replies import Due, Moved, Refused
from orchestrator.workflow.models import RetryPolicy

AGAIN_SECONDS = 2.0
"""An item that was handed out and not dealt with is handed out again after this."""
RUNS_AT_ONCE = 100
BUDGET_SECONDS = 0.5
"""A sweep runs in a worker's main loop and must not hold it up; the next one goes on where this one stopped."""
ORPHAN_SECONDS = 3600.0
"""An index entry without a run is dropped after this: its client died before it created the run."""


def sweep(app: Celery) -> int:
    """Look at every active run whose time has come, for at most BUDGET_SECONDS; returns how many there were."""
    runtime = runtime_of(app)
    seen, ends = 0, monotonic() + BUDGET_SECONDS
    while True:
        with guarded():
            now = store_time(runtime)
            due = cast("list[bytes]", runtime.client.zrangebyscore(keys.ACTIVE, "-inf", now, start=0, num=RUNS_AT_ONCE))
        for raw in due:
            try:
                _look_at(app, runtime, raw.decode(), now)
            except Exception:  # noqa: BLE001 - one run must not keep the sweep from the others
                log.exception("sweep: run %s", raw.decode())
        seen += len(due)
        if len(due) < RUNS_AT_ONCE or monotonic() > ends:
            admission.sweep(app)
            return seen


def _look_at(app: Celery, runtime: Runtime, run_id: str, now: float) -> None:
    """The next look is settled before this one begins; what the handlers find may only bring it forward."""
    latest = now + look_seconds(runtime)
    with guarded():
        runtime.client.zadd(keys.ACTIVE, {run_id: latest}, xx=True)
    agenda = runtime.ledger.due(run_id, again=AGAIN_SECONDS)
    for item in agenda.items:
        handle = _HANDLERS.get(item.kind)
        try:
            if handle is not None and handle(app, run_id, item):
                record(runtime.client, item.late)
        except Exception:  # noqa: BLE001 - one item must not keep the run from its others
            log.exception("sweep: run %s: %s", run_id, item.item)
    with guarded():
        if agenda.run_state in FINAL_RUN_STATES or (not agenda.run_state and _is_orphan(runtime, run_id, now)):
            retention.leave(runtime, run_id, latest, now)
        elif agenda.next_at is not None and agenda.next_at < latest:
            runtime.client.zadd(keys.ACTIVE, {run_id: max(agenda.next_at, now + 0.05)}, lt=True)


def _is_orphan(runtime: Runtime, run_id: str, now: float) -> bool:
    entered = runtime.client.zscore(keys.RUNS, run_id)
    return entered is None or now - entered > ORPHAN_SECONDS


def attempt_lost(
    app: Celery,
    run_id: str,
    step: str,
    *,
    definition: str | bytes | Mapping[str, Any],
    token: int,
    executed: bool = False,
    error: BaseException | str = "its worker stopped renewing the lease",
) -> None:
    """An attempt's process is gone: the step gets another attempt at once, or is failed as poisoned.

    `executed`: the worker itself reports it, and counts the task in its chord.
    """
    spec = definition if isinstance(definition, Mapping) else json.loads(definition)
    runtime = runtime_of(app)
    ended = Ended(Cause.LOST, token - runtime.ledger.lost(run_id, step, token))
    verdict = decide(RetryPolicy.model_validate(spec.get("retry", {})), ended)
    if verdict.reason == POISONED:
        dead_letters.park(runtime.client, run_id, step)
    moved = runtime.ledger.finish(
        run_id,
        step,
        verdict.state,
        token=token,
        executed=executed,
        error=f"WorkerLost: {error}",
        reason=verdict.reason,
    )
    if not isinstance(moved, Moved):
        return
    follow(app, run_id, moved)
    if verdict.state is StepState.RETRYING:
        again(app, run_id, step, spec, found="retrying")


def again(app: Celery, run_id: str, step: str, definition: Mapping[str, Any], *, found: str) -> None:
    """Publish a step once more that is still in the state `found`."""
    runtime = runtime_of(app)
    moved = runtime.ledger.requeue(run_id, step, found=found)
    if isinstance(moved, Refused):
        return
    header = _chord_header(runtime, run_id, definition) if moved.released else 0
    if header:
        try:
            republish_member(app, run_id, definition, header)
        except Exception:  # noqa: BLE001 - of broker, transport or store alike
            log.exception("run %s: could not publish %s; the sweep will", run_id, step)
    else:
        follow(app, run_id, moved)


def admit(app: Celery, run_id: str, nodes: Sequence[str]) -> None:
    """Publish the steps that have waited for declared locks which these nodes hold by now."""
    moved = runtime_of(app).ledger.admit(run_id, nodes) if nodes else None
    if isinstance(moved, Moved):
        follow(app, run_id, moved)


def _chord_header(runtime: Runtime, run_id: str, definition: Mapping[str, Any]) -> int:
    if not definition.get("chord"):
        return 0
    node = keys.barrier_node(definition["group"])
    with guarded():
        return int(cast("bytes | None", runtime.client.hget(keys.run_key(run_id, f"s:{node}"), "header")) or 0)


def _lease(app: Celery, run_id: str, item: Due) -> None:
    if item.state == "running" and runtime_of(app).may_judge_leases():
        attempt_lost(app, run_id, item.node, definition=item.definition, token=item.token)


def _gather(app: Celery, run_id: str, item: Due) -> bool:
    return mapping.gather(app, run_id, item.node)


def _feed(app: Celery, run_id: str, item: Due) -> None:
    mapping.miss_feeder(runtime_of(app), run_id, item.node)


def _timeout(app: Celery, run_id: str, item: Due) -> bool:
    if item.state != "running":
        return False
    if "expand" in item.definition and mapping.gather(app, run_id, item.node, overdue=True, cause=item.kind):
        return True
    cause = Cause.IDLE if item.kind == "idle" else Cause.TIMEOUT
    runtime = runtime_of(app)
    policy = RetryPolicy.model_validate(item.definition.get("retry", {}))
    attempt = item.token - runtime.ledger.spent(run_id, item.node)
    verdict = decide(policy, Ended(cause, attempt, ("StepTimeout",), chance=random.random()))  # noqa: S311
    allowed = item.definition["idle_timeout" if item.kind == "idle" else "timeout"]
    moved = runtime.ledger.finish(
        run_id, item.node, verdict.state, token=item.token, executed=False, delay=verdict.delay,
        error=f"StepTimeout: no result within its {cause.value.replace('_', ' ')} of {allowed:g} s",
        reason=verdict.reason,
    )  # fmt: skip
    if isinstance(moved, Moved):
        follow(app, run_id, moved)
        if verdict.state is StepState.RETRYING:
            look_soon(runtime, run_id, verdict.delay)
    return isinstance(moved, Moved)


def _queued(app: Celery, run_id: str, item: Due) -> None:
    if item.state == "queued" and message_is_lost(app, run_id, item):
        log.warning("run %s: the message of step %s is lost, publishing it again", run_id, item.node)
        again(app, run_id, item.node, item.definition, found="queued")


def _schedule(app: Celery, run_id: str, item: Due) -> bool:
    moved = runtime_of(app).ledger.expire(run_id, item.node, error="StepTimeout: no worker took it in time")
    if isinstance(moved, Moved):
        follow(app, run_id, moved)
    return isinstance(moved, Moved)


def _retry(app: Celery, run_id: str, item: Due) -> None:
    again(app, run_id, item.node, item.definition, found="retrying")


def _joined(app: Celery, run_id: str, item: Due) -> None:
    if item.state == "joined":
        join.judge(app, run_id, item.definition["group"])


def _barrier(app: Celery, run_id: str, item: Due) -> bool:
    if item.state not in ("pending", "joined"):
        return False
    return join.judge(app, run_id, item.definition["group"], overdue=True) not in join.NOTHING_DONE


def _alert(app: Celery, run_id: str, item: Due) -> None:
    join.alert_of_fallback(runtime_of(app), run_id, item.definition["group"])


def _cancel(app: Celery, run_id: str, item: Due) -> None:
    if item.state == "running":
        moved = runtime_of(app).ledger.finish(
            run_id, item.node, "cancelled", token=item.token, executed=False, error="Cancelled: grace period over"
        )
        if isinstance(moved, Moved):
            follow(app, run_id, moved)


def _run(app: Celery, run_id: str, item: Due) -> bool:
    runtime = runtime_of(app)
    grace = runtime.settings.engine.cancel_grace
    moved = runtime.ledger.stop(run_id, "timed_out", reason="the run's timeout is over", grace=grace)
    if isinstance(moved, Moved):
        follow(app, run_id, moved)
    return isinstance(moved, Moved)


def _conflict(app: Celery, run_id: str, item: Due) -> None:
    """Nobody has decided in time: the side stands that `decision_fallback` has chosen, or the run fails."""
    runtime = runtime_of(app)
    found = {conflict.id: conflict for conflict in runtime.context.conflicts(run_id)}.get(item.node)
    if found is None or found.state != "open":
        return
    if found.otherwise == "fail":
        reason = f"nobody decided conflict {found.id} at {found.place} in time"
        runtime.ledger.stop(run_id, "failed", reason=reason, grace=runtime.settings.engine.cancel_grace)
        return
    side = found.otherwise if found.otherwise in (*found.sides, decisions.ACCEPT) else "ours"
    try:
        decisions.resolve(app, runtime.ledger, runtime.context, run_id, item.node, side, by_hand=False)
    except RunStateError:
        log.info("run %s: conflict %s was decided in the last moment", run_id, item.node)


def _lock(app: Celery, run_id: str, item: Due) -> None:
    admit(app, run_id, runtime_of(app).locks(run_id).sweep()[1])


def _pool(app: Celery, run_id: str, item: Due) -> None:
    if item.state == "ready" and "together" in item.definition:
        admit(app, run_id, [item.definition["together"]])
    elif item.state == "ready":
        again(app, run_id, item.node, item.definition, found="ready")


def _pace(app: Celery, run_id: str, item: Due) -> None:
    for step, priority in pacing.pace(runtime_of(app).ledger, run_id).items():
        log.info("run %s: step %s has priority %d now", run_id, step, priority)


def _admit(app: Celery, run_id: str, item: Due) -> None:
    admit(app, run_id, [item.node])


_HANDLERS: Mapping[str, Callable[[Celery, str, Due], bool | None]] = {
    "lease": _lease,
    "timeout": _timeout,
    "idle": _timeout,
    "queued": _queued,
    "schedule": _schedule,
    "retry": _retry,
    "joined": _joined,
    "barrier": _barrier,
    "gather": _gather,
    "feed": _feed,
    "alert": _alert,
    "cancel": _cancel,
    "lock": _lock,
    "admit": _admit,
    "pool": _pool,
    "pace": _pace,
    "run": _run,
    "conflict": _conflict,
}
