"""`orchestrator run` and `up` with the local stack: results, files, interruptions, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from orchestrator.embedded.local import running_url
from tests.acceptance.kitchen import Kitchen, assert_gone, find, tree_of
from tests.workers import eventually

SECONDS = 90.0


@pytest.fixture
def kitchen(tmp_path: Path) -> Iterator[Kitchen]:
    kitchen = Kitchen.build(tmp_path)
    yield kitchen
    kitchen.close()


def started(process: subprocess.Popen[str]) -> str:
    """Wait for the line that names the run; its id."""
    assert process.stderr is not None
    words = process.stderr.readline().split()
    assert words[:1] == ["run"], words
    return words[1]


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def test_run_prints_the_contract_writes_files_and_leaves_nothing(kitchen: Kitchen) -> None:
    process = kitchen.start("run", "tea", "--input", "guest=Ada", "--output", "out", "-o", "json")
    run_id = started(process)
    tree = tree_of(process)
    status, out, err = ended(process)
    assert status == 0, err
    document = json.loads(out)
    assert document["run_id"] == run_id
    assert document["state"] == "success"
    assert document["critical_path_seconds"] == 300
    assert list(document["steps"]) == ["kettle", "cups", "serve"]
    for step in document["steps"].values():
        assert step["state"] == "success"
        assert step["attempts"] == 1
        assert abs(step["started_at"] - time.time()) < 600
        assert step["finished_at"] > step["started_at"]
        assert step["worker"].startswith("worker-1@")
    kettle, cups, serve = document["steps"].values()
    assert document["wall_seconds"] >= serve["finished_at"] - kettle["started_at"] >= 0.3
    assert max(kettle["started_at"], cups["started_at"]) < min(kettle["finished_at"], cups["finished_at"])
    assert serve["started_at"] >= max(kettle["finished_at"], cups["finished_at"])
    folder = kitchen.folder / "out"
    assert json.loads((folder / "run.json").read_text()) == document
    assert json.loads((folder / "kettle" / "output.json").read_text()) == {"dish": "kettle", "guest": "Ada"}
    assert (folder / "serve" / "plates" / "note.txt").read_text() == "serve is served"
    assert_gone(tree, 20)
    assert not kitchen.sockets()


def test_a_run_that_fails_leaves_nothing_either(kitchen: Kitchen) -> None:
    process = kitchen.start("run", "soup", "-o", "json")
    run_id = started(process)
    eventually(lambda: kitchen.begun(run_id, "simmer"), within=SECONDS, what="the soup simmers")
    tree = tree_of(process)
    (kitchen.folder / "lid").touch()
    status, out, err = ended(process)
    assert (status, json.loads(out)["state"]) == (1, "failed"), err
    assert "there is no salt" in err
    assert_gone(tree, 20)
    assert not kitchen.sockets()


def test_ctrl_c_cancels_the_run_and_ends_everything(kitchen: Kitchen) -> None:
    process = kitchen.start("run", "litter")
    run_id = started(process)
    eventually((kitchen.folder / "littered").exists, within=SECONDS, what="the agent has littered")
    tree = tree_of(process)
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    assert status == 130, err
    assert "Traceback" not in err
    assert_gone(tree, 20)
    assert not kitchen.sockets()
    assert kitchen.data("show", run_id)["state"] == "cancelled"


def test_kill_9_leaves_no_process_and_no_socket_and_the_run_goes_on_at_the_next_start(kitchen: Kitchen) -> None:
    kitchen.environment["KITCHEN_LEASE"] = "2"
    (kitchen.folder / "salt").touch()
    process = kitchen.start("run", "soup")
    run_id = started(process)
    eventually(lambda: kitchen.begun(run_id, "simmer"), within=SECONDS, what="the soup simmers")
    tree = tree_of(process)
    assert len(tree) >= 6
    process.kill()
    ended(process)
    assert_gone(tree, 20)
    eventually(lambda: not kitchen.sockets(), within=20, what="no socket is left")

    up = kitchen.start("up", "--no-beat")
    try:
        assert up.stdout is not None
        assert "export ORCHESTRATOR_BROKER_URL=" in up.stdout.readline()
        (kitchen.folder / "lid").touch()
        done = kitchen.call("watch", run_id, "--timeout", "50s")
        assert done.returncode == 0, done.stderr
        assert kitchen.effects(run_id) == ["chop", "simmer", "taste", "eat"]
    finally:
        tree = tree_of(up)
        up.send_signal(signal.SIGINT)
        status, _, err = ended(up)
    assert status == 130, err
    assert "Traceback" not in err
    assert_gone(tree, 20)


def test_a_worker_that_is_killed_in_the_middle_costs_time_only(kitchen: Kitchen) -> None:
    kitchen.environment["KITCHEN_LEASE"] = "2"
    (kitchen.folder / "salt").touch()
    process = kitchen.start("run", "soup", "-o", "json")
    run_id = started(process)
    eventually(lambda: kitchen.begun(run_id, "simmer"), within=SECONDS, what="the soup simmers")
    worker = find(tree_of(process), "--without-mingle")
    assert worker is not None
    family = [worker, *worker.children(recursive=True)]
    worker.kill()
    assert_gone(family, 20)
    (kitchen.folder / "lid").touch()
    status, out, err = ended(process)
    assert status == 0, err
    document = json.loads(out)
    assert document["state"] == "success"
    assert document["steps"]["simmer"]["attempts"] == 2
    assert kitchen.effects(run_id) == ["chop", "simmer", "taste", "eat"]
    assert "is started again" in err


def test_a_broken_app_is_one_line_and_no_traceback(kitchen: Kitchen) -> None:
    kitchen.environment["ORCHESTRATOR_APP"] = "no_such_app"
    done = kitchen.call("run", "tea")
    assert done.returncode == 69
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "no_such_app" in done.stderr
    assert not kitchen.sockets()


def test_nothing_is_started_for_an_invalid_workflow(kitchen: Kitchen) -> None:
    done = kitchen.call("run", "wrong")
    assert done.returncode == 3
    assert "tmieout" in done.stderr
    assert "did you mean 'kettle'" in done.stderr
    assert done.stdout == ""
    assert not kitchen.home.exists()


def test_up_restarts_what_exits(kitchen: Kitchen) -> None:
    up = kitchen.start("up", "--concurrency", "1")
    try:
        assert up.stdout is not None
        assert up.stderr is not None
        up.stdout.readline()
        for word in ("--without-mingle", "beat", "valkey-server"):
            victim = find(tree_of(up), word)
            assert victim is not None
            os.kill(victim.pid, signal.SIGKILL)
            again = partial(another, up, word, victim.pid)
            eventually(again, within=SECONDS, what=f"{word} is started again")
        eventually(lambda: running_url(kitchen.home) is not None, within=SECONDS, what="a new server answers")
        for name in ("lid", "salt"):
            (kitchen.folder / name).touch()
        assert kitchen.call("submit", "soup", "--wait", "--timeout", "50s").returncode == 0
    finally:
        up.send_signal(signal.SIGTERM)
        assert ended(up)[0] == 143


def another(up: subprocess.Popen[str], word: str, pid: int) -> bool:
    process = find(tree_of(up), word)
    return process is not None and process.pid != pid
