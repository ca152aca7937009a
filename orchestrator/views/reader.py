"""Reads the documents of runs from the store. Blocking; a handful of round trips each."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock as Mutex
from typing import Any, cast

from orchestrator import keys
from orchestrator.client import Client
from orchestrator.connection import guarded
from orchestrator.context.lock_models import Entry, LockStatus
from orchestrator.context.locks import Locks
from orchestrator.context.models import ContextConflict
from orchestrator.engine.canvas import task_id
from orchestrator.messages.cursor import READ_AT_ONCE
from orchestrator.messages.models import parse_events
from orchestrator.metrics.alerts import alerts
from orchestrator.run.models import GroupStatus, RunState, RunStatus, StepState, StepStatus
from orchestrator.views import graph
from orchestrator.views.history import History
from orchestrator.views.listing import share
from orchestrator.views.masking import Mask
from orchestrator.views.models import (
    Action,
    Artifact,
    ConflictView,
    GroupView,
    LockHolder,
    LockView,
    RunView,
    Shown,
    StepView,
)
from orchestrator.workflow.plan import Plan

HISTORIES_KEPT = 64
VERSIONS_SHOWN = 100
ALERTS_LOOKED_AT = 1000
_RAN = frozenset({StepState.SUCCESS, StepState.CACHED, StepState.FAILED, StepState.TIMED_OUT})
_BAD = frozenset({StepState.FAILED, StepState.TIMED_OUT, StepState.UPSTREAM_FAILED, StepState.CANCELLED})
_ACTIONS: Mapping[RunState, tuple[Action, ...]] = {
    RunState.PENDING: ("cancel", "pause"),
    RunState.RUNNING: ("cancel", "pause"),
    RunState.PAUSED: ("cancel", "resume"),
    RunState.AWAITING_INPUT: ("cancel",),
    RunState.CANCELLING: (),
}


class RunViews:
    """The documents of one store's runs. What it has read of a run's events it keeps for the next time, for the
    HISTORIES_KEPT runs that were asked for last. Safe to use from several threads."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._histories: OrderedDict[str, tuple[Mutex, History]] = OrderedDict()
        self._mutex = Mutex()

    def view(self, run_id: str, *, values: bool = True) -> RunView:
        """The whole run; without `values` inputs, outputs and the sides of conflicts are left out. Raises NotFound."""
        store, mask = self._client, Mask(self._client.settings.engine.masked_names)
        history = self._history(run_id)
        status = store.reader.status(run_id)
        with guarded():
            pipe = store.redis.pipeline(transaction=False)
            pipe.time()
            pipe.get(keys.run_key(run_id, "spec"))
            pipe.hgetall(keys.run_key(run_id, "defs"))
            pipe.hgetall(keys.run_key(run_id, "inputs"))
            pipe.hmget(keys.run_key(run_id, "meta"), "done", "total")
            (seconds, micros), spec, raw_definitions, inputs, counts = pipe.execute()
        definitions = {name.decode(): json.loads(text) for name, text in raw_definitions.items()}
        plan = graph.plan_of((spec or b"").decode(), definitions)
        outputs = store.contexts.outputs(run_id) if values else {}
        return RunView(
            **status.model_dump(exclude={"steps", "groups", "critical_path_seconds"}),
            ended=status.ended,
            now=seconds + micros / 1e6,
            cursor=history.cursor,
            progress=share(*counts),
            actions=_actions(status),
            plan_seconds=status.critical_path_seconds,
            critical_path=() if plan is None else plan.critical_path,
            steps=tuple(
                _step(status, step, definitions.get(step.id, {}), plan, history,
                      mask.shown(step.id, outputs[step.id]) if step.id in outputs else None)
                for step in status.steps.values()
            ),
            groups=tuple(_group(group, history) for group in status.groups.values()),
            edges=graph.edges(plan, status),
            inputs=_inputs(inputs, mask) if values else {},
            locks=tuple(_lock(name, lock) for name, lock in Locks(store.redis, run_id).status().items()),
            lock_waits=tuple(history.lock_waits),
            conflicts=tuple(conflict_view(found, mask, values=values) for found in store.contexts.conflicts(run_id)),
            versions=tuple(store.contexts.history(run_id, VERSIONS_SHOWN)),
            alerts=tuple(one for one in alerts(store.redis, limit=ALERTS_LOOKED_AT) if one.run_id == run_id),
            artifacts=_artifacts(store.reader.file_sizes(run_id), mask),
        )  # fmt: skip

    def _history(self, run_id: str) -> History:
        """The history of a run up to its newest event, as it is now: nobody changes it later."""
        with self._mutex:
            mutex, history = self._histories.pop(run_id, (Mutex(), History()))
            self._histories[run_id] = mutex, history
            while len(self._histories) > HISTORIES_KEPT:
                self._histories.popitem(last=False)
        with mutex:
            name, more = keys.run_key(run_id, "events"), True
            while more:
                with guarded():
                    found = cast(Any, self._client.redis.xrange(name, f"({history.cursor}", count=READ_AT_ONCE))
                history.take(parse_events(found))
                more = len(found) == READ_AT_ONCE
            return history.copy()


