"""Workers by class: pools from the engine file, and a local stack that is scaled while it works."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.acceptance.kitchen import Kitchen
from tests.workers import eventually

ENGINE = """
workers:
  default: {min: 1, max: 2}
  classes:
    taste: {pool: threads, max: 3}
    burn: {max: 1, shared: false}
    explode: {max: 99, cpu_bound: true}
"""


@pytest.fixture
def kitchen(tmp_path: Path) -> Iterator[Kitchen]:
    kitchen = Kitchen.build(tmp_path)
    (tmp_path / "config" / "engine.yaml").write_text(ENGINE)
    yield kitchen
    kitchen.close()


def commands(kitchen: Kitchen) -> dict[str, str]:
    """Worker -> its command line, of the processes that work in this kitchen."""
    found = {}
    for process in psutil.process_iter(["cmdline", "cwd", "ppid"]):
        line = process.info["cmdline"] or []
        if process.info["cwd"] == str(kitchen.folder) and "-n" in line and "kitchen_app" in line:
            found[line[line.index("-n") + 1].removesuffix("@%h")] = " ".join(line)
    return found


def test_a_worker_runs_as_its_class_says(kitchen: Kitchen) -> None:
    said = {
        classes: kitchen.call("worker", "--agents", classes, "--options").stdout.strip()
        for classes in ("cook", "taste", "burn", "cook,burn", "explode")
    }
    cores = len(psutil.Process().cpu_affinity() or ())
    assert said == {
        "cook": "--pool prefork --autoscale=2,1",
        "taste": "--pool threads --concurrency=3",
        "burn": "--pool prefork --concurrency=1",
        "cook,burn": "--pool prefork --autoscale=2,1",
        "explode": f"--pool prefork --autoscale={cores},1" if cores > 1 else "--pool prefork --concurrency=1",
    }
    whole = kitchen.call("worker", "--options").stdout.strip()
    assert whole == "--pool prefork --autoscale=2,1 -X agents.taste,agents.burn"
    assert kitchen.call("worker", "--concurrency", "7", "--options").stdout.startswith("--pool prefork --concurrency=7")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("worker", "--agents", "cook,taste", "--options"), 2, "one worker has one pool"),
        (("scale", "cook", "2"), 69, "no `orchestrator up` runs here"),
        (("scale", "cook", "65"), 2, "0<=x<=64"),
        (("scale", "co ok", "1"), 2, "no agent class"),
        (("up", "--scale", "cook"), 2, "write CLASS=N"),
        (("up", "--scale", "cook=many"), 2, "write CLASS=N"),
    ],
)
def test_what_is_refused(kitchen: Kitchen, arguments: tuple[str, ...], status: int, said: str) -> None:
    done = kitchen.call(*arguments)
    assert done.returncode == status, done.stderr
    assert said in done.stderr


def test_a_stack_is_scaled_while_it_works_and_no_step_is_ended(kitchen: Kitchen) -> None:
    up = kitchen.start("up", "--no-beat", "--agents", "burn", "--scale", "agents.cook=2")
    assert up.stdout is not None
    for line in (up.stdout.readline(), up.stdout.readline()):
        name, _, value = line.removeprefix("export ").strip().partition("=")
        kitchen.environment[name] = value.strip("'")
    assert set(commands(kitchen)) == {"worker-1", "cook-1", "cook-2"}
    assert "-Q agents.cook" in commands(kitchen)["cook-1"]
    run_id = kitchen.call("submit", "stew").stdout.strip()
    eventually(lambda: kitchen.begun(run_id, "simmer"), within=30, what="the long step runs")
    for number in ("3", "0", "1"):
        told = f"cook: {number} worker{'' if number == '1' else 's'}\n"
        scale = partial(kitchen.call, "scale", "agents.cook", number)
        eventually(lambda scale=scale, told=told: scale().stdout == told, within=90, what=told)  # type: ignore[misc]
    eventually(lambda: set(commands(kitchen)) == {"worker-1", "cook-1"}, within=30, what="one of its own is left")
    assert kitchen.call("watch", run_id).returncode == 0
    steps = kitchen.data("show", run_id)["steps"]
    assert {step["attempts"] for step in steps.values()} == {1}
    up.send_signal(signal.SIGTERM)
    up.communicate(timeout=90)
    eventually(lambda: not commands(kitchen), within=20, what="nothing runs here any more")
