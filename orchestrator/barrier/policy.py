"""What a barrier does next, as a value: a pure function of the group's definition and a snapshot of its members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.workflow.models import BarrierSpec, FailureCriteria, TimeoutStrategy, TriggerRule

GOOD = frozenset({"success", "cached"})
SKIPPED = "skipped"
UPSTREAM = "upstream_failed"
ENDED = frozenset({"success", "cached", "failed", "timed_out", "skipped", "upstream_failed", "cancelled"})


HOPELESS = frozenset({"non_retryable", "poisoned"})
"""Reasons of failures that another attempt would meet again."""
OWN_DEADLINE_SECONDS = 1.0
"""A member whose own deadline is that close to the group's is judged by its own first."""


class Member(Struct, frozen=True):
    """A step of the group. `has_defaults`: something can stand for its output; `reason`: why it ended as it did;
    `behind`: the members that it waits for; `deadline`: when its running attempt is ended (None: never)."""

    step: str
    state: str
    has_defaults: bool = False
    progress_at: float | None = None
    reason: str = ""
    behind: tuple[str, ...] = ()
    deadline: float | None = None


class Snapshot(Struct, frozen=True):
    """The group as it stands at `now` (seconds of Redis' clock). `overdue`: its `deadline` has passed; `fell_back`: its
    members have had their second turn, one after another."""

    now: float
    members: tuple[Member, ...]
    overdue: bool
    extensions: int = 0
    looked_at: float = 0.0
    deadline: float | None = None
    fell_back: bool = False


class Action(StrEnum):
    WAIT = "wait"
    EXTEND = "extend_timeout"
    RELEASE = "release"
    PARTIAL = "continue_with_partial"
    FALLBACK = "abort_and_fallback"
    FAIL = "fail"


class Decision(Struct, frozen=True):
    """`filled` are the members whose defaults stand in; `again` those that run once more, one after another in that
    order; `seconds` the extension, or the time that all of `again` have (0: any); `reason` is for people."""

    action: Action
    filled: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    seconds: float = 0.0
    reason: str = ""


ALL_SUCCEEDED = Decision(Action.RELEASE, reason="all members succeeded")
"""What is decided of every group of which that is so, and known ahead."""


def decide(spec: BarrierSpec, snapshot: Snapshot) -> Decision:
    """Judge the group. Waits while members run before the deadline; after it tries `on_timeout` in its order."""
    good = sum(member.state in GOOD for member in snapshot.members)
    ended = sum(member.state in ENDED for member in snapshot.members)
    size = len(snapshot.members)
    if ended == size:
        return _joined(spec, snapshot, good)
    if not snapshot.overdue or _ends_by_itself(snapshot):
        return Decision(Action.WAIT, reason=f"{ended} of {size} members have ended")
    return _rescued(spec, snapshot, good, "before the deadline")


def _ends_by_itself(snapshot: Snapshot) -> bool:
    """Whether a member's own deadline comes first: it has then arrived as timed out, or is tried again."""
    if snapshot.deadline is None:
        return False
    last = snapshot.deadline + OWN_DEADLINE_SECONDS
    return any(member.state == "running" and (member.deadline or last) < last for member in snapshot.members)


def enough(spec: BarrierSpec, members: Sequence[Member]) -> bool:
    """Whether the outcomes of members that have all ended satisfy the group's success criteria."""
    good, skipped, size = _good(members), sum(member.state == SKIPPED for member in members), len(members)
    bad = size - good - skipped
    if spec.min_success is not None:
        return good >= _wanted(spec.min_success, size)
    return _RULES[spec.trigger_rule](size, good, bad, skipped)


def _good(members: Sequence[Member]) -> int:
    return sum(member.state in GOOD for member in members)


def _wanted(minimum: int | str, size: int) -> float:
    return float(minimum.rstrip("%")) / 100 * size if isinstance(minimum, str) else minimum


_RULES: Mapping[TriggerRule, Callable[[int, int, int, int], bool]] = {
    TriggerRule.ALL_SUCCESS: lambda size, good, bad, skipped: good == size,
    TriggerRule.ALL_FAILED: lambda size, good, bad, skipped: bad == size,
    TriggerRule.ALL_DONE: lambda size, good, bad, skipped: True,
    TriggerRule.ALL_DONE_MIN_ONE_SUCCESS: lambda size, good, bad, skipped: good > 0,
    TriggerRule.ONE_SUCCESS: lambda size, good, bad, skipped: good > 0,
    TriggerRule.ONE_FAILED: lambda size, good, bad, skipped: bad > 0,
    TriggerRule.ONE_DONE: lambda size, good, bad, skipped: good + bad > 0,
    TriggerRule.NONE_FAILED: lambda size, good, bad, skipped: bad == 0,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: lambda size, good, bad, skipped: bad == 0 and good > 0,
    TriggerRule.NONE_SKIPPED: lambda size, good, bad, skipped: skipped == 0,
    TriggerRule.ALL_SKIPPED: lambda size, good, bad, skipped: skipped == size,
    TriggerRule.ALWAYS: lambda size, good, bad, skipped: True,
}
"""Airflow's rules over outcomes that are all in; upstream_failed, timed_out and cancelled count as failed."""


