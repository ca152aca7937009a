"""The command line against a stack that is running: every command, every exit status, terminals and closed pipes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import Client, Workflow
from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings
from tests.acceptance.kitchen import Kitchen
from tests.conftest import StartServer, Store
from tests.workers import eventually

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    """A project whose stack is kept up by `orchestrator up`, its URLs set as a user would set them."""
    kitchen = Kitchen.build(tmp_path_factory.mktemp("kitchen"))
    up = kitchen.start("up", "--no-beat", "--concurrency", "4")
    try:
        assert up.stdout is not None
        exports = [up.stdout.readline(), up.stdout.readline()]
        for line in exports:
            name, _, value = line.removeprefix("export ").strip().partition("=")
            kitchen.environment[name] = value.strip("'")
        yield kitchen
    finally:
        up.send_signal(signal.SIGTERM)
        up.communicate(timeout=90)
    assert up.returncode == 143


@pytest.fixture(scope="module")
def past(kitchen: Kitchen) -> tuple[str, str]:
    """A run that has failed and one that has succeeded."""
    failed, served = kitchen.together(
        ["submit", "burnt", "--wait"], ["submit", "tea", "--wait", "--input", "guest=Ada"]
    )
    assert (failed.returncode, served.returncode) == (1, 0), served.stderr
    return failed.stdout.split()[0], served.stdout.split()[0]


@pytest.fixture
def failed(past: tuple[str, str]) -> str:
    return past[0]


@pytest.fixture
def served(past: tuple[str, str]) -> str:
    return past[1]


def test_run_uses_the_configured_servers_and_running_workers(kitchen: Kitchen) -> None:
    done = kitchen.call("run", "tea")
    assert done.returncode == 0, done.stderr
    assert "side by side: kettle, cups" in done.stdout
    assert re.search(r"took .* one after another it would have been .* the critical path alone", done.stdout)
    assert "kettle  success" in done.stderr


def test_the_time_limit_of_run_cancels_it(kitchen: Kitchen) -> None:
    done = kitchen.call("run", "feast", "--timeout", "1s")
    assert done.returncode == 124
    assert "has not ended within 1s" in done.stderr
    assert kitchen.data("show", done.stderr.split()[1])["state"] == "cancelled"


def test_one_step_after_another_on_demand(kitchen: Kitchen) -> None:
    """In the order that `plan` shows, whichever way a run is started, although nothing but the flag asks for it."""
    order = kitchen.data("plan", "buffet", "--sequential")["order"]
    buffet = Workflow.from_file(kitchen.folder / "config" / "workflows" / "buffet.yaml")
    with Client(kitchen.environment["ORCHESTRATOR_STORE_URL"]) as client:
        handle = client.submit(buffet, sequential=True)
        flags = ["buffet", "--sequential", "-o", "json"]
        ended = kitchen.together(["run", *flags], ["submit", *flags, "--wait"])
        handle.wait(60)
    for run in [*(json.loads(done.stdout) for done in ended), kitchen.data("show", handle.id)]:
        times = [(run["steps"][name]["started_at"], run["steps"][name]["finished_at"]) for name in order]
        assert run["state"] == "success"
        assert all(before[1] <= after[0] for before, after in pairwise(times)), times
        assert kitchen.effects(run["run_id"]) == order == ["soup", "fish", "roast", "salad", "dessert"]


def test_submit_prints_the_id_alone_and_the_same_key_gives_the_same_run(kitchen: Kitchen) -> None:
    once = ["--idempotency-key", "one"]
    first, again = kitchen.together(["submit", "tea", *once], ["submit", "config/workflows/tea.yaml", *once])
    other = kitchen.call("submit", "tea", *once, "--input", "guest=Bob")
    assert re.fullmatch(r"[0-9a-f]{16}\n", first.stdout)
    assert first.stdout == again.stdout
    assert other.returncode == 1
    assert "belongs to run" in other.stderr


def test_ls_filters_and_prints_full_ids(kitchen: Kitchen, failed: str, served: str) -> None:
    ids, rows, everything = kitchen.together(
        ["ls", "--state", "failed", "-q"], ["ls", "--workflow", "burnt", "-o", "json"], ["ls"]
    )
    assert ids.stdout.split() == [failed]
    assert [row["run_id"] for row in json.loads(rows.stdout)] == [failed]
    assert served in everything.stdout
    assert "\x1b" not in everything.stdout


def test_show_answers_where_it_stopped_why_and_what_to_type(kitchen: Kitchen, failed: str) -> None:
    shown, as_yaml = kitchen.together(["show", failed], ["show", failed, "-o", "yaml"])
    assert "stopped at toast (failed after 1 attempt): ValueError: the oven is too hot" in shown.stdout
    assert "not run because of that: breakfast" in shown.stdout
    assert f"orchestrator logs {failed} toast" in shown.stdout
    assert yaml.safe_load(as_yaml.stdout)["steps"]["breakfast"]["state"] == "upstream_failed"


def test_logs_of_a_run_a_step_and_an_attempt(kitchen: Kitchen, failed: str, served: str) -> None:
    def stored() -> bool:
        logs = [log.stdout for log in kitchen.together(["logs", failed], ["logs", served])]
        return "Error" in logs[0] and "serve#1" in logs[1]

    eventually(stored, within=30, what="the logs of the last attempts are stored")
    whole, step, attempt, bad, wrong = kitchen.together(
        ["logs", served, "-o", "json"],
        ["logs", served, "kettle"],
        ["logs", served, "kettle", "--attempt", "2", "-o", "json"],
        ["logs", failed],
        ["logs", served, "kettel"],
    )
    lines = json.loads(whole.stdout)
    assert {line["step"] for line in lines} == {"kettle", "cups", "serve"}
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert "kettle#1  info  cooking for 0.3 s" in step.stdout
    assert json.loads(attempt.stdout) == []
    assert "ValueError: the oven is too hot" in bad.stdout
    assert wrong.returncode == 4
    assert "did you mean 'kettle'" in wrong.stderr


def test_watch_and_follow_until_the_end_and_cancel_in_the_middle(kitchen: Kitchen) -> None:
    run_id = kitchen.call("submit", "feast").stdout.strip()
    following = kitchen.start("logs", run_id, "--follow")
    watching, drawn = kitchen.start("watch", run_id), Terminal(kitchen, "watch", run_id, COLUMNS="120")
    assert kitchen.call("watch", run_id, "--timeout", "0.1s").returncode == 124
    eventually(lambda: kitchen.begun(run_id, "roast"), within=30, what="the roast is in the oven")
    assert drawn.shows("┬ ● chop", "  └ ● roast", "running ", "━", "1 of 2 steps ended"), drawn.text
    cancelled = kitchen.call("cancel", run_id, "--reason", "not hungry")
    assert cancelled.returncode == 0
    out, err = watching.communicate(timeout=90)
    assert watching.returncode == 1, err
    assert "cancelled" in out
    assert drawn.end() == 1
    assert "cancelled" in drawn.text
    analysed = kitchen.call("analyze", run_id)
    assert analysed.stdout.startswith("feast cancelled: "), analysed.stderr
    assert [line.split()[0] for line in analysed.stdout.splitlines()[4:6]] == ["chop", "roast"], analysed.stdout
    assert not ANSI.search(analysed.stdout)
    followed, _ = following.communicate(timeout=90)
    assert following.returncode == 0
    assert followed.count("cooking for 0.2 s") == 1
    again = kitchen.call("cancel", run_id)
    assert again.returncode == 1
    assert "has ended already" in again.stderr
    assert kitchen.data("show", run_id)["reason"] == "not hungry"


def command(page: str, name: str, run_id: str) -> list[str]:
    """The arguments of a command that the page tells to type."""
    found = re.search(rf"orchestrator ({name} {run_id}[^#\n]*)", page)
    assert found, page
    return found[1].split()


def test_a_run_is_paused_resumed_fails_and_is_retried_by_what_show_says(kitchen: Kitchen) -> None:
    run_id = kitchen.call("submit", "soup").stdout.strip()
    eventually(lambda: kitchen.begun(run_id, "simmer"), within=30, what="the soup simmers")
    paused = kitchen.call("pause", run_id)
    assert (paused.returncode, paused.stdout) == (0, "paused\n")
    (kitchen.folder / "lid").touch()
    waiting = "running: nothing; waiting for the end of the pause: taste"
    eventually(lambda: waiting in kitchen.call("show", run_id).stdout, within=30, what="what runs ends")
    page = kitchen.call("show", run_id).stdout

    assert kitchen.call(*command(page, "resume", run_id)).stdout == "running\n"
    failed = kitchen.call("watch", run_id)
    assert failed.returncode == 1
    page = kitchen.call("show", run_id).stdout
    assert "stopped at taste (failed after 1 attempt): ValueError: there is no salt" in page
    assert "not run because of that: eat" in page
    assert f"orchestrator retry {run_id} taste   # and then eat" in page

    (kitchen.folder / "salt").touch()
    refused, unknown, both = kitchen.together(
        ["retry", run_id, "eat"], ["retry", run_id, "tase"], ["retry", run_id, "eat", "--failed"]
    )
    assert (refused.returncode, unknown.returncode, both.returncode) == (1, 4, 2)
    assert "would not start: a step before it has not ended well" in refused.stderr
    assert "did you mean 'taste'" in unknown.stderr
    retried = kitchen.call(*command(page, "retry", run_id))
    assert (retried.returncode, retried.stdout) == (0, "running\n"), retried.stderr
    assert kitchen.call("watch", run_id).returncode == 0
    assert kitchen.effects(run_id) == ["chop", "simmer", "taste", "eat"], "good steps have run once"
    ended = kitchen.call("pause", run_id)
    assert ended.returncode == 1
    assert "has ended already: it is success" in ended.stderr


def test_a_step_that_kills_its_workers_is_in_the_dead_letter_list(kitchen: Kitchen) -> None:
    done = kitchen.call("submit", "cooker", "--wait")
    assert done.returncode == 1
    run_id = done.stdout.split()[0]
    listed, shown = kitchen.together(["dlq", "ls"], ["dlq", "show", run_id, "pressure"])
    assert re.search(rf"{run_id} pressure +agent explode +poisoned +3 ", listed.stdout)
    assert "given up at" in shown.stdout
    assert f"orchestrator dlq show {run_id} pressure" in kitchen.call("show", run_id).stdout

    (kitchen.folder / "valve").touch()
    assert kitchen.call("dlq", "retry", run_id, "pressure").returncode == 0
    assert kitchen.call("watch", run_id).returncode == 0
    assert kitchen.data("dlq", "ls") == {"steps": [], "messages": []}
    dropped, gone = kitchen.together(["dlq", "drop", run_id, "pressure"], ["dlq", "show", "0-0"])
    assert (dropped.returncode, gone.returncode) == (4, 4)


def test_names_that_nobody_knows_are_4(kitchen: Kitchen) -> None:
    workflow, submitted, run = kitchen.together(["run", "tee"], ["submit", "nonsense"], ["show", "0123456789abcdef"])
    assert "did you mean 'tea'" in workflow.stderr
    assert "; known: " in submitted.stderr
    assert "tea" in submitted.stderr
    assert "no run has the id" in run.stderr
    for done in (workflow, submitted, run):
        assert done.returncode == 4
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_redis_that_is_not_there_is_one_line_and_69(kitchen: Kitchen) -> None:
    lost = Kitchen(kitchen.folder, dict.fromkeys(kitchen.environment, "redis://127.0.0.1:1/0"))
    for done in lost.together(["ls"], ["run", "tea"], ["submit", "tea"]):
        assert done.returncode == 69
        assert done.stderr.count("\n") == 1
        assert "Redis cannot be reached" in done.stderr
        assert done.stdout == ""


def test_no_worker_is_one_line_and_69(kitchen: Kitchen, broker_url: str) -> None:
    alone = Kitchen(kitchen.folder, dict.fromkeys(kitchen.environment, broker_url))
    done = alone.call("run", "tea")
    assert done.returncode == 69
    assert done.stderr.splitlines() == ["error: no worker is running: start one with `orchestrator worker`"]


def test_a_reader_that_goes_away_is_no_error(kitchen: Kitchen) -> None:
    process = kitchen.start("plan", "tea", "-o", "json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(90) == 0


def test_inputs_from_standard_input_and_files(kitchen: Kitchen) -> None:
    done = kitchen.call("run", "tea", "--input", "guest=@-", "--output", "served", text="Ada\nLovelace")
    assert done.returncode == 0, done.stderr
    assert json.loads((kitchen.folder / "served" / "serve" / "output.json").read_text())["guest"] == "Ada\nLovelace"
    closed = kitchen.start("run", "tea", "--input", "guest=@-", stdin=None, preexec_fn=lambda: os.close(0))
    assert closed.communicate(timeout=90)[1].count("closed") == 1
    assert closed.returncode == 2


class Terminal:
    """A command on a pseudo terminal, and what a person has seen on it so far."""

    def __init__(self, kitchen: Kitchen, *arguments: str, **environment: str) -> None:
        self._leader, follower = pty.openpty()
        env = {**kitchen.env(), "TERM": "xterm-256color", "COLUMNS": "40", **environment}
        command = [sys.executable, "-m", "orchestrator", *arguments]
        self.process = subprocess.Popen(command, cwd=kitchen.folder, env=env, stdout=follower, stderr=follower)
        os.close(follower)
        self.text = ""

    def shows(self, *words: str) -> bool:
        """Read on until all of these were on the screen; false when the command ends before."""
        while not all(word in self.text for word in words):
            try:
                chunk = os.read(self._leader, 65536)
            except OSError:  # the other end is closed
                return False
            self.text += chunk.decode(errors="replace")
        return True

    def end(self) -> int:
        """Read to the end; the exit status."""
        self.shows("\0")
        os.close(self._leader)
        return self.process.wait()


def test_progress_is_live_on_a_terminal(kitchen: Kitchen) -> None:
    live = Terminal(kitchen, "run", "feast")
    assert live.shows("\x1b[", "running"), live.text
    live.process.send_signal(signal.SIGINT)
    assert live.end() == 130
    assert ANSI.search(live.text)


def test_a_narrow_terminal_shows_whole_ids_and_no_color_means_no_colour(kitchen: Kitchen, served: str) -> None:
    coloured, plain = Terminal(kitchen, "ls"), Terminal(kitchen, "show", served, NO_COLOR="1")
    quiet = Terminal(kitchen, "watch", served, "--quiet", "-o", "json")
    assert (coloured.end(), plain.end(), quiet.end()) == (0, 0, 0)
    assert served in coloured.text
    assert ANSI.search(coloured.text)
    assert not ANSI.search(plain.text)
    assert "worker-1@" in plain.text
    assert json.loads(quiet.text)["state"] == "success"


def test_doctor_finds_a_healthy_stack_and_what_a_server_lacks(
    kitchen: Kitchen, tmp_path: Path, start_server: StartServer
) -> None:
    poor = start_server(tmp_path, options={"maxmemory-policy": "allkeys-lru"})
    sick = Kitchen(kitchen.folder, dict.fromkeys(kitchen.environment, poor.broker_url(0)))

    def examined() -> Any:
        found = json.loads(kitchen.anew("doctor", "--scan-queues", "-o", "json").stdout)
        return found["ok"] and found  # all workers have answered in time

    with ThreadPoolExecutor() as beside:
        told = beside.submit(sick.data, "doctor", status=69)
        healthy = eventually(examined, within=120, what="nothing is wrong")
    assert {check["status"] for check in healthy["checks"]} == {"ok"}
    names = {check["name"] for check in healthy["checks"]}
    server = {"redis", "version", "maxmemory-policy", "append-only file", "clock"}
    rest = {"environment", "content", "visibility timeout", "deadlines", "workers", "queues", "other apps", "messages"}
    assert server | rest <= names

    found = {check["name"]: check for check in told.result()["checks"]}
    assert found["maxmemory-policy"]["status"] == "fail"
    assert "noeviction" in found["maxmemory-policy"]["remedy"]
    assert found["append-only file"]["status"] == "warn"
    assert found["workers"]["remedy"] == "start one: orchestrator worker"


def test_doctor_finds_what_no_worker_could_run(kitchen: Kitchen, store: Store) -> None:
    own = Kitchen(kitchen.folder, dict.fromkeys(kitchen.environment, store.broker_url))

    app = create_app(store.broker_url, store.url, EngineSettings(), set_as_current=False)
    app.send_task("orchestrator.sweep", queue="control")
    app.send_task("nobody.knows", queue="control", priority=0)
    with store.server.client(store.database) as client:
        client.lpush("control", b"\x80\x04K\x01.", "[1, 2]", "[]")
    checks = own.data("doctor", "--scan-queues", status=69)["checks"]
    assert {(check["status"], check["message"]) for check in checks if check["name"] == "messages"} == {
        ("fail", "1 of 5 entries in control: each is for the task 'nobody.knows', which this app does not have"),
        ("fail", "1 of 5 entries in control: each is no JSON"),
        ("fail", "2 of 5 entries in control: each is no message"),
    }
    with store.server.client(store.database) as client:
        assert sum(client.llen(key) for key in client.keys("control*")) == 5, "it takes nothing out"


def test_worker_serves_the_named_classes_only(kitchen: Kitchen, broker_url: str) -> None:
    own = Kitchen(kitchen.folder, dict.fromkeys(kitchen.environment, broker_url))
    ready, told = os.pipe()
    telling = Kitchen(kitchen.folder, own.environment | {"ORCHESTRATOR_READY_FD": str(told)})
    worker = telling.start("worker", "--agents", "burn", "--concurrency", "1", "--name", "burner", pass_fds=(told,))
    os.close(told)
    try:
        assert os.read(ready, 1), "it has ended"
        os.close(ready)
        done, idle = own.together(["run", "burnt"], ["run", "tea"])
        assert done.returncode == 1, done.stderr
        assert "burner@" in done.stdout
        assert idle.returncode == 69
        remedy = "start one with `orchestrator worker --agents cook`"
        assert idle.stderr.splitlines()[-1] == f"error: no worker takes from agents.cook: {remedy}"

        def of_queues() -> list[str]:
            done = own.anew("doctor", "-o", "json")
            return [check["message"] for check in json.loads(done.stdout)["checks"] if check["name"] == "queues"]

        found = eventually(of_queues, within=120, what="the worker answers in time")
        assert any("agents.cook has no worker" in message for message in found)
        assert "agents.litter has no worker" in found
        assert not any("agents.burn" in message for message in found)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=90)
    assert worker.returncode == 0
