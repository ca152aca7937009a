"""The shared context on real workers: merges at a barrier, snapshots, drafts, ownership, history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Client
from orchestrator.cli import main
from orchestrator.client import RunHandle
from orchestrator.context.segments import MEMORY, Segments
from orchestrator.errors import CorruptValue, NotFound
from orchestrator.keys import run_key
from orchestrator.run.models import FINAL_STEP_STATES, RunState, RunStatus, StepState
from tests.conftest import Store
from tests.workers import Worker, eventually, time_is_over

SECONDS = 30
ONCE = {"maximum_attempts": 1}


@pytest.fixture(scope="module")
def sharing(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a worker with four slots for the agents of `sharing_app`."""
    directory = tmp_path_factory.mktemp("sharing")
    with Worker(module_store.url, directory, app="tests.engine.sharing_app"), Client(module_store.url) as client:
        yield client


def adder(name: str, *needs: str, **parameters: Any) -> dict[str, Any]:
    return {"id": name, "agent": "adder", "needs": list(needs), "with": parameters}


def test_members_that_write_one_section_are_merged_by_their_barrier(sharing: Client) -> None:
    members = [f"m{number}" for number in range(8)]
    document = {
        "name": "shared", "steps": [adder("first"), adder("last", *members)],
        "execution_groups": {
            "g": {"agents": [adder(name) for name in members], "parallel_capable": True, "dependencies": ["first"]}
        },
    }  # fmt: skip
    run = sharing.submit(document)
    status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, status
    parts = run.context()["board"]["parts"]
    assert parts == dict.fromkeys(["first", *members, "last"], True)
    assert run.result()["last"]["saw"] == dict.fromkeys(["first", *members], True)
    assert all(run.result()[name]["saw"] == {"first": True} for name in members), "members do not see each other"
    assert set(run.context("barrier:g")["board"]["parts"]) == {"first", *members}
    assert [version.author for version in run.history()] == ["last", "@g", "first"]
    assert sharing.contexts.conflicts(run.id) == []


