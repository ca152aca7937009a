"""What a barrier decides, as a table."""

from __future__ import annotations

import pytest

from orchestrator.barrier.policy import Action, Member, Snapshot, decide
from orchestrator.workflow.models import BarrierSpec, TimeoutStrategy, TriggerRule

EXTENDABLE = BarrierSpec(timeout=600, extension=300, max_extensions=1)


def snapshot(*members: Member, overdue: bool = False, extensions: int = 0, looked_at: float = 0.0) -> Snapshot:
    return Snapshot(1000.0, members, overdue, extensions, looked_at)


def member(step: str, state: str, *, defaults: bool = False, progress_at: float | None = None) -> Member:
    return Member(step, state, defaults, progress_at)


def test_it_waits_for_members_that_run_before_the_deadline() -> None:
    assert decide(EXTENDABLE, snapshot(member("a", "success"), member("b", "running"))).action is Action.WAIT


def test_it_releases_when_all_have_succeeded() -> None:
    assert decide(BarrierSpec(), snapshot(member("a", "success"), member("b", "cached"))).action is Action.RELEASE


def test_defaults_stand_in_for_a_member_that_failed() -> None:
    found = decide(BarrierSpec(), snapshot(member("a", "success"), member("b", "failed", defaults=True)))
    assert (found.action, found.filled) == (Action.PARTIAL, ("b",))


def test_a_member_without_defaults_is_required() -> None:
    assert decide(BarrierSpec(), snapshot(member("a", "success"), member("b", "failed"))).action is Action.FAIL


def test_defaults_alone_are_no_result() -> None:
    found = decide(BarrierSpec(), snapshot(member("a", "failed", defaults=True), member("b", "failed", defaults=True)))
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
    assert decide(BarrierSpec(trigger_rule=rule), snapshot(*members)).action is action


@pytest.mark.parametrize(("wanted", "action"), [(2, Action.PARTIAL), ("60%", Action.PARTIAL), (3, Action.FAIL)])
def test_a_count_or_a_share_may_be_enough(wanted: int | str, action: Action) -> None:
    members = (member("a", "success"), member("b", "success"), member("c", "failed"))
    assert decide(BarrierSpec(min_success=wanted), snapshot(*members)).action is action


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
