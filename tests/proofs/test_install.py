"""A service installs the wheel as a user does: small, complete, and without the agents of this deployment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.proofs, pytest.mark.timeout(600)]

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def service(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has the wheel and what it needs, nothing else."""
    folder = tmp_path_factory.mktemp("service")
    python = folder / "venv/bin/python"
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        str(root / "constraints.txt"),
        str(wheel),
    ]
    subprocess.run(install, check=True)
    return python


def _output(python: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *arguments], cwd=python.parent, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_the_install_is_small(service: Path) -> None:
    packages = {package["name"] for package in json.loads(_output(service, "-m", "pip", "list", "--format=json"))}
    installed = packages - {"pip", "setuptools"}
    environment = service.parents[1]
    size = sum(path.lstat().st_size for path in environment.rglob("*") if path.is_file())
    print(f"{len(installed)} packages, {size / MEGABYTE:.0f} MB with pip")
    assert "orchestrator" in installed
    assert len(installed) <= 60
    assert size <= 150 * MEGABYTE


def test_the_front_door_and_the_command_open(service: Path) -> None:
    names = "import orchestrator; print(all(getattr(orchestrator, name) for name in orchestrator.__all__))"
    assert _output(service, "-c", names) == "True\n"
    help_text = subprocess.run(
        [str(service.parent / "orchestrator"), "--help"], check=True, capture_output=True, text=True
    )
    assert "Usage:" in help_text.stdout
