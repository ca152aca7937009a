"""Spin looks at every state of our protocols: the models hold, all of their lines are reached, and each mistake that is
built into them is found. A model nobody runs through proves nothing, which only the latter two show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.proofs

MODELS = Path(__file__).parents[1] / "models"
_UNREACHED = re.compile(r"unreached in proctype (\w+)\n((?:\t.*\n)*?)\t\((\d+) of \d+ states\)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Spin says of a model: errors, states that it visited, and lines of processes that it never reached."""

    errors: int
    states: int
    unreached: dict[str, int]
    text: str


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Spin and a C compiler; where they are promised, their absence is an error."""
    missing = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian packages of these names)")


def check(model: str, directory: Path, *defines: str) -> Verdict:
    """All states of `tests/models/<model>.pml`, with these macros defined."""
    flags = [f"-D{define}" for define in defines]
    _run(directory, "spin", *flags, "-a", str(MODELS / f"{model}.pml"))
    _run(directory, "gcc", "-O1", "-DSAFETY", "-o", "pan", "pan.c")
    text = _run(directory, "./pan", "-m1000000")
    assert "max search depth too small" not in text
    found = re.search(r"errors: (\d+)\n\s*(\d+) states, stored", text)
    assert found, text
    unreached = {name: int(number) for name, _, number in _UNREACHED.findall(text)}
    return Verdict(int(found[1]), int(found[2]), unreached, text)


def _run(directory: Path, *command: str) -> str:
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True, timeout=300).stdout


def test_the_lock_loses_no_update_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    verdict = check("lock", tmp_path)
    print(f"lock: {verdict.states} states")
    assert verdict.errors == 0, verdict.text
    assert verdict.unreached == {"Agent": 0, "Clock": 0}, verdict.text
    assert verdict.states > 10_000


@pytest.mark.parametrize(
    ("mistake", "complaint"),
    [
        ("FENCE_LAST", "assertion violated (value==written)"),
        ("NO_FENCE", "assertion violated (value==written)"),
        ("NO_HANDOVER", "invalid end state"),
        ("NO_SWEEP", "invalid end state"),
        ("RELEASE_ANY", "assertion violated (holder==255)"),
    ],
)
def test_each_mistake_in_the_lock_is_found(tmp_path: Path, mistake: str, complaint: str) -> None:
    verdict = check("lock", tmp_path, mistake)
    assert verdict.errors == 1
    assert complaint in verdict.text


def test_lines_that_are_never_reached_are_noticed(tmp_path: Path) -> None:
    assert check("lock", tmp_path, "STOPS=0").unreached["Agent"] > 0
