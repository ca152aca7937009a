"""The Celery tasks of the engine. Each is one call into the module that does the work."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task

from orchestrator.engine import attempt, join, recovery
from orchestrator.engine.attempt_log import flush_left
from orchestrator.engine.canvas import BARRIER, STEP

SUBMIT = "orchestrator.submit"
SWEEP = "orchestrator.sweep"


class StepTask(Task[Any, Any]):
    """Goes on with the steps of a turn, and stores the rest of an attempt's log when its result, and whatever follows
    from it, is on its way."""

    Request = "orchestrator.engine.requests:StepRequest"
    _tracer: Any = None

    @property
    def __trace__(self) -> Any:  # where Celery keeps what it executes a task with
        return self._tracer

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        from orchestrator.engine.onward import in_turns  # only workers execute tasks

        self._tracer = None if tracer is None else in_turns(self.app, tracer)

    def after_return(self, *_: Any) -> None:
        flush_left()


@shared_task(name=STEP, base=StepTask, bind=True, ignore_result=True, store_errors_even_if_ignored=True)
def step(self: Task[Any, Any], run_id: str, step_id: str) -> str:
    """One attempt of a step; the state in which it has left it."""
    return attempt.execute(self, run_id, step_id)


@shared_task(name=BARRIER, bind=True, ignore_result=True)
def barrier(self: Task[Any, Any], outcomes: list[Any], run_id: str, group: str) -> str:
    """Join a group; `outcomes` is what the chord gathered, the ledger knows better."""
    return join.judge(self.app, run_id, group)


@shared_task(name=SUBMIT, bind=True)
def submit(
    self: Task[Any, Any], workflow: str, inputs: dict[str, Any] | None = None, idempotency_key: str | None = None
) -> str:
    """Start a registered workflow by name; returns the run id. For services that only have Celery.

    A message that is delivered twice starts one run: without a key of the caller's, its own id is the key.
    """
    from orchestrator.engine import submission  # what reads and plans workflows, where somebody submits so

    key = idempotency_key or f"task:{self.request.id}"
    return submission.submit_registered(self.app, workflow, inputs or {}, key)


@shared_task(name=SWEEP, bind=True, ignore_result=True)
def sweep(self: Task[Any, Any]) -> int:
    """Look at every run whose time has come."""
    return recovery.sweep(self.app)