def _actions(status: RunStatus) -> tuple[Action, ...]:
    found = _ACTIONS.get(status.state, ("retry",))
    failed = status.state is not RunState.CANCELLING and any(one.state in _BAD for one in status.steps.values())
    return (*found, "retry_failed") if failed else found


def _step(
    status: RunStatus,
    step: StepStatus,
    definition: Mapping[str, Any],
    plan: Plan | None,
    history: History,
    output: Shown | None,
) -> StepView:
    attempts = tuple(history.attempts.get(step.id, ()))
    ran = step.state in _RAN or (step.state is StepState.CANCELLED and bool(attempts))
    return StepView(
        **step.model_dump(exclude={"attempts"}),
        place=definition.get("n", 0),
        task_id=task_id(status.run_id, step.id),
        queue=definition.get("queue", ""),
        priority=definition.get("priority"),
        planned=None if plan is None else graph.planned(plan, step.id),
        attempts=attempts,
        may_retry=ran and status.state is not RunState.CANCELLING,
        output=output,
    )


def _group(group: GroupStatus, history: History) -> GroupView:
    return GroupView(
        **group.model_dump(), node=keys.barrier_node(group.id), decisions=tuple(history.decisions.get(group.id, ()))
    )


def _inputs(raw: Mapping[bytes, bytes], mask: Mask) -> dict[str, Shown]:
    return {name.decode(): mask.shown(name.decode(), json.loads(text)) for name, text in sorted(raw.items())}


def _artifacts(sizes: Mapping[str, int], mask: Mask) -> tuple[Artifact, ...]:
    found = (Artifact(step=step, name=name, bytes=size) for (step, _, name), size in
             ((path.partition("/"), size) for path, size in sizes.items()))  # fmt: skip
    return tuple(one for one in found if not mask.hides_file(one.name))


def _lock(section: str, lock: LockStatus) -> LockView:
    return LockView(
        section=section,
        holders=tuple(_holders(lock.holders)),
        queue=tuple(_holders(lock.queue)),
        grants=lock.grants,
        total_wait_seconds=lock.total,
    )


def _holders(entries: Iterable[Entry]) -> Iterable[LockHolder]:
    for entry in entries:
        yield LockHolder(node=entry.holder.step, mode="write" if entry.write else "read", declared=entry.declared)


def conflict_view(found: ContextConflict, mask: Mask, *, values: bool = True) -> ConflictView:
    """A conflict as it is shown; without `values` its sides are left out."""
    told = found.model_dump(include=set(ConflictView.model_fields) - {"base", "ours", "theirs"})
    sides: dict[str, Any] = {}
    if values:
        sides = {side: mask.shown(found.field, getattr(found, side)) for side in found.sides}
    return ConflictView(**told, **sides, choices=_choices(found))


def _choices(found: ContextConflict) -> tuple[str, ...]:
    if found.state != "open":
        return ()
    if found.kind == "write":
        return ("ours", "theirs", "base")
    return ("accept", "ours", "theirs") if found.equal else ("accept",)
