"""What a barrier decides, as a table."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.barrier.policy import Action, Member, Snapshot, decide
from orchestrator.workflow.models import BarrierSpec, FailureCriteria, TimeoutStrategy, TriggerRule

WITHOUT_FALLBACK = (TimeoutStrategy.EXTEND_TIMEOUT, TimeoutStrategy.CONTINUE_WITH_PARTIAL)
PLAIN = BarrierSpec(on_timeout=WITHOUT_FALLBACK)
EXTENDABLE = BarrierSpec(timeout=600, extension=300, max_extensions=1, on_timeout=WITHOUT_FALLBACK)
SECOND_TURN = BarrierSpec(timeout=600)
"""All strategies in their order, with nothing that could be extended."""


def snapshot(*members: Member, overdue: bool = False, **facts: Any) -> Snapshot:
    return Snapshot(1000.0, members, overdue, **facts)


def member(step: str, state: str, *, defaults: bool = False, **facts: Any) -> Member:
    return Member(step, state, defaults, **facts)


def test_it_waits_for_members_that_run_before_the_deadline() -> None:
    assert decide(EXTENDABLE, snapshot(member("a", "success"), member("b", "running"))).action is Action.WAIT


def test_it_releases_when_all_have_succeeded() -> None:
    assert decide(BarrierSpec(), snapshot(member("a", "success"), member("b", "cached"))).action is Action.RELEASE


def test_defaults_stand_in_for_a_member_that_failed() -> None:
    found = decide(BarrierSpec(), snapshot(member("a", "success"), member("b", "failed", defaults=True)))
    assert (found.action, found.filled) == (Action.PARTIAL, ("b",))


def test_a_member_without_defaults_is_required() -> None:
    assert decide(PLAIN, snapshot(member("a", "success"), member("b", "failed"))).action is Action.FAIL


def test_defaults_alone_are_no_result() -> None:
    found = decide(PLAIN, snapshot(member("a", "failed", defaults=True), member("b", "failed", defaults=True)))
    assert found.action is Action.FAIL


@pytest.mark.parametrize(
    ("rule", "states", "action"),
    [
        (TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, ("success", "failed"), Action.PARTIAL),
        (TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, ("failed", "failed"), Action.FAIL),
        (TriggerRule.ONE_SUCCESS, ("success", "upstream_failed"), Action.PARTIAL),
        (TriggerRule.NONE_FAILED, ("success", "skipped"), Action.RELEASE),
        (TriggerRule.NONE_FAILED, ("success", "failed"), Action.FAIL),
        (TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, ("skipped", "skipped"), Action.FAIL),
        (TriggerRule.ALL_DONE, ("failed", "failed"), Action.PARTIAL),
        (TriggerRule.ALL_SUCCESS, ("success", "skipped"), Action.FAIL),
    ],
)
def test_success_criteria_are_airflows_rules(rule: TriggerRule, states: tuple[str, str], action: Action) -> None:
    members = [member(name, state) for name, state in zip("ab", states, strict=True)]
    assert decide(PLAIN.model_copy(update={"trigger_rule": rule}), snapshot(*members)).action is action


@pytest.mark.parametrize(("wanted", "action"), [(2, Action.PARTIAL), ("60%", Action.PARTIAL), (3, Action.FAIL)])
def test_a_count_or_a_share_may_be_enough(wanted: int | str, action: Action) -> None:
    members = (member("a", "success"), member("b", "success"), member("c", "failed"))
    assert decide(PLAIN.model_copy(update={"min_success": wanted}), snapshot(*members)).action is action


@pytest.mark.parametrize(
    ("criteria", "states", "action"),
    [
        (None, ("success", "failed"), Action.FAIL),
        (FailureCriteria.ALL, ("success", "failed"), Action.PARTIAL),
        (FailureCriteria.ALL, ("success", "timed_out"), Action.PARTIAL),
        (FailureCriteria.ALL, ("failed", "timed_out"), Action.FAIL),
        (FailureCriteria.ANY, ("success", "success"), Action.RELEASE),
        (FailureCriteria.ANY, ("success", "timed_out"), Action.FAIL),
    ],
)
def test_failure_criteria_say_when_a_group_has_failed(
    criteria: FailureCriteria | None, states: tuple[str, str], action: Action
) -> None:
    members = [member(name, state) for name, state in zip("ab", states, strict=True)]
    assert decide(PLAIN.model_copy(update={"failure_criteria": criteria}), snapshot(*members)).action is action


def test_a_group_that_fails_with_any_member_is_not_saved_by_anything() -> None:
    """Neither by fewer that are enough, nor by defaults, nor by a second turn, but by more time for who uses it."""
    fails = FailureCriteria.ANY
    spec = BarrierSpec(timeout=600, extension=300, max_extensions=1, min_success=1, failure_criteria=fails)
    bad = member("b", "failed", defaults=True)
    assert decide(spec, snapshot(member("a", "success"), bad)).action is Action.FAIL
    moving = member("b", "running", defaults=True, progress_at=900.0)
    assert decide(spec, snapshot(member("a", "success"), moving, overdue=True)).action is Action.EXTEND
    assert decide(spec, snapshot(bad, replace(moving, step="c"), overdue=True)).action is Action.FAIL
    still = replace(moving, progress_at=None)
    assert decide(spec, snapshot(member("a", "success"), still, overdue=True)).action is Action.FAIL


def test_a_group_that_fails_only_with_all_takes_what_is_there_when_all_else_was_tried() -> None:
    spec = SECOND_TURN.model_copy(update={"failure_criteria": FailureCriteria.ALL})
    late = (member("a", "success"), member("b", "running"), member("c", "failed", defaults=True))
    assert decide(spec, snapshot(*late, overdue=True)).action is Action.FALLBACK
    found = decide(spec, snapshot(*late, overdue=True, fell_back=True))
    assert (found.action, found.filled) == (Action.PARTIAL, ("c",))
    nothing = (member("a", "failed"), member("b", "running"))
    assert decide(spec, snapshot(*nothing, overdue=True, fell_back=True)).action is Action.FAIL


def test_an_extension_is_earned_by_progress_since_the_last_look() -> None:
    moving = member("b", "running", progress_at=900.0)
    assert decide(EXTENDABLE, snapshot(member("a", "success"), moving, overdue=True)).action is Action.EXTEND
    seen = decide(EXTENDABLE, snapshot(member("a", "success"), moving, overdue=True, looked_at=950.0))
    assert seen.action is Action.FAIL
    used_up = decide(EXTENDABLE, snapshot(member("a", "success"), moving, overdue=True, extensions=1))
    assert used_up.action is Action.FAIL


def test_the_order_of_strategies_is_configuration() -> None:
    order = (TimeoutStrategy.CONTINUE_WITH_PARTIAL, TimeoutStrategy.EXTEND_TIMEOUT)
    spec = EXTENDABLE.model_copy(update={"on_timeout": order})
    late = member("b", "running", defaults=True, progress_at=900.0)
    assert decide(spec, snapshot(member("a", "success"), late, overdue=True)).action is Action.PARTIAL
    assert decide(EXTENDABLE, snapshot(member("a", "success"), late, overdue=True)).action is Action.EXTEND


def test_members_without_a_result_run_again_one_after_another() -> None:
    members = (member("a", "success"), member("b", "failed"), member("c", "timed_out"), member("d", "skipped"))
    spec = SECOND_TURN.model_copy(update={"trigger_rule": TriggerRule.NONE_FAILED})
    found = decide(spec, snapshot(*members))
    assert (found.action, found.again, found.seconds) == (Action.FALLBACK, ("b", "c"), 1200)


def test_at_the_deadline_the_unfinished_ones_run_again() -> None:
    members = (member("a", "success"), member("b", "running"), member("c", "queued"))
    found = decide(SECOND_TURN, snapshot(*members, overdue=True))
    assert (found.action, found.again) == (Action.FALLBACK, ("b", "c"))


def test_there_is_no_third_turn() -> None:
    ended = (member("a", "success"), member("b", "failed"))
    assert decide(SECOND_TURN, snapshot(*ended, fell_back=True)).action is Action.FAIL
    unfinished = (member("a", "success"), member("b", "running"))
    assert decide(SECOND_TURN, snapshot(*unfinished, overdue=True, fell_back=True)).action is Action.FAIL


def test_falling_back_needs_an_error_that_defaults_cannot_cover() -> None:
    spec = SECOND_TURN.model_copy(update={"on_timeout": tuple(reversed(SECOND_TURN.on_timeout))})
    covered = snapshot(member("a", "success"), member("b", "failed", defaults=True))
    assert decide(spec, covered).action is Action.PARTIAL
    nobody = snapshot(member("a", "failed", defaults=True), member("b", "failed", defaults=True))
    assert decide(spec, nobody).action is Action.FALLBACK


@pytest.mark.parametrize("reason", ["non_retryable", "poisoned"])
def test_what_another_attempt_would_meet_again_is_not_tried_again(reason: str) -> None:
    lost = member("b", "failed", reason=reason)
    assert decide(SECOND_TURN, snapshot(member("a", "failed"), lost)).action is Action.FAIL
    enough = SECOND_TURN.model_copy(update={"min_success": 1})
    found = decide(enough, snapshot(member("a", "failed"), lost))
    assert (found.action, found.again) == (Action.FALLBACK, ("a",))


def test_members_run_again_after_those_that_they_wait_for() -> None:
    members = (
        member("late", "upstream_failed", behind=("early",)),
        member("early", "failed"),
        member("elsewhere", "upstream_failed"),
        member("good", "success"),
    )
    spec = SECOND_TURN.model_copy(update={"min_success": 3})
    assert decide(spec, snapshot(*members)).again == ("early", "late")


def test_a_members_own_timeout_is_judged_before_the_groups() -> None:
    own = member("b", "running", deadline=600.5)
    late = snapshot(member("a", "success"), own, overdue=True, deadline=600.0)
    assert decide(EXTENDABLE, late).action is Action.WAIT
    longer = snapshot(member("a", "success"), replace(own, deadline=700.0), overdue=True, deadline=600.0)
    assert decide(EXTENDABLE, longer).action is Action.FAIL
