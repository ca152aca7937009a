"""A small project for tests of the command line: an app with a few agents, and workflows for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

import psutil

import orchestrator.client  # noqa: F401 - for the commands, which are forked from here
from orchestrator.cli import main
from tests.workers import eventually

SECONDS = 120
APP = """
    import os, subprocess, sys, time
    from pathlib import Path
    from orchestrator import agent
    from orchestrator.engine.app import create_app
    from orchestrator.settings import EngineSettings, Environment, Runtime

    @agent("cook")
    def cook(ctx):
        seconds = float(ctx.params.get("seconds", 0.1))
        Path(f"begun-{ctx.run_id}-{ctx.step_id}").touch()
        ctx.log.info("cooking for %s s", seconds)
        began, until = time.monotonic(), Path(ctx.params.get("until", "."))
        other = Path(f"begun-{ctx.run_id}-{ctx.params['meets']}" if "meets" in ctx.params else ".")
        while time.monotonic() - began < seconds or not (until.exists() and other.exists()):
            ctx.progress(min(1.0, (time.monotonic() - began) / seconds), "simmering")
            time.sleep(0.05)
        with Path(f"effects-{ctx.run_id}").open("a") as effects:
            effects.write(ctx.step_id + "\\n")
        ctx.artifact("plates/note.txt", f"{ctx.step_id} is served")
        return {"dish": ctx.step_id, "guest": ctx.inputs.get("guest")}

    @agent("burn")
    def burn(ctx):
        raise ValueError("the oven is too hot")

    @agent("taste")
    def taste(ctx):
        if not Path("salt").exists():
            raise ValueError("there is no salt")
        return cook(ctx)

    @agent("explode")
    def explode(ctx):
        if not Path("valve").exists():
            os.kill(os.getpid(), 9)
        return {}

    @agent("litter")
    def litter(ctx):
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        Path("littered").touch()
        time.sleep(600)

    environment = Environment.load()
    lease = float(os.environ.get("KITCHEN_LEASE", "10"))
    quick = Runtime(lease_seconds=lease, renew_seconds=0.5, sweep_seconds=0.5, lost_after=2.0,
                    cancel_grace=0.5)
    app = create_app(environment.broker_url, environment.store_url, EngineSettings(engine=quick),
                     workflows=[Path(__file__).parent / "config" / "workflows" / "tea.yaml"])
"""
TEA = """
    name: tea
    description: Tea for two.
    steps:
      - {id: kettle, agent: cook, with: {seconds: 0.3, meets: cups}, estimated_duration: 4m, description: Boils water.}
      - {id: cups, agent: cook, with: {seconds: 0.3, meets: kettle}, estimated_duration: 1m}
      - {id: serve, agent: cook, needs: [kettle, cups], estimated_duration: 1m}
"""
BURNT = """
    name: burnt
    steps:
      - {id: toast, agent: burn, retry: {maximum_attempts: 1}}
      - {id: breakfast, agent: cook, needs: [toast]}
"""
LITTER = """
    name: litter
    steps:
      - {id: pots, agent: litter}
"""
STEW = """
    name: stew
    steps:
      - {id: chop, agent: cook, with: {seconds: 0.2}}
      - {id: simmer, agent: cook, with: {seconds: 2}, needs: [chop]}
      - {id: eat, agent: cook, needs: [simmer]}
"""
FEAST = """
    name: feast
    steps:
      - {id: chop, agent: cook, with: {seconds: 0.2}}
      - {id: roast, agent: cook, with: {seconds: 600}, needs: [chop]}
"""
SOUP = """
    name: soup
    steps:
      - {id: chop, agent: cook}
      - {id: simmer, agent: cook, with: {until: lid}, needs: [chop]}
      - {id: taste, agent: taste, needs: [simmer], retry: {maximum_attempts: 1}}
      - {id: eat, agent: cook, needs: [taste]}
"""
COOKER = """
    name: cooker
    steps:
      - {id: pressure, agent: explode}
      - {id: rice, agent: cook, needs: [pressure]}
