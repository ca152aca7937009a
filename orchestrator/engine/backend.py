"""Celery's Redis result backend, with one difference for our own tasks: a chord is given the outcome of a failed
member where Celery would give up the chord. Plain chords of the user's keep Celery's behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery, states
from celery.app.task import Context
from celery.backends.redis import RedisBackend, SentinelBackend

from orchestrator.engine import losing, turns
from orchestrator.engine.canvas import STEP, is_step_task
from orchestrator.engine.canvas import task_id as task_id_of
from orchestrator.engine.losing import LOST
from orchestrator.engine.mail import CLOSED_SECONDS, counts_beside
from orchestrator.engine.runtime import runtime_of

if TYPE_CHECKING:
    _Base = RedisBackend
else:
    _Base = object


def _ours(request: Any) -> bool:
    return request is not None and getattr(request, "task", None) == STEP


class _Ledger(_Base):
    """Stores results as Celery does. When the parent process reports a lost child, the ledger hears of it first."""

    app: Celery

    def add_pending_result(self, result: Any, weak: bool = False, start_drainer: bool = True) -> Any:
        """Subscribe to a result. Nobody waits for a step's: the ledger knows its outcome."""
        if is_step_task(result.id):
            return result
        return super().add_pending_result(result, weak=weak, start_drainer=start_drainer)  # type: ignore[call-arg]

    def on_chord_part_return(
        self, request: Any, state: str, result: Any, propagate: bool | None = None, **kwargs: Any
    ) -> None:
        """Count a member of a chord. One of ours counts when its step has ended, whatever its outcome; a chord whose
        barrier this process has decided by itself is over."""
        if _ours(request) and turns.has_joined(request.args[0], request.chord["kwargs"]["group"]):
            runtime = runtime_of(self.app)
            with_the_decision = runtime.ledger.posts and counts_beside(self.app, runtime.store_url)
            if not with_the_decision:
                self._close(request.group)
            return
        if _ours(request) and state in states.PROPAGATE_STATES:
            run_id, step = request.args[:2]
            outcome = losing.outcome(runtime_of(self.app), run_id, step)
            if outcome is None:
                return
            state, result = states.SUCCESS, outcome
        super().on_chord_part_return(request, state, result, propagate, **kwargs)

    def _close(self, group: str) -> None:
        """As when its body has been published: who is counted later is not kept any more."""
        counted = [self.get_key_for_group(group, part) for part in (".j", ".t", ".s", ".d")]
        with self.client.pipeline() as pipe:
            pipe.set(self.get_key_for_group(group, ".c"), "done", ex=CLOSED_SECONDS)
            pipe.delete(*counted)
            pipe.execute()

    def mark_as_failure(
        self,
        task_id: str,
        exc: Exception,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """Store a failure. When a child was lost and its step gets another attempt, the task is in retry instead; the
        step that it had come to, if it had gone on. Nothing is stored of an attempt that had been replaced."""
        if _ours(request) and not losing.judged(exc):
            run_id, step = request.args[:2]
            loss = losing.lost(self.app, run_id, step, exc)
            if not loss.step:
                setattr(request, LOST, "")
                return
            if loss[:2] != (run_id, step):  # what it was given has ended well, and counts in its chord already
                task_id = task_id_of(loss.run_id, loss.step)
                setattr(request, LOST, task_id)
                request = Context(id=task_id, task=STEP, args=[loss.run_id, loss.step], kwargs={})
            if loss.goes_on:
                self.mark_as_retry(task_id, exc, traceback=traceback, request=request, store_result=store_result)
                return
        super().mark_as_failure(task_id, exc, traceback, request, store_result, call_errbacks, state)


class LedgerBackend(_Ledger, RedisBackend):  # type: ignore[misc, unused-ignore]
    """Results in one server."""


class SentinelLedgerBackend(_Ledger, SentinelBackend):  # type: ignore[misc, unused-ignore]
    """Results in the server that Sentinel names."""
