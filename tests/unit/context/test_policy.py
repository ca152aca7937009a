"""Who wins a conflict: every policy against the same contests, and waits that end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.context.policy import (
    RESOLUTIONS,
    Action,
    ConflictPolicy,
    ConflictSpec,
    Contest,
    Decision,
    Writer,
    conflict_spec,
    decide,
)
from orchestrator.engine_blocks import ContextConflicts

EARLY, LATE, URGENT = Writer("ux", 3, priority=5), Writer("arch", 9, priority=5), Writer("qa", 7, priority=8)


@pytest.mark.parametrize(
    ("policy", "ours", "theirs", "winner"),
    [
        ("first_writer", [EARLY], LATE, "ux"),
        ("first_writer", [LATE], EARLY, "ux"),
        ("first_writer", [LATE, URGENT], EARLY, "ux"),
        ("first_writer", [LATE, EARLY], URGENT, "ux"),
        ("last_writer", [EARLY], LATE, "arch"),
        ("last_writer", [LATE], EARLY, "arch"),
        ("last_writer", [EARLY, LATE], URGENT, "arch"),
        ("priority", [EARLY], URGENT, "qa"),
        ("priority", [URGENT], EARLY, "qa"),
        ("priority", [EARLY], LATE, "ux"),
        ("priority", [LATE], EARLY, "ux"),
        ("first_writer", [Writer("b", 1)], Writer("a", 1), "a"),
        ("last_writer", [Writer("b", 1)], Writer("a", 1), "a"),
        ("priority", [Writer("b", 1)], Writer("a", 1), "a"),
    ],
)
def test_who_wins(policy: str, ours: list[Writer], theirs: Writer, winner: str) -> None:
    decision = decide(ConflictSpec(policy=ConflictPolicy(policy)), Contest(tuple(ours), theirs))
    assert decision.winner == winner
    assert decision.action is (Action.THEIRS if theirs.step == winner else Action.OURS)
    assert winner in decision.reason


writers = st.builds(Writer, st.sampled_from("abcd"), st.integers(0, 3), st.integers(0, 10))


@given(st.lists(writers, min_size=2, max_size=4, unique_by=lambda writer: writer.step), st.sampled_from(ConflictPolicy))
def test_the_winner_does_not_depend_on_the_side(found: list[Writer], policy: ConflictPolicy) -> None:
    spec = ConflictSpec(policy=policy)
    decisions = {decide(spec, Contest(tuple(order[:-1]), order[-1])).winner for order in itertools.permutations(found)}
    assert len(decisions) == 1


def test_fail_names_all_writers() -> None:
    decision = decide(ConflictSpec(policy=ConflictPolicy.FAIL), Contest((URGENT, EARLY), LATE))
    assert decision == Decision(Action.FAIL, reason="arch, qa, ux wrote different values")


@pytest.mark.parametrize(
    ("timeout", "asked_at", "now", "action", "until"),
    [
        (None, None, 5.0, Action.WAIT, None),
        (None, 0.0, 1e9, Action.WAIT, None),
        (60, None, 100.0, Action.WAIT, 160.0),
        (60, 50.0, 109.9, Action.WAIT, 110.0),
        (60, 50.0, 110.0, Action.OURS, None),
        (60, 0.0, 60.0, Action.OURS, None),
    ],
)
def test_a_manual_decision_is_awaited(
    timeout: float | None, asked_at: float | None, now: float, action: Action, until: float | None
) -> None:
    spec = ConflictSpec(policy=ConflictPolicy.MANUAL, decision_timeout=timeout)
    decision = decide(spec, Contest((EARLY,), LATE, now=now, asked_at=asked_at))
    assert (decision.action, decision.until) == (action, until)
    if action is Action.OURS:
        assert decision.reason == "nobody decided in 60 s; ux committed first of arch, ux"


@pytest.mark.parametrize(("otherwise", "action"), [("fail", Action.FAIL), ("last_writer", Action.THEIRS)])
def test_what_follows_an_unanswered_question(otherwise: str, action: Action) -> None:
    spec = ConflictSpec.model_validate({"policy": "manual", "decision_timeout": "1m", "otherwise": otherwise})
    assert decide(spec, Contest((EARLY,), LATE, now=70.0, asked_at=10.0)).action is action
    assert decide(spec, Contest((EARLY,), LATE, now=69.0, asked_at=10.0)).action is Action.WAIT


def test_a_wait_does_not_end_in_a_wait() -> None:
    with pytest.raises(ValidationError, match="'manual' cannot follow a wait"):
        ConflictSpec(policy=ConflictPolicy.MANUAL, decision_timeout=1.0, otherwise=ConflictPolicy.MANUAL)


def test_the_words_of_the_engine_file() -> None:
    assert conflict_spec(ContextConflicts()) == ConflictSpec(policy=ConflictPolicy.FIRST_WRITER, merge=True)
    assert RESOLUTIONS["manual_conflict_resolution"].policy is ConflictPolicy.MANUAL
    assert RESOLUTIONS["three_way_merge_with_validation"] == ConflictSpec(policy=ConflictPolicy.FAIL, merge=True)
    for policy in ConflictPolicy:
        assert RESOLUTIONS[policy.value] == ConflictSpec(policy=policy)
    for word, spec in RESOLUTIONS.items():
        assert spec.merge is not word.endswith("_wins")
