"""The page of `show`: where a run stopped, why, whether one step can be retried, and what to type, on one screen."""

from __future__ import annotations

import pytest

from orchestrator.cli.standing import screen
from orchestrator.run.models import RunState, RunStatus, StepStatus


def step(name: str, state: str, **more: object) -> StepStatus:
    return StepStatus.model_validate({"id": name, "agent": "x", "state": state, **more})


def status(state: RunState, *steps: StepStatus, reason: str | None = None) -> RunStatus:
    return RunStatus(
        run_id="r1", workflow="w", state=state, created_at=100.0, finished_at=110.0, reason=reason,
        steps={one.id: one for one in steps},
    )  # fmt: skip


def test_a_failed_step_is_told_with_its_reason_and_the_commands() -> None:
    failed = step("b", "failed", attempts=3, error="ValueError: no", finished_at=105.0)
    found = status(RunState.FAILED, step("a", "success"), failed, step("c", "upstream_failed"))
    assert screen(found, {"b": ["c"]}).splitlines()[-5:] == [
        "stopped at b (failed after 3 attempts): ValueError: no",
        "  its log:          orchestrator logs r1 b",
        "  retry only this:  orchestrator retry r1 b   # and then c",
        "not run because of that: c",
        "retry all of that, good steps stay:  orchestrator retry r1 --failed",
    ]


def test_a_poisoned_step_leads_to_the_dead_letter_list() -> None:
    found = status(RunState.FAILED, step("b", "failed", attempts=3, error="WorkerLost: gone", reason="poisoned"))
    text = screen(found, {"b": []})
    assert "stopped at b (failed after 3 attempts, poisoned): WorkerLost: gone" in text
    assert "orchestrator dlq show r1 b" in text
    assert "orchestrator retry r1 b   # and nothing else" in text


@pytest.mark.parametrize(
    ("state", "says", "never"),
    [
        (RunState.RUNNING, "follow it:  orchestrator watch r1", "resume"),
        (RunState.PAUSED, "let it go on:  orchestrator resume r1", "watch"),
        (RunState.AWAITING_INPUT, "orchestrator conflicts ls r1", "resume"),
        (RunState.CANCELLING, "follow it:  orchestrator watch r1", "cancel r1"),
    ],
)
def test_a_run_that_goes_on_is_told_with_what_it_waits_for(state: RunState, says: str, never: str) -> None:
    text = screen(status(state, step("a", "running"), step("b", "queued")), {})
    assert says in text
    assert never not in text
    assert "running: a; waiting for " in text


def test_a_queued_step_without_any_worker_says_what_to_start() -> None:
    waiting = status(RunState.PENDING, step("a", "queued"))
    assert "no worker is running:  orchestrator worker" in screen(waiting, {}, workers=False)
    assert "no worker" not in screen(waiting, {}, workers=True)


def test_what_a_cancel_cut_off_can_be_taken_up_again() -> None:
    text = screen(status(RunState.CANCELLED, step("a", "success"), step("b", "cancelled"), reason="enough"), {})
    assert "cancelled (enough)" in text
    assert "cut off: b" in text
    assert text.endswith("orchestrator retry r1 --failed")


def test_a_run_of_a_thousand_steps_fits_a_screen() -> None:
    many = [step(f"s{number}", "success") for number in range(700)]
    many += [step(f"w{number}", "upstream_failed") for number in range(290)]
    many += [step(f"f{number}", "failed", error="x", finished_at=float(number)) for number in range(10)]
    found = status(RunState.FAILED, *many)
    behind = {f"f{number}": [f"w{other}" for other in range(290)] for number in range(3)}
    lines = screen(found, behind).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 200
    assert "990 other steps: 700 success, 290 upstream_failed (--all shows them)" in lines
    assert len(screen(found, behind, every=True).splitlines()) > 1000
