"""What follows a transition: steps are published, joined barriers are judged. A barrier is judged by whoever is first:
the process in which its last member ended, the body of the chord, or a sweep. The ledger lets one decision through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery

from orchestrator import keys
from orchestrator.barrier.policy import Action, Decision, Member, Snapshot, decide
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.canvas import publish
from orchestrator.engine.commits import MERGES
from orchestrator.engine.join_context import merge_members
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.errors import Conflict
from orchestrator.run.replies import GroupState, Moved, Refused
from orchestrator.workflow.models import BarrierSpec


def follow(app: Celery, run_id: str, moved: Moved) -> None:
    """Publish what a transition released, and judge the barriers that it joined. Never raises: what fails here is
    stored as due, and a sweep carries it on."""
    publish(app, run_id, moved.released)
    for node in moved.joined:
        try:
            judge(app, run_id, node[1:])
        except Exception:  # noqa: BLE001 - the step has ended well; its barrier is due, whatever went wrong here
            log.exception("run %s: barrier %s could not be judged; a sweep will", run_id, node)


def judge(app: Celery, run_id: str, group: str, *, overdue: bool = False) -> str:
    """Decide a barrier and publish what follows; returns the action taken. Safe to call any number of times.

    A member that ends, or a commit to what is being merged, makes it decide and merge anew.
    """
    runtime = runtime_of(app)
    for _ in range(MERGES):
        state = runtime.ledger.group(run_id, keys.barrier_node(group))
        if state is None:
            return "decided"
        spec = BarrierSpec.model_validate(state.definition["barrier"])
        snapshot, defaults = _snapshot(state, overdue)
        decision = decide(spec, snapshot)
        if _carry_out(app, runtime, run_id, state.definition, decision, defaults):
            return decision.action
    raise Conflict(f"the barrier of '{group}' could not commit: its context went on {MERGES} times; a sweep will judge")


def _snapshot(state: GroupState, overdue: bool) -> tuple[Snapshot, dict[str, Any]]:
    defaults: dict[str, Any] = {}
    members = []
    for member in state.members:
        step = str(member.definition["id"])
        stand_in = _defaults(member.definition)
        if stand_in is not None:
            defaults[step] = stand_in
        members.append(Member(step, member.state, stand_in is not None, member.progress_at))
    return Snapshot(state.now, tuple(members), overdue, state.extensions, state.looked_at), defaults


def _defaults(definition: Mapping[str, Any]) -> Any:
    declared = definition.get("defaults")
    if declared is not None:
        return declared
    agent = REGISTRY.get(definition["agent"])
    return None if agent is None else agent.defaults


def _carry_out(
    app: Celery,
    runtime: Runtime,
    run_id: str,
    definition: Mapping[str, Any],
    decision: Decision,
    defaults: Mapping[str, Any],
) -> bool:
    """Whether the decision has taken effect, here or elsewhere."""
    node, members = definition["id"], definition["members"]
    if decision.action is Action.WAIT:
        return True
    log.info("run %s barrier %s: %s, %s", run_id, definition["group"], decision.action.value, decision.reason)
    if decision.action is Action.EXTEND:
        runtime.ledger.extend(run_id, node, decision.seconds, members)
        return True
    joined = merge_members(runtime, run_id, members, {step: defaults[step] for step in decision.filled})
    good = decision.action in (Action.RELEASE, Action.PARTIAL) and not joined.failed
    moved = runtime.ledger.judge(
        run_id,
        node,
        "success" if good else "failed",
        decision=f"{decision.action.value}: {decision.reason}" + (f"; {joined.failed}" if joined.failed else ""),
        members=members,
        filled=decision.filled,
        branches=joined.branches,
        fields=joined.fields,
        conflicts=joined.left.records,
        undecided=joined.left.undecided,
        early=True,
    )
    if isinstance(moved, Moved):
        follow(app, run_id, moved)
    return moved != Refused("moved")
