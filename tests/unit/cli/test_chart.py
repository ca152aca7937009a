"""A run drawn in text."""

from __future__ import annotations

import itertools
from typing import Any

from rich.console import Console

from orchestrator.cli.chart import chart, depths, notes
from orchestrator.run.models import RunState, StepState
from orchestrator.views.models import Attempt, Edge, GroupView, LockHolder, LockView, Planned, RunView, StepView


def step(name: str, place: int, state: str = "pending", *attempts: Attempt, **more: Any) -> StepView:
    return StepView(
        id=name, agent="a", state=StepState(state), place=place, task_id=f"r.{name}", attempts=attempts, **more
    )


def view(*steps: StepView, edges: tuple[tuple[str, str, str], ...] = (), **more: Any) -> RunView:
    drawn = tuple(Edge.model_validate({"source": a, "target": b, "kind": kind}) for a, b, kind in edges)
    values: dict[str, Any] = {"state": RunState.RUNNING, "ended": False, "now": 110.0, "plan_seconds": 0.0}
    return RunView(run_id="r", workflow="w", cursor="1-0", created_at=100.0, steps=steps, edges=drawn, **values | more)


def lines(run: RunView, *, width: int = 100, rows: int = 20, now: float = 110.0) -> list[str]:
    console = Console(width=width, record=True, file=open("/dev/null", "w"), color_system=None)  # noqa: SIM115
    console.print(chart(run, now=now, width=width, rows=rows))
    return [line.rstrip() for line in console.export_text().splitlines()]


RAN = Attempt(attempt=1, state="success", queued_at=100, started_at=102, ended_at=105)
AGAIN = (
    Attempt(attempt=1, state="failed", queued_at=105, started_at=105, ended_at=106, error="no"),
    Attempt(attempt=2, state="running", queued_at=107, started_at=108),
)


def test_waiting_running_and_each_attempt_have_their_place() -> None:
    run = view(
        step("a", 0, "success", RAN, finished_at=105.0), step("b", 1, "running", *AGAIN, progress=0.5),
        edges=(("a", "b", "needs"),),
    )  # fmt: skip
    head, first, second, foot, *_ = lines(run)
    assert head == "r  w  running  10.0 s"
    bar = first[48:]
    assert first.startswith("┬ ○ a")
    assert len(bar) == 26, "50 columns are 10 seconds: it ended after 5 of them"
    assert bar == "┄" * 10 + "━" * 16
    assert second.startswith("  └ ○ b")
    assert "running 50%" in second
    assert second[48:] == " " * 25 + "━" * 6 + " " * 4 + "┄" * 5 + "2" + "━" * 9
    assert foot.startswith("1 of 2 steps ended; 50 columns are 10.0 s")


def test_the_plan_is_drawn_behind_what_has_happened() -> None:
    planned = Planned(start_seconds=10, finish_seconds=20, duration_seconds=10, slack_seconds=0, on_critical_path=True)
    _, first, *_ = lines(view(step("a", 0, "pending", planned=planned), plan_seconds=20.0))
    assert first.startswith("┬ ● a")
    assert first[48:] == " " * 25 + "·" * 25


def test_depth_is_the_longest_way_and_a_long_chain_is_no_problem() -> None:
    names = [f"s{number}" for number in range(3000)]
    chain = tuple((a, b, "needs") for a, b in itertools.pairwise(names))
    run = view(*(step(name, place) for place, name in enumerate(names)), edges=chain)
    assert depths(run)["s2999"] == 2999
    grouped = view(
        step("a", 0), step("b", 1), step("c", 2),
        edges=(("a", "@g", "member"), ("b", "@g", "member"), ("@g", "c", "barrier"), ("c", "a", "wants")),
    )  # fmt: skip
    assert depths(grouped) == {"a": 0, "b": 0, "c": 1} | {"@g": 1}


def test_of_many_steps_those_that_matter_are_shown() -> None:
    steps = [step(f"s{number}", number, "success", RAN, finished_at=105.0) for number in range(100)]
    steps[40] = step("s40", 40, "failed", RAN, finished_at=105.0)
    steps[99] = step("s99", 99, "running", *AGAIN)
    shown = lines(view(*steps), rows=3)
    assert [line.split()[2] for line in shown[1:4]] == ["s40", "s98", "s99"]
    assert shown[4] == "97 other steps"


def test_a_narrow_terminal_cuts_names_and_keeps_the_timeline() -> None:
    for line in lines(view(step("a_step_with_a_long_name", 0, "success", RAN, finished_at=105.0)), width=40):
        assert len(line) <= 40
    _, first, *_ = lines(view(step("a_step_with_a_long_name", 0, "success", RAN, finished_at=105.0)), width=40)
    assert "…" in first[:14]
    assert "━" in first


def test_what_holds_the_run_up_is_said() -> None:
    group = GroupView(
        id="g", node="@g", state="pending", members=("a",), started_at=100.0, deadline=130.0, extensions=1
    )
    lock = LockView(
        section="board", holders=(LockHolder(node="a", mode="write"),), queue=(LockHolder(node="b", mode="write"),)
    )
    assert notes(view(groups=(group,), locks=(lock,)), 110.0) == [
        "barrier of g: 20.0 s left, extended 1×", "lock of board: b wait for a",
    ]  # fmt: skip
