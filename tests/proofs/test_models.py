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
    """All states of `tests/models/<model>.pml`, with these macros defined. Statements are not merged (-o3): Spin would
    not tell of the second of two merged ones that it is never reached."""
    flags = [f"-D{define}" for define in defines]
    _run(directory, "spin", *flags, "-o3", "-a", str(MODELS / f"{model}.pml"))
    _run(directory, "gcc", "-O1", "-DSAFETY", "-o", "pan", "pan.c")
    text = _run(directory, "./pan", "-m1000000")
    assert "max search depth too small" not in text
    found = re.search(r"errors: (\d+)\n\s*(\d+) states, stored", text)
    assert found, text
    unreached = {name: int(number) for name, _, number in _UNREACHED.findall(text)}
    return Verdict(int(found[1]), int(found[2]), unreached, text)


def _run(directory: Path, *command: str) -> str:
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.parametrize(
    ("model", "defines", "processes", "least"),
    [
        ("lock", (), {"Agent", "Clock"}, 10_000),
        ("lease", (), {"Worker", "Sweep"}, 10_000),
        ("barrier", ("KILLS=2",), {"Worker", "Sweep"}, 1_000_000),
    ],
)
def test_the_protocol_holds_in_every_state(
    tmp_path: Path, model: str, defines: tuple[str, ...], processes: set[str], least: int
) -> None:
    verdict = check(model, tmp_path, *defines)
    print(f"{model}: {verdict.states} states")
    assert verdict.errors == 0, verdict.text
    assert verdict.unreached == dict.fromkeys(processes, 0), verdict.text
    assert verdict.states > least


STUCK = "invalid end state"
MISTAKES = {
    "lock": {
        "FENCE_LAST": "assertion violated (value==written)",
        "NO_FENCE": "assertion violated (value==written)",
        "NO_HANDOVER": STUCK,
        "NO_SWEEP": STUCK,
        "RELEASE_ANY": "assertion violated (holder==255)",
    },
    "lease": {
        "NO_TOKEN": "assertion violated (token==mine)",
        "FENCE_LAST": "assertion violated (token==mine)",
        "NO_NONCE": "assertion violated (ending!=mine)",
        "CLAIM_ANY": "assertion violated  !(leased)",
        "NO_BOUND": "assertion violated (token<=3)",
        "NO_SWEEP": STUCK,
        "NO_MESSAGE_SWEEP": STUCK,
    },
    "barrier": {
        "NO_JOIN_SWEEP": STUCK,
        "NO_RELEASE_SWEEP": STUCK,
        "NO_LEASE_SWEEP": STUCK,
        "NO_MESSAGE_SWEEP": STUCK,
        "NO_LATE_GUARD": "assertion violated  !(decided)",
        "NO_TOKEN": "assertion violated (token[who]==mine)",
        "COUNTING": "assertion violated (0||",
        "MANY_FALLBACKS": "assertion violated (fallbacks==1)",
        "SIDE_BY_SIDE": "assertion violated ( !(fell)||",
        "MANY_EXTENSIONS": "assertion violated (extensions<=1)",
        "DECIDE_TWICE": "assertion violated (releases==1)",
    },
}
"""Model -> the mistake that is built in by a macro -> what Spin says to it."""


@pytest.mark.parametrize(("model", "mistake"), [(model, name) for model, found in MISTAKES.items() for name in found])
def test_each_mistake_is_found(tmp_path: Path, model: str, mistake: str) -> None:
    verdict = check(model, tmp_path, mistake)
    assert verdict.errors == 1
    assert MISTAKES[model][mistake] in verdict.text


@pytest.mark.parametrize(("model", "never"), [("lock", "STOPS=0"), ("lease", "TWICE=0"), ("barrier", "KILLS=0")])
def test_lines_that_are_never_reached_are_noticed(tmp_path: Path, model: str, never: str) -> None:
    assert sum(check(model, tmp_path, never).unreached.values()) > 0
