"""One attempt of a step, from its claim to its end."""

from __future__ import annotations

import os
import random
from time import monotonic
from typing import Any, cast

from celery import Task
from celery.exceptions import Ignore, Retry

from orchestrator.engine import lane, mapping, turns
from orchestrator.engine.attempt_log import AttemptLog, flush_left
from orchestrator.engine.commits import complete
from orchestrator.engine.foresight import warn_early
from orchestrator.engine.index import look_soon
from orchestrator.engine.join import follow
from orchestrator.engine.link import Attempt
from orchestrator.engine.remembering import Memory, memory_of
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.errors import AgentError, Conflict
from orchestrator.run.models import StepState
from orchestrator.run.policy import Cause, Ended, Verdict, decide
from orchestrator.run.replies import Claimed, Moved, Refused
from orchestrator.workflow.models import RetryPolicy

_SUCCESS, _CACHED = StepState.SUCCESS.value, StepState.CACHED.value


def execute(task: Task[Any, Any], run_id: str, step: str) -> str:
    """Claim a step, or take up what was begun for this process; do its work, end it, publish what follows. Returns the
    state in which the attempt has left it: a text, because Celery shows each task's result as one.

    Raises Ignore when the claim or the result is refused, Retry when there will be another attempt, and the agent's
    own error when there will be none, so that Celery and Flower show what happened.
    """
    runtime, turn = runtime_of(task.app), turns.current(run_id)
    granted = (turn.given(step) if turn is not None else None) or _claim(runtime, run_id, step)
    if "lane" in granted.definition:
        return lane.work(task.app, run_id, step, granted)
    if turn is not None:
        turn.carries_out_a_step()
    began = monotonic()
    try:
        outcome = _run(task, run_id, step, granted)
    except Exception:
        _sampled(runtime, granted, began, ok=False)
        raise
    if outcome == _SUCCESS:
        _sampled(runtime, granted, began, ok=True)
    return outcome


def _claim(runtime: Runtime, run_id: str, step: str) -> Claimed:
    lease = runtime.settings.engine.lease_seconds
    granted = runtime.ledger.claim(
        run_id, step, worker=runtime.hostname, owner=runtime.owner, lease=lease, pid=os.getpid()
    )
    if isinstance(granted, Refused):
        log.debug("run %s step %s: claim refused, it is %s", run_id, step, granted.why)
        raise Ignore(granted.why)
    return granted


def _sampled(runtime: Runtime, granted: Claimed, began: float, *, ok: bool) -> None:
    definition = granted.definition
    runtime.samples.put(definition["agent"], definition.get("size", 0), monotonic() - began, ok=ok)


def _run(task: Task[Any, Any], run_id: str, step: str, granted: Claimed) -> str:
    attempt = Attempt(task.app, run_id, step, granted)
    if "expand" in granted.definition and not attempt.validates:
        return _expand(task, attempt)
    memory = memory_of(attempt)
    if memory is None:
        return _carry_out(task, attempt, granted)
    with memory:
        return _carry_out(task, attempt, granted, memory)


def _expand(task: Task[Any, Any], attempt: Attempt) -> str:
    task.request.chain = None  # the next link waits until the items have ended
    try:
        mapping.expand(task.app, attempt)
    except Exception as error:  # there is no list, or the store is away
        _failed(task, attempt, error)
        raise
    return StepState.RUNNING.value


def _carry_out(task: Task[Any, Any], attempt: Attempt, granted: Claimed, memory: Memory | None = None) -> str:
    runtime, run_id, step = attempt.runtime, attempt.run_id, attempt.step
    lines = AttemptLog(runtime, run_id, step, granted.token)
    try:
        with lines:
            written = (memory.recall() if memory is not None else None) or attempt.work()
    except Exception as error:  # whatever an agent raises is its failure, never ours
        _failed(task, attempt, error)
        raise
    try:
        moved = complete(runtime, run_id, granted, attempt.reader, written)
    except (AgentError, Conflict) as error:  # what it wrote fits nowhere
        _failed(task, attempt, error)
        raise
    if isinstance(moved, Refused):
        log.warning("run %s step %s: attempt %d came late, the step is %s", run_id, step, attempt.token, moved.why)
        raise Ignore(moved.why)
    if runtime.ledger.posts:
        task.request.chain = None  # the next link is in its queue already
    follow(task.app, run_id, moved)
    warn_early(runtime, run_id, granted.definition, (write.field for write in written.fields))
    if written.source:
        return _CACHED
    if memory is not None:
        memory.remember(written)
    return _SUCCESS


def _failed(task: Task[Any, Any], attempt: Attempt, error: Exception) -> None:
    turn = turns.current(attempt.run_id)
    if turn is not None:
        turn.over()
    try:
        _end(task, attempt, error)
    finally:
        flush_left()


def _end(task: Task[Any, Any], attempt: Attempt, error: Exception) -> None:
    made = attempt.token - attempt.runtime.ledger.spent(attempt.run_id, attempt.step)
    verdict = _verdict(attempt.definition, Cause.ERROR, made, error)
    moved = attempt.runtime.ledger.finish(
        attempt.run_id,
        attempt.step,
        verdict.state,
        token=attempt.token,
        delay=verdict.delay,
        error=f"{type(error).__name__}: {error}",
        reason=verdict.reason,
    )
    if not isinstance(moved, Moved):
        raise Ignore(str(moved)) from error
    follow(task.app, attempt.run_id, moved)
    if verdict.state is StepState.RETRYING:
        look_soon(attempt.runtime, attempt.run_id, verdict.delay)
        raise Retry(str(error), exc=error, when=cast(Any, verdict.delay)) from error


def _verdict(definition: Any, cause: Cause, made: int, error: BaseException) -> Verdict:
    types = tuple(kind.__name__ for kind in type(error).__mro__)
    policy = RetryPolicy.model_validate(definition.get("retry", {}))
    return decide(policy, Ended(cause, made, types, chance=random.random()))  # noqa: S311 - jitter
