"""Where the time of a run went: the chain that decided its end, through barriers, retries and waits."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli.analyze import _text
from orchestrator.run.models import RunState, StepState
from orchestrator.views.analysis import analyse
from orchestrator.views.models import Attempt, Edge, Planned, RunView, StepView

START = 1000.0


def step(name: str, *attempts: dict[str, Any], planned: float | None = None) -> StepView:
    made = tuple(
        Attempt.model_validate(
            {"attempt": number, "state": "success"}
            | {key: START + value if isinstance(value, float) else value for key, value in one.items()}
        )
        for number, one in enumerate(attempts, 1)
    )
    plan = None
    if planned is not None:
        plan = Planned(start_seconds=0, finish_seconds=planned, duration_seconds=planned, slack_seconds=0)
    return StepView(
        id=name, agent=f"agent_{name}", state=StepState.SUCCESS, place=0, task_id=name, attempts=made, planned=plan
    )


def ran(queued: float, started: float, ended: float | None, **more: Any) -> dict[str, Any]:
    return {"queued_at": queued, "started_at": started, **({} if ended is None else {"ended_at": ended}), **more}


def run(*steps: StepView, edges: tuple[tuple[str, str, Any], ...] = (), finished: float | None = None) -> RunView:
    return RunView(
        run_id="r",
        workflow="w",
        state=RunState.SUCCESS if finished else RunState.RUNNING,
        ended=finished is not None,
        now=START + 60,
        cursor="0-0",
        created_at=START,
        started_at=START,
        finished_at=None if finished is None else START + finished,
        plan_seconds=20,
        steps=steps,
        edges=tuple(Edge(source=source, target=target, kind=kind) for source, target, kind in edges),
    )


def test_the_chain_goes_through_barriers_to_the_member_that_ended_last() -> None:
    found = analyse(
        run(
            step("pm", ran(0.0, 1.0, 5.0), planned=4),
            step("ux", ran(5.0, 5.5, 9.0)),
            step("arch", ran(5.0, 6.0, 15.0), planned=7),
            step("dev", ran(15.5, 16.0, 20.0)),
            step("aside", ran(0.0, 0.0, 19.0)),
            edges=(
                ("pm", "ux", "needs"),
                ("pm", "arch", "needs"),
                ("ux", "@g", "member"),
                ("arch", "@g", "member"),
                ("@g", "dev", "barrier"),
                ("aside", "dev", "wants"),
            ),
            finished=20.0,
        )
    )
    assert [leg.step for leg in found.path] == ["pm", "arch", "dev"]
    pm, arch, dev = found.path
    assert (pm.queued, pm.running, pm.planned) == (1, 4, 4)
    assert (arch.between, arch.queued, arch.running) == (0, 1, 9)
    assert (dev.between, dev.queued, dev.running, dev.planned) == (0.5, 0.5, 4, None)
    assert sum(leg.total for leg in found.path) == found.took == 20
    assert found.work == 4 + 3.5 + 9 + 4 + 19
    assert found.parallelism == pytest.approx(39.5 / 20)
    assert list(found.lost().items()) == [("queued", 2.5), ("between", 0.5), ("held", 0), ("failed", 0)]
    text = _text(found)
    assert "w success: 20.0 s, 20.0 s planned; 39.5 s of work, 2.0 steps at a time" in text
    assert "longest: arch, 10.0 s (50%)" in text
    assert "not running: 2.50 s waiting for a worker, 0.50 s between steps (barriers, releases)" in text


def test_attempts_that_failed_and_waits_for_locks_are_told_apart() -> None:
    found = analyse(
        run(
            step("a", ran(2.0, 3.0, 7.0, held_at=0.0, state="failed"), ran(8.0, 8.0, 10.0)),
            finished=10.0,
        )
    )
    (leg,) = found.path
    assert (leg.attempts, leg.held, leg.queued, leg.failed, leg.running) == (2, 2, 1, 5, 2)
    assert leg.total == found.took, "the pause before another attempt is in it"


def test_a_run_that_goes_on_is_told_up_to_now_and_an_empty_one_too() -> None:
    found = analyse(run(step("a", ran(0.0, 10.0, None, state="running"))))
    assert (found.took, found.path[0].running) == (60, 50)
    assert "no step has had its turn yet" in _text(analyse(run()))