def _joined(spec: BarrierSpec, snapshot: Snapshot, good: int) -> Decision:
    """All members have ended. Where the criteria ask for every member, defaults may stand in for those that failed;
    where they are content with fewer, defaults fill what gaps they can."""
    size = len(snapshot.members)
    if good == size:
        return ALL_SUCCEEDED
    if not _failed(spec, snapshot.members) and enough(spec, snapshot.members):
        lacking = [member for member in snapshot.members if member.state not in GOOD and member.state != SKIPPED]
        filled = tuple(member.step for member in lacking if member.has_defaults)
        if not lacking:
            return Decision(Action.RELEASE, reason=f"{good} of {size} members succeeded, the others were skipped")
        return Decision(Action.PARTIAL, filled=filled, reason=f"{good} of {size} members succeeded, which is enough")
    return _rescued(spec, snapshot, good, "")


def _failed(spec: BarrierSpec, members: Sequence[Member]) -> bool:
    """Whether the failure criteria say so already, whatever else might come."""
    bad = any(member.state in ENDED - GOOD - {SKIPPED} for member in members)
    return bad and spec.failure_criteria is FailureCriteria.ANY


def _rescued(spec: BarrierSpec, snapshot: Snapshot, good: int, when: str) -> Decision:
    """What the strategies make of a group that lacks something, in their order; else what the failure criteria say."""
    one_is_too_many = spec.failure_criteria is FailureCriteria.ANY
    allowed = (TimeoutStrategy.EXTEND_TIMEOUT,) if one_is_too_many else tuple(TimeoutStrategy)
    for strategy in () if _failed(spec, snapshot.members) else spec.on_timeout:
        decision = _STRATEGIES[strategy](spec, snapshot, good) if strategy in allowed else None
        if decision is not None:
            return decision
    reason = f"{good} of {len(snapshot.members)} members succeeded {when}".rstrip()
    if good and spec.failure_criteria is FailureCriteria.ALL:
        filled = tuple(member.step for member in snapshot.members if member.state not in GOOD and member.has_defaults)
        return Decision(Action.PARTIAL, filled=filled, reason=f"{reason}, and it fails only with all of them")
    return Decision(Action.FAIL, reason=reason)


def _extend(spec: BarrierSpec, snapshot: Snapshot, good: int) -> Decision | None:
    if not spec.extension or snapshot.extensions >= (spec.max_extensions or 0):
        return None
    moving = [
        member.step
        for member in snapshot.members
        if member.state not in ENDED and (member.progress_at or 0.0) > snapshot.looked_at
    ]
    if not moving:
        return None
    return Decision(Action.EXTEND, seconds=spec.extension, reason=f"{', '.join(moving)} made progress")


def _partial(spec: BarrierSpec, snapshot: Snapshot, good: int) -> Decision | None:
    missing = [member for member in snapshot.members if member.state not in GOOD]
    required = [member.step for member in missing if not member.has_defaults]
    wanted = 1 if spec.min_success is None else _wanted(spec.min_success, len(snapshot.members))
    if good < max(1, wanted) or required:
        return None
    filled = tuple(member.step for member in missing)
    return Decision(Action.PARTIAL, filled=filled, reason=f"defaults stand in for {', '.join(filled)}")


def _abort(spec: BarrierSpec, snapshot: Snapshot, good: int) -> Decision | None:
    """When no member has succeeded, or one that nothing can stand for has not: those without a result run again, once,
    unless that could not be enough."""
    lacking = [member for member in snapshot.members if member.state not in GOOD and member.state != SKIPPED]
    if snapshot.fell_back or (good and all(member.has_defaults for member in lacking)):
        return None
    again = _again(lacking)
    best = tuple(replace(member, state="success") if member.step in again else member for member in snapshot.members)
    if not again or not _could_be_enough(spec, replace(snapshot, members=best)):
        return None
    return Decision(
        Action.FALLBACK,
        again=again,
        seconds=(spec.timeout or 0.0) * len(again),
        reason=f"{good} of {len(snapshot.members)} members succeeded; {', '.join(again)} again, one after another",
    )


def _again(lacking: Sequence[Member]) -> tuple[str, ...]:
    """Those of them for whom another attempt makes sense, each after the members that it waits for."""
    waiting = [member for member in lacking if member.reason not in HOPELESS]
    chosen: dict[str, None] = {}
    while True:
        names = {member.step for member in waiting}
        ready = [member for member in waiting if not names & set(member.behind)]
        if not ready:
            return tuple(chosen)
        waiting = [member for member in waiting if member not in ready]
        for member in ready:
            if member.state != UPSTREAM or not chosen.keys().isdisjoint(member.behind):
                chosen[member.step] = None


def _could_be_enough(spec: BarrierSpec, snapshot: Snapshot) -> bool:
    if enough(spec, snapshot.members):
        return True
    fills = TimeoutStrategy.CONTINUE_WITH_PARTIAL in spec.on_timeout
    return fills and _partial(spec, snapshot, _good(snapshot.members)) is not None


_STRATEGIES: Mapping[TimeoutStrategy, Callable[[BarrierSpec, Snapshot, int], Decision | None]] = {
    TimeoutStrategy.EXTEND_TIMEOUT: _extend,
    TimeoutStrategy.CONTINUE_WITH_PARTIAL: _partial,
    TimeoutStrategy.ABORT_AND_FALLBACK: _abort,
}