"""
BUFFET = """
    name: buffet
    steps:
      - {id: soup, agent: cook, with: {seconds: 0.2}, priority: 9}
      - {id: salad, agent: cook, with: {seconds: 0.2}, priority: 6}
      - {id: dessert, agent: cook, needs: [fish, roast, salad]}
    execution_groups:
      mains:
        parallel_capable: true
        agents:
          - {id: roast, agent: cook, with: {seconds: 0.2}, priority: 7}
          - {id: fish, agent: cook, with: {seconds: 0.2}, priority: 8}
"""
WRONG = """
    name: wrong
    steps:
      - {id: kettle, agent: cook, tmieout: 10m}
      - {id: serve, agent: cook, needs: [ketle]}
"""


@dataclass
class Kitchen:
    """The project's folder, and the command line in it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @classmethod
    def build(cls, folder: Path) -> Kitchen:
        workflows = folder / "config" / "workflows"
        workflows.mkdir(parents=True)
        (folder / "kitchen_app.py").write_text(textwrap.dedent(APP))
        texts = {"tea": TEA, "burnt": BURNT, "litter": LITTER, "stew": STEW, "feast": FEAST, "wrong": WRONG,
                 "soup": SOUP, "cooker": COOKER, "buffet": BUFFET}  # fmt: skip
        for name, text in texts.items():
            (workflows / f"{name}.yaml").write_text(textwrap.dedent(text))
        return cls(folder)

    @property
    def home(self) -> Path:
        return self.folder / ".orchestrator"

    def env(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
        return {**inherited, "ORCHESTRATOR_APP": "kitchen_app", **self.environment}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """The command, running in the background; text comes out of its pipes."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        command = [sys.executable, "-m", "orchestrator", *arguments]
        process = subprocess.Popen(command, cwd=self.folder, env=self.env(), text=True, **{**pipes, **options})
        self.started.append(process)
        return process

    def close(self) -> None:
        """End what a failed test has left running; a stack ends with the command that holds it."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def call(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command to its end; `text` is its standard input.

        It is forked from here, where its modules are loaded already: loading them takes longer than most commands.
        """
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            said.write(text.encode())
            said.seek(0)
            pid = os.fork()
            if pid == 0:
                _become(arguments, self.folder, self.env(), (said, out, err))
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            return subprocess.CompletedProcess(arguments, status, _text(out), _text(err))

    def anew(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same for a command that loads the application: the agents of other tests are known where `call` forks."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def together(self, *calls: Sequence[str]) -> list[subprocess.CompletedProcess[str]]:
        """Several commands at the same time; their results in the order given."""
        with ThreadPoolExecutor(len(calls)) as threads:
            return list(threads.map(lambda arguments: self.call(*arguments), calls))

    def data(self, *arguments: str, status: int = 0) -> Any:
        """What the command prints with `-o json`."""
        run = self.anew if arguments[0] == "doctor" else self.call
        done = run(*arguments, "-o", "json")
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    def sockets(self) -> list[Path]:
        return [path for path in self.home.rglob("*") if path.is_socket()]

    def begun(self, run_id: str, step: str) -> bool:
        """Whether an attempt of the step has started."""
        return (self.folder / f"begun-{run_id}-{step}").exists()

    def effects(self, run_id: str) -> Sequence[str]:
        """The steps that have had their effect, in order, once for each time."""
        file = self.folder / f"effects-{run_id}"
        return file.read_text().split() if file.exists() else []


def _become(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], streams: Sequence[IO[bytes]]
) -> NoReturn:
    """In a forked process: the command, as if it had just been started in that folder. It is killed when it hangs."""
    status = 255
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - until it ends
        status = main(arguments)
        sys.stderr.flush()
    finally:
        os._exit(status)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended; a zombie has."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def tree_of(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    """All that has come of a process and is still below it."""
    return psutil.Process(process.pid).children(recursive=True)


def assert_gone(processes: Sequence[psutil.Process], within: float) -> None:
    """They end; whether their parents have noticed is not asked."""
    eventually(lambda: not any(map(runs, processes)), within=within, what="the processes have ended")


def find(tree: Sequence[psutil.Process], word: str) -> psutil.Process | None:
    """The first process of a tree that has `word` in its command line."""
    for process in tree:
        try:
            if any(word in part for part in process.cmdline()):
                return process
        except psutil.NoSuchProcess:
            continue
    return None
