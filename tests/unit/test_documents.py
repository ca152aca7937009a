"""Documents: positions, what is refused, and limits that hold against hostile text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import documents
from orchestrator.documents import MAX_BYTES, Doubtful, load_document, parse_document, wrap_value


def messages(text: str) -> list[str]:
    return [str(problem) for problem in parse_document(text, "f.yaml").problems]


def test_every_value_and_key_knows_where_it_stands() -> None:
    document = parse_document("steps:\n  - id: pm\n    needs: [a, b]\n  - id: qa\n")
    assert document.value == {"steps": [{"id": "pm", "needs": ["a", "b"]}, {"id": "qa"}]}
    assert document.position(("steps", 0, "needs", 1)) == (3, 16)
    assert document.position(("steps", 0, "needs"), of_key=True) == (3, 5)
    assert document.position(("steps", 1, "id")) == (4, 9)
    assert document.position(("steps", 1, "missing", 4)) == (4, 5)
    assert document.text(("steps", 1, "id")) == "qa"
    assert document.text(("steps", 1)) is None


SCALARS = [
    ("1", 1),
    ("-7", -7),
    ("0x1F", 31),
    ("1.5", 1.5),
    ("1e3", 1000.0),
    ("true", True),
    ("FALSE", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("text", "text"),
    ("3-5_minutes", "3-5_minutes"),
    ('"no"', "no"),
    ("'010'", "010"),
    ("!!str 12", "12"),
    ("!!int 12", 12),
]


@pytest.mark.parametrize(("written", "value"), SCALARS)
def test_scalars_are_read_as_every_yaml_reader_reads_them(written: str, value: object) -> None:
    document = parse_document(f"key: {written}")
    assert document.problems == ()
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)


@pytest.mark.parametrize(
    "written", ["no", "Yes", "ON", "off", "010", "0o17", "0b11", "1:30", "1_000", "2024-01-01", ".nan", "-.inf"]
)
def test_scalars_that_readers_disagree_about_keep_their_text(written: str) -> None:
    value = parse_document(f"key: {written}").value["key"]
    assert type(value) is Doubtful
    assert value == written


REFUSED = [
    ("a: 1\nb: 2\na: 3", "f.yaml:3:1: a: the key 'a' stands here twice, first in line 1, column 1"),
    ("x:\n  a: 1\n  a: 1", "f.yaml:3:3: x.a: the key 'a' stands here twice, first in line 2, column 3"),
    ("x: !!python/object/apply:os.system [ls]", "f.yaml:1:4: x: the tag '!!python/object/apply:os.system' is not"),
    ("x: !!binary aGk=", "the tag '!!binary' is not accepted"),
    ("x: !!int pm", "'pm' is no int"),
    ("1: x", "f.yaml:1:1: the key 1 is no text"),
    ("no: x", "the key no is no text"),
    ("? [a]\n: x", "the key a list of 1 is no text"),
    ("a: 1\n---\nb: 2", "f.yaml:2:1: a second document begins here"),
    ("a: &x [*x]", "the alias *x contains itself"),
    ("a: *x", "f.yaml:1:4: a: the alias *x names no anchor"),
    ("a: [", "this is no YAML"),
    ("a: b: c", "f.yaml:1:5"),
    ("a: \x00", "control characters are not allowed"),
    ("a: " + "1" * 1000, "is too large"),
    ("a: 1e999", "is too large"),
    ("<<: 3", "merges mappings only"),
    ("a: \ud800", "half a surrogate pair"),
    ('{"a": "\\ud800"}', "this is no YAML"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=lambda value: repr(value)[:30])
def test_what_is_refused_and_where(text: str, message: str) -> None:
    found = messages(text)
    assert len(found) == 1
    assert message in found[0]


def test_merge_keys_add_what_is_not_written() -> None:
    document = parse_document("a: &a {x: 1, y: 2}\nb: &b {z: 3}\nc:\n  <<: [*a, *b]\n  y: 9\n")
    assert document.value["c"] == {"x": 1, "y": 9, "z": 3}
    assert document.position(("c", "x")) == (1, 11)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "a:\n"])
def test_deep_nesting_is_refused_and_not_recursed_into(opening: str) -> None:
    text = opening * 100_000 if opening != "a:\n" else "".join(" " * level + opening for level in range(2000))
    assert "deeper than 64 levels" in messages(text)[0]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    assert "more than 1,000,000 values" in messages("\n".join(lines))[0]


KEYS = st.text(max_size=80)
"""YAML takes no simple key of more than 1024 characters, and an escaped one takes twelve."""


def test_aliases_cannot_hide_depth() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 80)]
    assert "deeper than 64 levels" in messages("\n".join(lines))[0]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=10,
    )
)
def test_json_is_read_as_json(value: object) -> None:
    for escaped in (True, False):
        document = parse_document(json.dumps(value, ensure_ascii=escaped))
        if document.problems:
            assert not escaped, "characters that YAML cannot hold have to be escaped, and then they are read"
        else:
            assert document.value == value


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\uf8f0"])
def test_what_yaml_once_took_for_a_line_break_is_a_character(character: str) -> None:
    for text in (f'"a{character}b"', f"a{character}b"):
        document = parse_document(text)
        assert (document.value, document.problems) == (f"a{character}b", ())


@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}&*!|>'\"#\n ,?%@`<\t0")), max_size=60))
def test_no_text_raises(text: str) -> None:
    document = parse_document(text)
    assert document.problems or document.value is None or isinstance(document.value, dict | list | str | int)


def test_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - x\r\n")
    document = load_document(path)
    assert document.value == {"a": 1, "b": ["x"]}
    assert document.position(("b", 0)) == (3, 5)


def _missing(path: Path) -> None: ...


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _latin(path: Path) -> None:
    path.write_bytes(b"a: 1\nb: caf\xe9\n")


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_missing, "No such file or directory"),
        (Path.mkdir, "it is a directory, not a file"),
        (_fifo, "it is no regular file"),
        (_latin, "it is not UTF-8 text: byte 0xe9 in line 2"),
        (_large, "more than the 33,554,432 allowed"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, make: object, reason: str) -> None:
    path = tmp_path / "w.yaml"
    assert callable(make)
    make(path)
    (problem,) = load_document(path).problems
    assert problem.source == str(path)
    assert reason in problem.message


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, float("nan")]}, "a[1]"),
        ({"a": {"b": {1, 2}}}, "a.b"),
        ({"a": b"x"}, "a"),
        ({"a": bytearray(b"x")}, "a"),
        ({"a": 2**4096}, "a"),
        ({"a": "\ud800"}, "a"),
        ({"a": {3: 4}}, "a"),
        ({"a": object()}, "a"),
    ],
)
def test_python_values_that_are_no_json_are_refused(value: object, path: str) -> None:
    assert [problem.path for problem in wrap_value(value).problems] == [path]


def test_python_values_have_the_same_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "deeper than 64" in wrap_value(endless).problems[0].message
    wide: object = "x"
    for _ in range(25):
        wide = [wide, wide]
    monkeypatch.setattr(documents, "MAX_NODES", 10_000)
    assert "larger than 10,000" in wrap_value(wide).problems[0].message
