"""Inputs and names as they are written on the command line."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click
import pytest

from orchestrator.cli.targets import check_id, find_definition, parse_inputs
from orchestrator.errors import NotFound


def test_inputs_are_text_unless_they_say_json(tmp_path: Path) -> None:
    (tmp_path / "brief.md").write_bytes(b"\xef\xbb\xbf# Brief\r\n")
    assert parse_inputs(
        ["a=1", "b=x=y", "c=", f"brief=@{tmp_path}/brief.md", 'd:={"n": [1, 2.5, null]}', "pm.user_stories:=[]"]
    ) == {
        "a": "1",
        "b": "x=y",
        "c": "",
        "brief": "# Brief\r\n",
        "d": {"n": [1, 2.5, None]},
        "pm.user_stories": [],
    }


def test_an_input_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("é".encode())))
    assert parse_inputs(["a=@-"]) == {"a": "é"}
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(click.UsageError, match="closed"):
        parse_inputs(["a=@-"])


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["a"], "key=value"),
        (["=x"], "key=value"),
        (["a b=x"], "key=value"),
        ([".a=x"], "key=value"),
        (["a..b=x"], "key=value"),
        (["a=1", "a=2"], "given twice"),
        (["a=1", "a:=2"], "given twice"),
        (["a=@missing.json"], "No such file"),
        (["a=@"], "cannot be read"),
        (["a=@."], "directory"),
        (["a:={"], "no JSON"),
        (["a:=NaN"], "no JSON"),
        (["a:=-Infinity"], "no JSON"),
        (["a:=" + "[" * 100_000], "no JSON"),
    ],
)
def test_malformed_inputs_are_usage_errors(pairs: list[str], words: str) -> None:
    with pytest.raises(click.UsageError, match=words):
        parse_inputs(pairs)


def test_a_binary_file_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(click.UsageError, match=r"image\.png is no text file"):
        parse_inputs([f"a=@{tmp_path}/image.png"])


@pytest.mark.parametrize("text", ["", "*", "a/b", "../x", "a" * 65, "a b", "a\n", "é"])
def test_ids_that_cannot_exist_are_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        check_id(text, "run")
    assert check_id("0123456789abcdef", "run") == "0123456789abcdef"


def test_a_name_is_no_file_and_a_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "config" / "workflows"
    folder.mkdir(parents=True)
    (folder / "tea.yml").touch()
    assert find_definition("tea") == Path("config/workflows/tea.yml")
    assert find_definition("coffee") is None
    (tmp_path / "tea").touch()
    assert find_definition("tea") == Path("tea")
