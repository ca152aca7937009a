"""The command itself: what it imports, what it offers, and how mistakes are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from orchestrator.cli import main
from orchestrator.cli.root import COMMANDS, root

HEAVY = {"celery", "kombu", "redis", "networkx", "pydantic", "yaml", "rich"}


def imported(*arguments: str) -> set[str]:
    """The heavy packages that a fresh process has loaded after a command."""
    script = (
        "import sys\nfrom orchestrator.cli import main\n"
        f"main({list(arguments)!r})\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    nothing_there = os.environ | {"ORCHESTRATOR_HOME": "/nonexistent"}  # what has run here is no part of it
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=nothing_there)
    return HEAVY & set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    assert imported("--help") == set()
    assert imported("run", "--help") == set()


def test_validate_and_plan_do_not_load_celery_or_redis(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("name: one\nsteps:\n  - {id: a, agent: a}\n")
    assert imported("validate", str(file)) & {"celery", "kombu", "redis", "rich"} == set()
    assert imported("plan", str(file)) & {"celery", "kombu", "redis", "rich"} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_overview_says_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(root.get_command(click.Context(root), name), click.Command)
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"orchestrator {name}" in out
    assert "--debug" in out


def test_the_overview_lists_every_command_and_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert "124 timeout" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("orchestrator ")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["rnu"], 2, "did you mean 'run'"),
        (["xyzzy"], 2, "lists the commands"),
        (["--nonsense"], 2, "--nonsense"),
        (["run"], 2, "Missing argument"),
        (["run", "tea", "--inptu", "a=1"], 2, "--input"),
        (["run", "tea", "--workers", "0"], 2, "--workers"),
        (["run", "tea", "--timeout", "1:30"], 2, "duration"),
        (["run", "tea", "--timeout", "0"], 2, "above zero"),
        (["run", "nowhere.yaml"], 2, "there is no file"),
        (["run", "."], 2, "is a folder"),
        (["run", "nowhere"], 4, "no workflow is called 'nowhere'"),
        (["plan", "nowhere"], 4, "no workflow is called 'nowhere'"),
        (["show", "../../etc/passwd"], 4, "is no run id"),
        (["show", "*"], 4, "is no run id"),
        (["logs", "0123456789abcdef", "-o", "xml"], 2, "table"),
        (["logs", "0123456789abcdef", "--follow", "-o", "json"], 2, "--follow"),
        (["ls", "--state", "nonsense"], 2, "--state"),
        (["worker", "--agents", "a,,b"], 2, "is no agent class"),
        (["worker", "--name", "a b"], 2, "--name"),
        (["ls"], 69, "no Redis is configured"),
        (["submit", "nowhere"], 69, "orchestrator up"),
    ],
)
def test_what_is_wrong_is_told_in_a_few_lines_with_its_status(
    arguments: list[str],
    status: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert len(said.err.splitlines()) <= 4
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_the_file_that_was_probably_meant_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "config" / "workflows"
    folder.mkdir(parents=True)
    (folder / "product.yaml").write_text("name: product\nsteps: [{id: a, agent: a}]\n")
    assert main(["plan", "produkt"]) == 4
    assert "did you mean 'product'" in capsys.readouterr().err
    assert main(["plan", "config/workflows/prodcut.yaml"]) == 2
    assert "did you mean 'product.yaml'" in capsys.readouterr().err
    assert main(["plan", "product"]) == 0


def test_an_unknown_variable_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_BROKR_URL", "redis://:secret@somewhere")
    assert main(["ls"]) == 2
    said = capsys.readouterr().err
    assert "ORCHESTRATOR_BROKR_URL" in said
    assert "ORCHESTRATOR_BROKER_URL" in said
    assert "secret" not in said
