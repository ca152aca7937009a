"""What becomes of a conflict, as a value: who wins, whether the run fails, or waits for a person to decide."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from msgspec import Struct
from pydantic import BeforeValidator

from orchestrator.engine_blocks import ContextConflicts
from orchestrator.fields import Frozen, Seconds


class ConflictPolicy(StrEnum):
    """FIRST_WRITER and LAST_WRITER go by the order of commits, PRIORITY by that of the steps, then by commits."""

    FIRST_WRITER = "first_writer"
    LAST_WRITER = "last_writer"
    PRIORITY = "priority"
    FAIL = "fail"
    MANUAL = "manual"


class Action(StrEnum):
    """What happens to a conflict. `decide` never says GIVEN: it marks what a person decided."""

    OURS = "ours"
    THEIRS = "theirs"
    FAIL = "fail"
    WAIT = "wait"
    GIVEN = "given"


def _without_wait(value: object) -> object:
    if value == ConflictPolicy.MANUAL:
        raise ValueError("'manual' cannot follow a wait for a manual decision; write another policy")
    return value


class ConflictSpec(Frozen):
    """How conflicts of one run are handled.

    With `merge`, edits are first merged by path, and `policy` decides what is left; without it, `policy` decides for
    whole values. A manual decision is awaited for `decision_timeout` seconds (None: for ever), then `otherwise` holds.
    """

    policy: ConflictPolicy = ConflictPolicy.FIRST_WRITER
    merge: bool = True
    decision_timeout: Seconds | None = None
    otherwise: Annotated[ConflictPolicy, BeforeValidator(_without_wait)] = ConflictPolicy.FIRST_WRITER


_spec = ConflictSpec.model_construct  # a schema to look at constants with would be built at every start
RESOLUTIONS: Mapping[str, ConflictSpec] = {
    "first_writer_wins_with_merge_opportunity": _spec(),
    "first_writer_wins": _spec(merge=False),
    "last_writer_wins_with_merge_opportunity": _spec(policy=ConflictPolicy.LAST_WRITER),
    "last_writer_wins": _spec(policy=ConflictPolicy.LAST_WRITER, merge=False),
    "highest_priority_wins_with_merge_opportunity": _spec(policy=ConflictPolicy.PRIORITY),
    "highest_priority_wins": _spec(policy=ConflictPolicy.PRIORITY, merge=False),
    "three_way_merge_with_validation": _spec(policy=ConflictPolicy.FAIL),
    "manual_conflict_resolution": _spec(policy=ConflictPolicy.MANUAL),
    **{policy.value: _spec(policy=policy) for policy in ConflictPolicy},
}
"""The words of the engine file, and the short ones. A merge without another word fails where it cannot merge."""


def conflict_spec(settings: ContextConflicts) -> ConflictSpec:
    """How the engine file wants two writers of one place handled."""
    return RESOLUTIONS[settings.conflict_types.write_write_conflict.resolution]


class Writer(Struct, frozen=True):
    """A step whose edit takes part. `committed` grows with every commit of the run; `priority` is 0-10."""

    step: str
    committed: int
    priority: int = 0


class Contest(Struct, frozen=True):
    """One conflict. `ours` are the steps that made our side, at least one; a text may have several.

    `now` is in seconds of Redis' clock, and so is `asked_at`, from when on a manual decision was awaited.
    """

    ours: tuple[Writer, ...]
    theirs: Writer
    now: float = 0.0
    asked_at: float | None = None


class Decision(Struct, frozen=True):
    """`winner` is the step whose edit stands, if one does; `until` when a wait ends, in seconds of Redis' clock."""

    action: Action
    winner: str = ""
    until: float | None = None
    reason: str = ""


def decide(spec: ConflictSpec, contest: Contest) -> Decision:
    """Judge one conflict. Steps that are equal to the policy are told apart by their commits, then by their names."""
    if spec.policy is not ConflictPolicy.MANUAL:
        return _judge(spec.policy, contest)
    asked_at = contest.now if contest.asked_at is None else contest.asked_at
    until = None if spec.decision_timeout is None else asked_at + spec.decision_timeout
    if until is None or contest.now < until:
        return Decision(Action.WAIT, until=until, reason="somebody has to decide")
    late = _judge(spec.otherwise, contest)
    return Decision(late.action, late.winner, reason=f"nobody decided in {spec.decision_timeout:g} s; {late.reason}")


def _judge(policy: ConflictPolicy, contest: Contest) -> Decision:
    names = ", ".join(sorted({writer.step for writer in (*contest.ours, contest.theirs)}))
    if policy is ConflictPolicy.FAIL:
        return Decision(Action.FAIL, reason=f"{names} wrote different values")
    best = min((*contest.ours, contest.theirs), key=lambda writer: _rank(policy, writer))
    action = Action.THEIRS if best is contest.theirs else Action.OURS
    return Decision(action, best.step, reason=f"{best.step} {_REASONS[policy]} of {names}")


def _rank(policy: ConflictPolicy, writer: Writer) -> tuple[int, int, str]:
    """The smallest one wins."""
    if policy is ConflictPolicy.LAST_WRITER:
        return 0, -writer.committed, writer.step
    return -writer.priority if policy is ConflictPolicy.PRIORITY else 0, writer.committed, writer.step


_REASONS = {
    ConflictPolicy.FIRST_WRITER: "committed first",
    ConflictPolicy.LAST_WRITER: "committed last",
    ConflictPolicy.PRIORITY: "has the highest priority",
}
