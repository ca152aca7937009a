"""What follows a transition: steps are published, joined barriers are judged. A barrier is judged by whoever is first:
the process in which its last member ended, the body of the chord, or a sweep. The ledger lets one decision through, and
makes it by itself where all members have succeeded and nothing has to be merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery

from orchestrator import keys
from orchestrator.barrier.policy import Action, Decision, Member, Snapshot, decide
from orchestrator.connection import guarded
from orchestrator.engine import admission, turns
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.commits import MERGES
from orchestrator.engine.index import look_soon
from orchestrator.engine.join_context import impact_of_filling, merge_members
from orchestrator.engine.publishing import publish_all
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.engine.validating import judge_validation
from orchestrator.errors import Conflict
from orchestrator.metrics.alerts import Alert, raise_alert
from orchestrator.run.replies import GroupState, Moved, Refused
from orchestrator.workflow.models import BarrierSpec

NOTHING_DONE = ("decided", Action.WAIT)
"""What `judge` answers when it has changed nothing."""


def follow(app: Celery, run_id: str, moved: Moved) -> None:
    """Publish what a transition released, settle its leases on pools, and judge the barriers that it joined. Never
    raises: what fails here is stored as due, and a sweep carries it on."""
    if not moved.done:
        follow_all(app, [(run_id, moved)])


def follow_all(app: Celery, transitions: Sequence[tuple[str, Moved]]) -> None:
    """The same for transitions of several runs, whose messages are sent together."""
    publish_all(app, [(run_id, moved.released) for run_id, moved in transitions])
    for run_id, moved in transitions:
        if moved.ended:
            runtime_of(app).segments.drop(run_id)
    for other, following in admission.settle(app, transitions):
        follow(app, other, following)
    for run_id, moved in transitions:
        for node in moved.decided:
            log.info("run %s barrier %s: decided with the end of its last member", run_id, node[1:])
        for node, group in zip(moved.joined, moved.groups, strict=True):
            try:
                judge(app, run_id, node[1:], group)
            except Exception:  # noqa: BLE001 - the step has ended well; its barrier is due, whatever went wrong here
                log.exception("run %s: barrier %s could not be judged; a sweep will", run_id, node)


def judge(app: Celery, run_id: str, group: str, known: GroupState | None = None, *, overdue: bool = False) -> str:
    """Decide a barrier and publish what follows; returns the action taken. Safe to call any number of times. `known`:
    its group as it was a moment ago; it is read when that is no longer so.

    A member that ends, or a commit to what is being merged, makes it decide and merge anew.
    """
    runtime = runtime_of(app)
    for _ in range(MERGES):
        state, known = known or runtime.ledger.group(run_id, keys.barrier_node(group)), None
        if state is None:
            return "decided"
        if "validation" in state.definition:
            action, answer = judge_validation(runtime, run_id, state, overdue=overdue)
            if answer == Refused("moved"):
                continue
            if isinstance(answer, Moved):
                follow(app, run_id, answer)
            return action
        spec = BarrierSpec.model_validate(state.definition["barrier"])
        snapshot, defaults = _snapshot(state, overdue)
        decision = decide(spec, snapshot)
        if _carry_out(app, runtime, run_id, state, decision, defaults):
            return decision.action
    raise Conflict(f"the barrier of '{group}' could not commit: its context went on {MERGES} times; a sweep will judge")


def _snapshot(state: GroupState, overdue: bool) -> tuple[Snapshot, dict[str, Any]]:
    defaults: dict[str, Any] = {}
    members, names = [], {str(member.definition["id"]) for member in state.members}
    for member in state.members:
        step = str(member.definition["id"])
        stand_in = _defaults(member.definition)
        if stand_in is not None:
            defaults[step] = stand_in
        behind = tuple(name for name in member.definition.get("after", ()) if name in names)
        has_defaults = stand_in is not None
        members.append(
            Member(step, member.state, has_defaults, member.progress_at, member.reason, behind, member.deadline)
        )
    late = overdue and (state.deadline is None or state.deadline <= state.now)  # it may have been moved meanwhile
    return Snapshot(
        state.now, tuple(members), late, state.extensions, state.looked_at, state.deadline, state.fell_back
    ), defaults


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
    state: GroupState,
    decision: Decision,
    defaults: Mapping[str, Any],
) -> bool:
    """Whether the decision has taken effect, here or elsewhere; it does so only over members as it saw them."""
    definition = state.definition
    node, members = definition["id"], definition["members"]
    seen = [member.state for member in state.members]
    if decision.action is Action.WAIT:
        return True
    log.info("run %s barrier %s: %s, %s", run_id, definition["group"], decision.action.value, decision.reason)
    if decision.action is Action.EXTEND:
        answer = runtime.ledger.extend(
            run_id, node, decision.seconds, members, reason=decision.reason, before=state.extensions
        )
        return answer != Refused("moved")
    if decision.action is Action.FALLBACK:
        return _fall_back(app, runtime, run_id, definition, decision, seen)
    releases = decision.action in (Action.RELEASE, Action.PARTIAL)
    filled = {step: defaults[step] for step in decision.filled}
    joined = merge_members(runtime, run_id, definition, filled, releases=releases, own=state.own_branches)
    good = releases and not joined.failed
    moved = runtime.ledger.judge(
        run_id,
        node,
        "success" if good else "failed",
        action=decision.action.value,
        decision=decision.reason + (f"; {joined.failed}" if joined.failed else ""),
        members=members,
        seen=seen,
        filled=decision.filled,
        impact=impact_of_filling(runtime),
        branches=joined.branches,
        fields=joined.fields,
        conflicts=joined.left.records,
        undecided=joined.left.undecided,
        marks=joined.marks,
        absorbed=joined.absorbed,
        early=True,
        onward=turns.onward(run_id),
    )
    turns.moved(run_id, moved)
    if isinstance(moved, Moved):
        turns.joined(run_id, definition["group"])
        follow(app, run_id, moved)
    return moved != Refused("moved")


def _fall_back(
    app: Celery,
    runtime: Runtime,
    run_id: str,
    definition: Mapping[str, Any],
    decision: Decision,
    seen: Sequence[str],
) -> bool:
    """Members run again, one after another. From here on the ledger starts each when the one before has ended, and a
    sweep publishes what was not, so that this may die at any point."""
    pause = 2 * runtime.settings.engine.renew_seconds
    seconds = decision.seconds + pause if decision.seconds else 0.0
    moved = runtime.ledger.fall_back(
        run_id, definition["id"], again=decision.again, members=definition["members"], seen=seen, seconds=seconds,
        pause=pause, reason=decision.reason,
    )  # fmt: skip
    if isinstance(moved, Moved):
        follow(app, run_id, moved)
        look_soon(runtime, run_id, pause)
        alert_of_fallback(runtime, run_id, definition["group"])
    return moved != Refused("moved")


def alert_of_fallback(runtime: Runtime, run_id: str, group: str) -> None:
    """Tell whoever runs this deployment, at least once: what was told is no longer due."""
    node, client = keys.barrier_node(group), runtime.client
    with guarded():
        pipe = client.pipeline(transaction=False)
        pipe.hget(keys.run_key(run_id, f"s:{node}"), "alert")
        pipe.hget(keys.run_key(run_id, "meta"), "workflow")
        reason, workflow = (raw.decode() if raw else "" for raw in pipe.execute())
    log.error("run %s (%s): group %s falls back to sequential execution: %s", run_id, workflow, group, reason)
    message = f"group {group} falls back to sequential execution: {reason}"
    raise_alert(
        client, Alert(kind="barrier_fallback", message=message, run_id=run_id, workflow=workflow, subject=group)
    )
    with guarded():
        client.zrem(keys.run_key(run_id, "due"), f"alert:{node}")
