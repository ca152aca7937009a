"""The barrier at work: fill the snapshot, let the policy decide, carry the decision out."""

from __future__ import annotations

import json
from typing import Any

from celery import Celery

from orchestrator import keys
from orchestrator.barrier.policy import Action, Decision, Member, Snapshot, decide
from orchestrator.connection import guarded
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.canvas import publish
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.run.replies import Moved
from orchestrator.workflow.models import BarrierSpec


def judge(app: Celery, run_id: str, group: str, *, overdue: bool = False) -> str:
    """Decide a barrier and publish what follows; returns the action taken. Safe to call any number of times."""
    runtime = runtime_of(app)
    node = keys.barrier_node(group)
    with guarded():
        text = runtime.client.hget(keys.run_key(run_id, "defs"), node)
    if text is None:
        return "unknown"
    definition = json.loads(text)  # type: ignore[arg-type]
    spec = BarrierSpec.model_validate(definition["barrier"])
    snapshot, defaults = _snapshot(runtime, run_id, definition, overdue)
    decision = decide(spec, snapshot)
    _carry_out(app, runtime, run_id, definition, decision, defaults)
    return decision.action


def _snapshot(
    runtime: Runtime, run_id: str, definition: dict[str, Any], overdue: bool
) -> tuple[Snapshot, dict[str, Any]]:
    node = definition["id"]
    members: tuple[str, ...] = tuple(definition["members"])
    with guarded():
        pipe = runtime.client.pipeline(transaction=False)
        pipe.time()
        pipe.hmget(keys.run_key(run_id, f"s:{node}"), "extensions", "looked_at")
        pipe.hmget(keys.run_key(run_id, "defs"), *members)
        for step in members:
            pipe.hmget(keys.run_key(run_id, f"s:{step}"), "state", "progress_at")
        (seconds, micros), (extensions, looked), texts, *rows = pipe.execute()
    defaults: dict[str, Any] = {}
    found = []
    for step, text, (state, progress) in zip(members, texts, rows, strict=True):
        stand_in = _defaults(json.loads(text))
        if stand_in is not None:
            defaults[step] = stand_in
        found.append(Member(step, state.decode(), stand_in is not None, None if progress is None else float(progress)))
    now = seconds + micros / 1e6
    return Snapshot(now, tuple(found), overdue, int(extensions or 0), float(looked or 0)), defaults


def _defaults(definition: dict[str, Any]) -> Any:
    declared = definition.get("defaults")
    if declared is not None:
        return declared
    agent = REGISTRY.get(definition["agent"])
    return None if agent is None else agent.defaults


def _carry_out(
    app: Celery, runtime: Runtime, run_id: str, definition: dict[str, Any], decision: Decision, defaults: dict[str, Any]
) -> None:
    node, members = definition["id"], definition["members"]
    if decision.action is Action.WAIT:
        return
    log.info("run %s barrier %s: %s, %s", run_id, definition["group"], decision.action.value, decision.reason)
    if decision.action is Action.EXTEND:
        runtime.ledger.extend(run_id, node, decision.seconds, members)
        return
    good = decision.action in (Action.RELEASE, Action.PARTIAL)
    moved = runtime.ledger.judge(
        run_id,
        node,
        "success" if good else "failed",
        decision=f"{decision.action.value}: {decision.reason}",
        members=members,
        filled={step: json.dumps(dict(defaults[step])) for step in decision.filled},
        early=True,
    )
    if isinstance(moved, Moved):
        publish(app, run_id, moved)