def test_a_member_whose_retry_ends_last_is_merged_in_its_declared_place(sharing: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    slow = adder("first", signs=True, fails=1, after=str(go)) | {"retry": {"initial_interval": 0.05}}
    group = {"agents": [slow, adder("second", signs=True)], "parallel_capable": True}
    run = sharing.submit({"name": "ordered", "steps": [], "execution_groups": {"g": group}})
    eventually(lambda: run.status().steps["second"].state is StepState.SUCCESS, within=SECONDS, what="one has ended")
    go.touch()
    steps = run.wait(SECONDS).steps
    assert (steps["first"].attempts, steps["second"].attempts) == (2, 1)
    assert (steps["second"].finished_at or 0) < (steps["first"].finished_at or 0)
    assert run.context()["board"]["order"] == ["first", "second"]


def test_a_conflict_is_foreseen_while_the_other_member_still_works(sharing: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    late = adder("late", after=str(go)) | {"context_requirements": {"write": ["board", "saw"]}}
    group = {"agents": [adder("early"), late, adder("apart")], "parallel_capable": True}
    run = sharing.submit({"name": "foreseen", "steps": [], "execution_groups": {"g": group}})

    def warnings() -> list[tuple[str | None, str]]:
        told = [event for event in run.events(follow=False) if (event.type, event.state) == ("conflict", "early")]
        assert {event.detail["field"] for event in told} <= {"board.parts"}
        return [(event.step, event.detail["with"]) for event in told]

    eventually(lambda: len(warnings()) == 3, within=SECONDS, what="both have met what late declares, and each other")
    assert run.status().steps["late"].state not in FINAL_STEP_STATES
    go.touch()
    assert run.wait(SECONDS).state is RunState.SUCCESS
    pairs = [sorted((step or "", other)) for step, other in warnings()]
    assert sorted(pairs) == [["apart", "early"], ["apart", "late"], ["early", "late"]], "each pair once"


def test_steps_side_by_side_outside_groups_lose_no_write(sharing: Client) -> None:
    names = [f"s{number}" for number in range(24)]
    run = sharing.submit({"name": "open", "steps": [adder(name) for name in names]})
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert run.context()["board"]["parts"] == dict.fromkeys(names, True)


def test_a_reader_keeps_its_snapshot_while_another_step_commits(sharing: Client, tmp_path: Path) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    watcher = {"id": "reader", "agent": "watcher", "needs": ["first"], "with": {"started": str(started), "go": str(go)}}
    run = sharing.submit(
        {"name": "isolated", "steps": [adder("first"), watcher, adder("writer", "first", after=str(started))]}
    )
    eventually(lambda: run.status().steps["writer"].state is StepState.SUCCESS, within=SECONDS, what="writer is done")
    assert run.context()["board"]["parts"] == {"first": True, "writer": True}
    go.touch()
    assert run.wait(SECONDS).state is RunState.SUCCESS
    seen = run.result()["reader"]
    assert seen == {
        "first": {"first": True},
        "again": {"first": True},
        "all": {"parts": {"first": True}},
        "writer": None,
    }


def test_a_draft_is_seen_before_its_step_ends(sharing: Client, tmp_path: Path) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    document = {
        "name": "drafts",
        "steps": [
            {"id": "drafter", "agent": "drafter", "with": {"started": str(started), "go": str(go)}},
            {"id": "wanting", "agent": "peeker", "wants": ["drafter"], "with": {"after": str(started)}},
            {"id": "other", "agent": "peeker", "with": {"after": str(started)}},
        ],
    }
    run = sharing.submit(document)
    eventually(lambda: run.status().steps["wanting"].state is StepState.SUCCESS, within=SECONDS, what="it was seen")
    go.touch()
    assert run.wait(SECONDS).state is RunState.SUCCESS
    result = run.result()
    assert result["wanting"] == {"saw": "draft", "mark": "draft"}
    assert result["other"] == {"saw": None, "mark": ""}
    assert result["drafter"] == {"plan": "final"}


def test_a_value_that_was_damaged_in_the_store_fails_who_reads_it_and_says_so(sharing: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    reader = adder("reader", "writer", after=str(go)) | {"retry": ONCE}
    run = sharing.submit({"name": "damaged", "steps": [adder("writer"), reader, adder("apart")]})

    def reads() -> bool:
        steps = run.status().steps
        return (steps["reader"].state, steps["apart"].state) == (StepState.RUNNING, StepState.SUCCESS)

    eventually(reads, within=SECONDS, what="the reader runs, and nobody else")
    blobs = run_key(run.id, "ctx:blobs")
    for name in sharing.redis.hkeys(blobs):
        sharing.redis.hset(blobs, name, b"\x01\x04\x22\x4d\x18 is how a compressed frame begins")
    go.touch()
    status = run.wait(SECONDS)
    assert (status.state, status.steps["apart"].state) == (RunState.FAILED, StepState.SUCCESS)
    error = status.steps["reader"].error or ""
    assert error.startswith("CorruptValue: the value at 'board.parts' is damaged"), error
    with pytest.raises(CorruptValue, match="is damaged"):
        run.context()


@pytest.mark.skipif(not MEMORY.is_dir(), reason="this system has no /dev/shm")
def test_a_large_value_passes_between_processes_of_a_host_without_the_store(sharing: Client, tmp_path: Path) -> None:
    """The store's copy is damaged meanwhile, and nobody notices."""
    here, go = Segments(1), tmp_path / "go"
    reader = {"id": "reader", "agent": "peeker", "needs": ["writer"], "with": {"after": str(go), "path": "writer.text"}}
    run = sharing.submit({"name": "large", "steps": [adder("writer", word="page"), reader]})
    eventually(lambda: run.status().steps["reader"].state is StepState.RUNNING, within=SECONDS, what="the reader runs")
    (left,) = here.held(run.id)
    blobs = run_key(run.id, "ctx:blobs")
    stored: Any = sharing.redis.hget(blobs, left)
    sharing.redis.hset(blobs, left, b"\0not what was written")
    go.touch()
    assert run.wait(SECONDS).state is RunState.SUCCESS
    sharing.redis.hset(blobs, left, stored)
    assert run.result()["reader"]["saw"] == "page" * 300_000
    eventually(lambda: not here.held(run.id), within=SECONDS, what="the end of the run takes its segments along")


@pytest.mark.skipif(not MEMORY.is_dir(), reason="this system has no /dev/shm")
def test_what_the_next_step_will_read_is_brought_here_while_this_one_works(sharing: Client, tmp_path: Path) -> None:
    """Each of the four processes has seen once what the reader reads; then it was written on another host."""
    here = Segments(1)

    def peeker(name: str, need: str, path: str = "writer.none") -> dict[str, Any]:
        return {"id": name, "agent": "peeker", "needs": [need], "with": {"after": str(tmp_path / name), "path": path}}

    def works(run: RunHandle, name: str) -> None:
        eventually(lambda: run.status().steps[name].state is StepState.RUNNING, within=SECONDS, what=f"{name} runs")

    writer, reader = adder("writer", word="page"), peeker("reader", "waiter", "writer.text")
    lesson = {"name": "lesson", "steps": [writer, reader | {"needs": ["writer"]}]}
    lessons = [sharing.submit(lesson) for _ in range(4)]
    for run in lessons:
        works(run, "reader")
    (tmp_path / "reader").touch()
    assert {run.wait(SECONDS).state for run in lessons} == {RunState.SUCCESS}
    gate, waiter = peeker("gate", "writer"), peeker("waiter", "gate")
    run = sharing.submit({"name": "ahead", "steps": [writer, gate, waiter, reader]})
    works(run, "gate")
    here.drop(run.id)
    (tmp_path / "gate").touch()
    works(run, "waiter")
    eventually(lambda: here.held(run.id), within=SECONDS, what="the text is here before anybody has asked for it")
    (tmp_path / "waiter").touch()
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert run.result()["reader"]["saw"] == "page" * 300_000


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("locked.x", "nobody_here"),
        ("board.x", "adder"),
        ("first.x", "own namespace"),
    ],
)
def test_what_others_own_cannot_be_written(sharing: Client, path: str, rule: str) -> None:
    wrong = {"id": "a", "agent": "trespasser", "needs": ["first"], "with": {"path": path}, "retry": ONCE}
    status = sharing.submit({"name": "owned", "steps": [adder("first"), wrong]}).wait(SECONDS)
    error = status.steps["a"].error or ""
    assert error.startswith("OwnershipError")
    assert rule in error


def test_a_value_that_its_schema_refuses_is_not_committed(sharing: Client) -> None:
    run = sharing.submit({"name": "typed", "steps": [adder("a", value=1), adder("b", "a", value="many")]})
    status = run.wait(SECONDS)
    assert (status.steps["b"].state, status.steps["b"].attempts) == (StepState.FAILED, 1)
    assert "'board.parts' is not what agent 'adder' declares" in (status.steps["b"].error or "")
    assert run.context()["board"]["parts"] == {"a": 1}


def test_a_declared_output_that_was_not_written_marks_the_run(sharing: Client) -> None:
    run = sharing.submit({"name": "declared", "steps": [adder("a") | {"outputs": ["saw", "plan.colour"]}]})
    status = run.wait(SECONDS)
    assert (status.state, status.quality_impact) == (RunState.SUCCESS, "medium")
    assert [(mark.kind, mark.step, mark.message) for mark in status.quality] == [
        ("output", "a", "a did not write plan.colour, which it declares")
    ]


def test_a_step_reads_only_what_its_lists_allow(sharing: Client) -> None:
    closed = {"id": "b", "agent": "adder", "needs": ["a"], "context_requirements": {"read": ["a"]}, "retry": ONCE}
    status = sharing.submit({"name": "lists", "steps": [adder("a"), closed]}).wait(SECONDS)
    assert "OwnershipError" in (status.steps["b"].error or "")
    assert "context.read" in (status.steps["b"].error or "")


def test_the_command_line_shows_the_context_and_its_versions(
    sharing: Client, module_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_STORE_URL", module_store.url)
    run = sharing.submit({"name": "told", "steps": [adder("a", value=1), adder("b", "a", value=2)]})
    assert run.wait(SECONDS).state is RunState.SUCCESS

    def told(*arguments: str) -> Any:
        assert main(["context", *arguments, "-o", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert told("show", run.id)["board"] == {"parts": {"a": 1, "b": 2}}
    assert told("show", run.id, "--version", "1")["board"] == {"parts": {"a": 1}}
    assert [version["author"] for version in told("history", run.id)] == ["b", "a"]
    assert {one["field"]: one["kind"] for one in told("diff", run.id, "1", "2")} == {
        "b.saw": "added",
        "board.parts": "changed",
    }
    assert told("restore", run.id, "1") == {"run_id": run.id, "version": 3}
    assert main(["context", "diff", run.id, "1", "2"]) == 0
    assert '+ {"a": 1, "b": 2}' in capsys.readouterr().out
    assert main(["context", "show", run.id, "--version", "99"]) == 4
    assert main(["conflicts", "ls", run.id]) == 0
    assert main(["conflicts", "resolve", run.id, "none", "ours"]) == 4


def test_history_diff_and_restore_through_the_client(sharing: Client) -> None:
    run = sharing.submit({"name": "past", "steps": [adder("a", value=1), adder("b", "a", value=2)]})
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert [version.author for version in run.history()] == ["b", "a"]
    assert [one.field for one in run.diff(1, 2)] == ["b.saw", "board.parts"]
    assert run.restore(1) == 3
    assert run.context()["board"]["parts"] == {"a": 1}
    assert run.result().keys() == {"a"}
    assert run.context(2)["board"]["parts"] == {"a": 1, "b": 2}
    with pytest.raises(NotFound):
        run.context("barrier:none")


def cross_validated(members: list[dict[str, Any]], **validation: Any) -> dict[str, Any]:
    group = {"agents": members, "cross_validation": {"validation_timeout": "20s", **validation}}
    return {"name": "checked", "steps": [adder("last", "g")], "execution_groups": {"g": group}}


def speaking(name: str, **parameters: Any) -> dict[str, Any]:
    return {"id": name, "agent": "speaker", "with": parameters, "retry": ONCE}


def test_members_validate_each_other_before_anybody_goes_on(sharing: Client) -> None:
    members = [speaking("a"), speaking("b", word="no"), {"id": "c", "agent": "adder", "retry": ONCE}]
    run = sharing.submit(cross_validated(members, validation_agents=["a", "b"]))
    status = run.wait(SECONDS)
    assert status.state is RunState.PARTIAL, "c says no word: who reads it fails, and that is no success"
    steps = status.steps
    assert {name for name in steps if name.endswith("-validates")} == {"a-validates", "b-validates"}
    assert "MissingInput" in (steps["a-validates"].error or "")
    assert {mark.message for mark in status.quality} == {
        "a-validates ended as failed", "b-validates ended as failed",
    }  # fmt: skip
    ended = max(steps[f"{name}-validates"].finished_at or 0 for name in "ab")
    assert ended <= (steps["last"].started_at or 0)


@pytest.mark.parametrize(("blocking", "state"), [(False, RunState.SUCCESS), (True, RunState.FAILED)])
def test_an_objection_marks_the_run_or_fails_its_group(sharing: Client, blocking: bool, state: RunState) -> None:
    run = sharing.submit(cross_validated([speaking("a"), speaking("b", word="no")], blocking=blocking))
    status = run.wait(SECONDS)
    assert status.state is state, status
    assert [mark.message for mark in status.quality] == ["a-validates: b says no"]
    assert run.result()["b-validates"] == {"valid": True, "findings": []}
    assert run.result()["a-validates"] == {"valid": False, "findings": ["b says no"]}


def test_validators_that_die_hang_or_cannot_validate_hold_nobody_up(sharing: Client) -> None:
    mute = {"id": "mute", "agent": "adder"}
    members = [speaking("dying", validation="die"), speaking("slow", validation="hang"), mute]
    run = sharing.submit(cross_validated(members, validation_timeout="600s"))

    def found(status: RunStatus) -> dict[str, str]:
        return {name.partition("-")[0]: step.state for name, step in status.steps.items() if "-" in name}

    others = {"dying": "failed", "mute": "success"}
    eventually(lambda: found(run.status()) == {**others, "slow": "running"}, within=SECONDS, what="one is left")
    time_is_over(sharing, run.id, "timeout:slow-validates")
    status = run.wait(SECONDS)
    assert status.state is RunState.PARTIAL
    assert status.steps["last"].state is StepState.SUCCESS
    assert found(status) == {**others, "slow": "timed_out"}
    messages = sorted(mark.message for mark in status.quality)
    assert messages[0] == "dying-validates ended as failed"
    assert messages[1] == "mute-validates: agent 'adder' cannot validate: it declares no `validate`"
    assert messages[2].startswith("slow-validates ")
