"""The local stack with real processes: what it starts, what survives, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from orchestrator.embedded import Stack, StackOptions
from orchestrator.embedded.local import running_url
from tests.acceptance.kitchen import assert_gone, find, tree_of
from tests.workers import eventually

SECONDS = 60.0

APP = """
    import os, subprocess, sys
    from celery import Celery, signals

    @signals.worker_ready.connect
    def announce(**_):  # as every app made by `create_app` does
        os.write(int(os.environ["ORCHESTRATOR_READY_FD"]), b"1")

    app = Celery("nap", broker=os.environ["ORCHESTRATOR_BROKER_URL"], backend=os.environ["ORCHESTRATOR_STORE_URL"])
    app.conf.update(task_acks_late=True, broker_connection_retry_on_startup=True)

    @app.task(name="add")
    def add(left, right):
        return left + right

    @app.task(name="litter")
    def litter():
        # A grandchild in a session of its own, whose parent has gone: nothing but its ancestry tells whose it is.
        detach = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
        subprocess.run([sys.executable, "-c", detach])
        open("littered", "w").close()
        import time; time.sleep(600)
"""
COMMAND = """
    import sys
    from pathlib import Path
    from orchestrator.embedded import Stack, StackOptions

    with Stack(StackOptions(home=Path("home"), app="nap_app", workers=int(sys.argv[1]), concurrency=2)) as stack:
        stack.wait_ready()
        print(stack.url, flush=True)
        sys.stdin.read()
        stack.stop(idle=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small Celery app."""
    (tmp_path / "nap_app.py").write_text(textwrap.dedent(APP))
    (tmp_path / "command.py").write_text(textwrap.dedent(COMMAND))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Command:
    """A process that holds a stack, as `orchestrator run` does."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.home = folder / "home"
        self.process = subprocess.Popen(
            [sys.executable, "command.py", str(workers)], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().strip()
        assert self.url, (self.home / "logs" / "guardian.log").read_text()
        self.tree = tree_of(self.process)

    @property
    def guardian(self) -> psutil.Process:
        return psutil.Process(self.process.pid).children()[0]

    def find(self, word: str) -> psutil.Process:
        found = find(self.tree, word)
        assert found is not None
        return found

    def finish(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(SECONDS)

    def sockets(self) -> list[Path]:
        return [path for path in self.home.rglob("*") if path.is_socket()]


StartCommand = Callable[[int], Command]


@pytest.fixture
def start_command(folder: Path) -> Iterator[StartCommand]:
    started: list[Command] = []

    def start(workers: int) -> Command:
        started.append(Command(folder, workers))
        return started[-1]

    yield start
    for command in started:
        command.process.kill()
        command.process.wait()
        for process in command.tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for stream in (command.process.stdin, command.process.stdout):
            if stream is not None:
                stream.close()


def store(url: str) -> redis.Redis:
    return redis.Redis(unix_socket_path=url.removeprefix("redis+socket://").partition("?")[0])


def add(folder: Path, url: str) -> int:
    """Let a worker of the stack add two numbers."""
    script = "import nap_app; print(nap_app.app.send_task('add', (19, 23)).get(timeout=60))"
    env = {**os.environ, "ORCHESTRATOR_BROKER_URL": url, "ORCHESTRATOR_STORE_URL": url}
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, check=True)
    return int(done.stdout)


def test_the_server_is_durable_refuses_eviction_and_workers_work(folder: Path, start_command: StartCommand) -> None:
    command = start_command(1)
    with store(command.url) as client:
        settings = client.config_get("append*", "maxmemory-policy", "save", "port")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["port"] == "0"
    assert add(folder, command.url) == 42
    assert command.sockets()
    assert command.finish() == 0
    assert_gone(command.tree, 20)
    assert not command.sockets()


def test_data_stays_for_the_next_start(folder: Path) -> None:
    options = StackOptions(home=folder / "home", workers=0)
    with Stack(options) as stack, store(stack.url) as client:
        client.set("kept", "1")
    with Stack(options) as stack, store(stack.url) as client:
        assert client.get("kept") == b"1"
    assert running_url(folder / "home") is None


def test_processes_that_agents_left_behind_end_too(folder: Path, start_command: StartCommand) -> None:
    command = start_command(1)
    script = "import nap_app; nap_app.app.send_task('litter', ignore_result=True)"
    env = {**os.environ, "ORCHESTRATOR_BROKER_URL": command.url, "ORCHESTRATOR_STORE_URL": command.url}
    subprocess.run([sys.executable, "-c", script], cwd=folder, env=env, check=True)
    eventually((folder / "littered").exists, within=SECONDS, what="the task has littered")
    tree = [command.guardian, *command.guardian.children(recursive=True)]
    assert all(find(tree, name) for name in ("sleep", "valkey-server"))
    os.kill(command.process.pid, signal.SIGKILL)
    command.process.wait(SECONDS)
    assert_gone(tree, 20)
    assert not command.sockets()


def test_a_killed_guardian_takes_server_and_workers_with_it(start_command: StartCommand) -> None:
    command = start_command(1)
    command.guardian.kill()
    assert_gone(command.tree, 20)


def test_a_killed_server_comes_back_with_its_data(start_command: StartCommand) -> None:
    command = start_command(0)
    with store(command.url) as client:
        client.set("kept", "1")
    server = command.find("valkey-server")
    server.kill()
    assert_gone([server], 20)
    eventually(lambda: running_url(command.home) is not None, within=SECONDS, what="a new server answers")
    with store(command.url) as client:
        assert client.get("kept") == b"1"
    assert command.finish() == 0


def test_two_commands_share_one_server_and_the_last_one_ends_it(folder: Path, start_command: StartCommand) -> None:
    first, second = start_command(1), start_command(1)
    assert first.url == second.url
    worker = first.find("--without-mingle")
    workers = [worker, *worker.children()]
    assert first.finish() == 0  # although its guardian stays for the second
    assert_gone(workers, 20)
    assert add(folder, second.url) == 42
    assert second.finish() == 0
    assert_gone([*first.tree, *second.tree], 20)
    assert not second.sockets()


def test_another_command_takes_over_when_the_owner_of_the_server_is_killed(
    folder: Path, start_command: StartCommand
) -> None:
    first, second = start_command(0), start_command(1)
    with store(first.url) as client:
        client.set("kept", "1")
    first.guardian.kill()
    assert_gone(first.tree, 20)
    eventually(lambda: running_url(second.home) == second.url, within=SECONDS, what="the second has taken over")
    with store(second.url) as client:
        assert client.get("kept") == b"1"
    assert add(folder, second.url) == 42
    tree = tree_of(second.process)
    assert second.finish() == 0
    assert_gone(tree, 20)


def test_a_long_home_gets_a_short_socket(folder: Path) -> None:
    home = folder / ("long" * 30) / "home"
    with Stack(StackOptions(home=home, workers=0)) as stack, store(stack.url) as client:
        socket = Path(stack.url.removeprefix("redis+socket://").partition("?")[0])
        assert client.ping()
        assert socket.parent.stat().st_mode & 0o077 == 0
    assert not socket.parent.exists()
