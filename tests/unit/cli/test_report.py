"""What is told about a run: the contract, what ran side by side, and files that stay in their folder."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from orchestrator.cli import report
from orchestrator.cli.files import prepare_folder, write_results
from orchestrator.cli.output import table
from orchestrator.errors import InvalidValue
from orchestrator.run.models import GroupStatus, RunState, RunStatus, StepState, StepStatus


def step(name: str, start: float | None, end: float | None, state: str = "success", **more: object) -> StepStatus:
    fields = {"id": name, "agent": "x", "state": state, "started_at": start, "finished_at": end, **more}
    return StepStatus.model_validate(fields)


def status(*steps: StepStatus, state: RunState = RunState.SUCCESS) -> RunStatus:
    return RunStatus(
        run_id="r1",
        workflow="w",
        state=state,
        created_at=100.0,
        finished_at=110.0,
        critical_path_seconds=8.0,
        steps={one.id: one for one in steps},
    )


DIAMOND = status(
    step("a", 100, 102, attempts=1, worker="w1@h"),
    step("b", 102, 107),
    step("c", 103, 105),
    step("d", 107, 109),
)
NEEDS = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def test_what_a_barrier_has_checked_is_told_beside_the_steps_of_the_file() -> None:
    document = report.run_document(status(step("a", 100, 102), step("a-validates", 102, 103, validates=True)))
    assert list(document["steps"]) == ["a"]
    assert list(document["validations"]) == ["a-validates"]


def test_the_document_is_the_contract() -> None:
    document = report.run_document(DIAMOND)
    assert {key: document[key] for key in ("run_id", "state", "wall_seconds", "critical_path_seconds")} == {
        "run_id": "r1",
        "state": "success",
        "wall_seconds": 10.0,
        "critical_path_seconds": 8.0,
    }
    first = document["steps"]["a"]
    assert first == {
        "state": "success",
        "attempts": 1,
        "started_at": 100.0,
        "finished_at": 102.0,
        "worker": "w1@h",
        "error": None,
        "reason": None,
        "quality_impact": None,
        "progress": None,
        "message": "",
    }
    assert json.loads(json.dumps(document)) == document


def test_the_progress_of_a_running_member_is_shown() -> None:
    going = step("a", 100, None).model_copy(update={"state": StepState.RUNNING, "progress": 0.4, "message": "reading"})
    assert "40% reading" in report.step_table(status(going))


def test_what_a_barrier_had_to_do_is_told() -> None:
    plain = GroupStatus(id="quiet", state="success", members=("a", "b"), action="release")
    loud = GroupStatus(
        id="design", state="success", members=("c", "d"), extensions=1, fallback_at=1.0, filled=("d",),
        quality_impact="high", action="continue_with_partial", reason="defaults stand in for d", deadline=5.0,
        decided_at=5.25,
    )  # fmt: skip
    both = DIAMOND.model_copy(update={"groups": {one.id: one for one in (plain, loud)}})
    (line,) = report.groups(both)
    for part in ("barrier of design", "1 extension", "one after another", "stand for d (high", "defaults stand in"):
        assert part in line
    document = report.run_document(both)["groups"]
    assert (document["design"]["lateness_seconds"], document["quiet"]["lateness_seconds"]) == (0.25, None)


def test_what_ran_side_by_side_and_for_how_long() -> None:
    assert list(report.side_by_side(DIAMOND)) == ["b, c (2.0 s)"]
    assert list(report.side_by_side(status(step("a", 1, 2), step("b", 2, 3), step("c", None, None)))) == []


def test_many_overlaps_are_summed_up() -> None:
    pairs = [step(f"{side}{at}", 10.0 * at, 10.0 * at + 5) for at in range(8) for side in "xy"]
    lines = list(report.side_by_side(status(*pairs)))
    assert len(lines) == 6
    assert lines[-1] == "3 more combinations, up to 2 steps at a time"


def test_the_longest_way_is_measured_along_the_dependencies() -> None:
    durations = {"a": 2.0, "b": 5.0, "c": 2.0, "d": 2.0}
    assert report.longest_way(durations, NEEDS) == 9.0
    assert report.longest_way({}, NEEDS) == 0.0


def test_the_summary_compares_wall_time_with_one_after_another() -> None:
    text = report.summary(DIAMOND, NEEDS)
    assert "took 10.0 s; one after another it would have been 11.0 s, the critical path alone 9.0 s" in text
    assert text.endswith("run r1: success")


def test_what_stopped_the_run_comes_first() -> None:
    late = step("b", 1, 5, state=StepState.TIMED_OUT)
    early = step("c", 1, 2, state=StepState.FAILED)
    skipped = step("d", None, None, state=StepState.UPSTREAM_FAILED)
    found = report.stopped_at(status(late, early, skipped, state=RunState.FAILED))
    assert [one.id for one in found] == ["c", "b"]


def test_tables_are_never_cut() -> None:
    long = "x" * 300
    lines = table(("id", "state"), [(long, "success"), ("short", None)]).splitlines()
    assert lines[1] == f"{long}  success"
    assert lines[2].split() == ["short", "-"]


def test_results_become_files(tmp_path: Path) -> None:
    count = write_results(
        tmp_path, {"run_id": "r1"}, {"a": {"x": "é"}}, {"a/design/api.json": b"{}", "a/b.bin": b"\xff"}
    )
    assert count == 4
    assert json.loads((tmp_path / "run.json").read_text()) == {"run_id": "r1"}
    assert json.loads((tmp_path / "a" / "output.json").read_text()) == {"x": "é"}
    assert (tmp_path / "a" / "design" / "api.json").read_bytes() == b"{}"
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"\xff"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a\0b", "link/x"])
def test_no_file_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidValue, match="outside"):
        write_results(folder, {}, {}, {name: b"x"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_folder_that_cannot_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(click.UsageError, match="--output"):
        prepare_folder(str(tmp_path / "file"))
