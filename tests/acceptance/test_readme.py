"""What README.md says is executed: its Python, its files, its commands, and its tables against the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from orchestrator import errors
from orchestrator.embedded import Stack, StackOptions
from orchestrator.environment import PREFIX, Environment

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `tested` is written behind its language, then the name that the text tells to save it under."""

    language: str
    marks: tuple[str, ...]
    text: str

    @property
    def tested(self) -> bool:
        return "tested" in self.marks

    @property
    def commands(self) -> list[str]:
        return [
            line.removeprefix("$ ").partition("  #")[0].strip()
            for line in self.text.splitlines()
            if line.startswith("$ ")
        ]


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text()


@pytest.fixture(scope="module")
def blocks(readme: str) -> list[Block]:
    found = []
    for token in MarkdownIt().parse(readme):
        if token.type == "fence":
            language, *marks = token.info.split()
            found.append(Block(language, tuple(marks), token.content))
    return found


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder as the reader has it, with a home of its own."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("config", "tasks"):
        (folder / name).symlink_to(root / name)
    return folder


@pytest.fixture(scope="module")
def environment(root: Path, folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "CELERY_"))}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "NO_COLOR": "1",
    }


def _run(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=250
    )


@pytest.fixture
def stack(folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """What `orchestrator up` starts, in the reader's folder."""
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name not in environment]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Stack(StackOptions(home=folder / ".orchestrator")) as stack:
        stack.wait_ready()
        yield stack


def test_it_opens_with_what_it_is_and_the_two_commands(readme: str, blocks: list[Block], root: Path) -> None:
    assert readme.startswith("# Orchestrator\n\nRuns workflows of agents on Celery workers")
    assert blocks[0].commands == ["make demo", "make test"]
    for command in blocks[0].commands:
        subprocess.run([*command.split(), "--dry-run"], cwd=root, check=True, capture_output=True)


def test_the_example_has_ten_lines(blocks: list[Block]) -> None:
    example = next(block for block in blocks if block.language == "python")
    assert len([line for line in example.text.splitlines() if line]) <= 10


@pytest.mark.usefixtures("stack")
def test_the_python_example_runs_on_the_local_stack(
    blocks: list[Block], folder: Path, environment: dict[str, str]
) -> None:
    example = next(block for block in blocks if block.language == "python" and block.tested)
    (folder / "example.py").write_text(example.text)
    done = _run(f"{sys.executable} example.py", folder, environment)
    assert (done.stdout, done.returncode) == ("success\n", 0), done.stderr


def test_the_agent_of_the_readme_works(blocks: list[Block], folder: Path, environment: dict[str, str]) -> None:
    (block,) = (block for block in blocks if block.language == "python" and "@agent(" in block.text)
    (folder / "shout.py").write_text(block.text)
    done = _run(f"{sys.executable} shout.py", folder, environment)
    assert done.returncode == 0, done.stderr


def test_the_commands_work_on_the_files_of_the_readme(
    blocks: list[Block], folder: Path, environment: dict[str, str]
) -> None:
    for block in blocks:
        if block.language == "yaml" and block.tested:
            (folder / block.marks[-1]).write_text(block.text)
    commands = [
        command for block in blocks if block.language == "console" and block.tested for command in block.commands
    ]
    assert len(commands) >= 3
    for command in commands:
        done = _run(command, folder, environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_no_other_command_is_named_than_there_is(readme: str, folder: Path, environment: dict[str, str]) -> None:
    named = set(re.findall(r"(?:\$ |`)orchestrator (\w+)", readme))
    assert {"up", "run", "plan", "validate"} <= named
    for command in named:
        assert _run(f"orchestrator {command} --help", folder, environment).returncode == 0, command


def _first_column(readme: str, title: str) -> set[str]:
    section = readme.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return {row.strip("`") for row in re.findall(r"^\| (\S+) \|", section, re.MULTILINE)} - {"Variable", "Status"}


def test_every_environment_variable_is_listed(readme: str) -> None:
    assert _first_column(readme, "Environment") == {PREFIX + name.upper() for name in Environment.model_fields}


def test_every_exit_status_is_listed(readme: str) -> None:
    ours = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.OrchestratorError)
    }
    assert {int(status) for status in _first_column(readme, "Exit status")} == {0, INTERRUPTED} | ours
