"""Canonical texts and their hashes: the same as RFC 8785 asks for, and a refusal that says where and why."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import struct
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel

from orchestrator.context import values
from orchestrator.context.normal import LARGEST_INTEGER, MAX_DEPTH, MAX_KEY
from orchestrator.context.values import canonical, content_hash, encode, same
from orchestrator.errors import AgentError, InvalidValue

LIMIT = 8_000_000


def text(value: Any, limit: int = LIMIT) -> str:
    return canonical(value, limit=limit, what="the output")


def refusal(value: Any, limit: int = LIMIT) -> str:
    with pytest.raises(InvalidValue) as caught:
        text(value, limit)
    assert isinstance(caught.value, AgentError)
    return str(caught.value)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    DRAFT = "draft"


class Loud(str):
    def __str__(self) -> str:
        return self.upper()


class Story(BaseModel):
    story_id: str = Field(alias="id")
    due: datetime.date | None = None
    points: float = 1.0


@dataclass
class Point:
    x: int = 0


# The number samples of RFC 8785, appendix B: the bits of a double, and its text.
APPENDIX_B = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "expected"), APPENDIX_B)
def test_numbers_are_written_as_the_rfc_writes_them(bits: str, expected: str) -> None:
    number = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert text(number) == expected
    assert text({"n": [number]}) == f'{{"n":[{expected}]}}'


def test_the_example_of_the_rfc() -> None:
    document = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    assert text(document) == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_by_utf_16_units() -> None:
    # RFC 8785, 3.2.3: by code points, the smiling face would be the last one.
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\u00f6"]
    assert list(json.loads(text(dict.fromkeys(keys)))) == [*"\r1\x80\u00f6\u20ac\U0001f600\ufb33"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\x7f\u2028\u0000\b\f\t", '"a\x7f\u2028\\u0000\\b\\f\\t"'),
        ((1, (2,)), "[1,[2]]"),
        ({"b": 1, "a": {"d": 1.0, "c": -0.0}}, '{"a":{"c":0,"d":1},"b":1}'),
        ({}, "{}"),
        ([], "[]"),
        ("", '""'),
        ({"": {"": []}}, '{"":{"":[]}}'),
        (LARGEST_INTEGER, "9007199254740991"),
        (-LARGEST_INTEGER, "-9007199254740991"),
        (10**20, "100000000000000000000"),
        (2**53, "9007199254740992"),
        (1e20, "100000000000000000000"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-05, "0.00001"),
        (OrderedDict([("b", 1), ("a", 2)]), '{"a":2,"b":1}'),
        (MappingProxyType({"b": MappingProxyType({})}), '{"b":{}}'),
        (Level.HIGH, "3"),
        ([Loud("a"), {Loud("b"): 1}], '["a",{"b":1}]'),
        ({Word.DRAFT: Word.DRAFT}, '{"draft":"draft"}'),
        (Story(id="US-1", due=datetime.date(2026, 1, 2)), '{"due":"2026-01-02","id":"US-1","points":1}'),
        ([{"story": Story(id="ö")}], '[{"story":{"due":null,"id":"ö","points":1}}]'),
        (RootModel[list[int]]([1, 2]), "[1,2]"),
    ],
)
def test_values_and_their_texts(value: Any, expected: str) -> None:
    assert text(value) == expected
    assert text({"inside": [value]}) == f'{{"inside":[{expected}]}}'


NO_JSON = [
    (math.nan, "is nan, which is no JSON number"),
    (math.inf, "is inf, which is no JSON number"),
    (-math.inf, "is -inf, which is no JSON number"),
    (2**53 + 1, "is the integer 9007199254740993, which a JSON number cannot hold exactly; write it as a text"),
    (2**70, "is the integer 1180591620717411303424, which a JSON number cannot hold exactly"),
    (2**60, "is the integer 1152921504606846976, which"),
    (-(2**63), "is the integer -9223372036854775808, which"),
    (10**5000, "is the integer of 16,610 bits, which"),
    ("a\ud800", "holds the lone surrogate U+D800"),
    ({"a\udfff": 1}, "has a key with the lone surrogate U+DFFF"),
    ({"a\0b": 1}, r"has the key 'a\x00b', which holds NUL"),
    ({"k" * (MAX_KEY + 1): 1}, "has a key of 1,025 characters; at most 1,024 are allowed"),
    ({"k" * 1_000_000: 1}, "has a key of 1,000,000 characters"),
    ({1: "a"}, "has the key 1, which is no text"),
    ({None: "a"}, "has the key None, which is no text"),
    ({True: "a"}, "has the key True, which is no text"),
    ({(1, 2): "a"}, "has the key (1, 2), which is no text"),
    ({"a": 1, 2: 3}, "has the key 2, which is no text"),
    (b"bytes", "is of the type bytes, which JSON does not know; decode them"),
    (bytearray(b"x"), "is of the type bytearray, which JSON does not know; decode them"),
    ({1, 2}, "is of the type set, which JSON does not know; write a sorted list"),
    (frozenset(), "is of the type frozenset"),
    (
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        "is of the type datetime, which JSON does not know; write its",
    ),
    (datetime.timedelta(1), "is of the type timedelta, which JSON does not know; write its total_seconds()"),
    (decimal.Decimal("1.1"), "is of the type Decimal, which JSON does not know; write a float or a text"),
    (uuid.UUID(int=0), "is of the type UUID"),
    (Colour.RED, "is of the type Colour, which JSON does not know; write its value"),
    (Point(), "is of the type Point, which JSON does not know; write dataclasses.asdict(...)"),
    (ValueError("x"), "is of the type ValueError"),
    (deque([1]), "is of the type deque"),
    (object(), "is of the type object"),
    (1j, "is of the type complex"),
    (range(3), "is of the type range"),
    ((item for item in "ab"), "is of the type generator"),
]


@pytest.mark.parametrize(("value", "complaint"), NO_JSON, ids=[complaint[:40] for _, complaint in NO_JSON])
def test_what_is_no_json_is_refused_with_its_place(value: Any, complaint: str) -> None:
    assert refusal(value).startswith(f"the output is no JSON document: it {complaint}")
    deep = {"fine": 1, "ui_spec": {"screens": [{}, {"title": ["ok", value]}]}}
    assert refusal(deep).startswith(f"the output is no JSON document: 'ui_spec.screens[1].title[1]' {complaint}")


def test_places_with_odd_names_are_quoted() -> None:
    assert '\'paths["/users/{id}"].get[""]\' is nan' in refusal({"paths": {"/users/{id}": {"get": {"": math.nan}}}})


def test_a_model_is_judged_by_what_it_dumps() -> None:
    assert "'[0].points' is nan" in refusal([Story(id="x", points=math.nan)])

    class Broken(BaseModel):
        raw: bytes = b"\xff"

    assert "'part' is a Broken that cannot be dumped: " in refusal({"part": Broken()})


def nested(levels: int, leaf: Any = 1) -> Any:
    value = leaf
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


@pytest.mark.parametrize("leaf", [1, 1.0, (), []])
def test_depth(leaf: Any) -> None:
    levels = MAX_DEPTH - isinstance(leaf, tuple | list)
    assert json.loads(text(nested(levels, leaf))) == json.loads(json.dumps(nested(levels, leaf)))
    assert "is nested deeper than 100 levels, or holds itself" in refusal(nested(levels + 1, leaf))


def test_a_value_inside_itself_is_refused() -> None:
    mapping: dict[str, Any] = {}
    mapping["me"] = [mapping]
    assert "'me[0].me[0].me[0].me[0].me[0].me[0]…' is nested deeper than 100 levels, or holds itself" in refusal(
        mapping
    )
    # Two references each: 2^100 nodes, if they were followed.
    pair: list[Any] = []
    pair += [pair, pair]
    assert "is no JSON document" in refusal(pair, 100_000)


def test_a_bomb_of_shared_parts_is_refused() -> None:
    bomb: Any = "lol"
    for _ in range(20):
        bomb = [bomb] * 10
    assert "goes beyond the 100,000 bytes that are kept in the context" in refusal(bomb, 100_000)
    nothing: Any = None
    for _ in range(20):
        nothing = [nothing] * 10
    assert "goes beyond" in refusal(nothing, 100_000)
    assert "goes beyond" in refusal(["x" * 1_000_000] * 1_000)


@pytest.mark.parametrize(("value", "size"), [("x" * 98, 100), ("ö" * 49, 100), ([1] * 50, 101), ({"k": [1.0]}, 9)])
def test_the_limit_counts_bytes(value: Any, size: int) -> None:
    assert len(text(value, size).encode()) == size
    assert "the output" in refusal(value, size - 1)


def test_a_value_that_is_too_large_names_its_largest_part() -> None:
    value = {"small": "x", "blob": '"' * 60}
    assert refusal(value, 120) == (
        "the output has 143 bytes; at most 120 are kept in the context; the largest part is 'blob'"
    )
    assert "'blob' goes beyond the 50 bytes" in refusal(value, 50)


def test_encode_is_the_same() -> None:
    assert encode({"b": 1, "a": 2.0}, limit=LIMIT, what="it") == '{"a":2,"b":1}'


def test_a_hash_is_the_hash_of_the_text() -> None:
    assert content_hash("") == "cae66941d9efbd404e4d88758ea67670"
    assert content_hash(text({"b": 1.0, "a": [0.0]})) == content_hash(text({"a": (-0.0,), "b": 1}))
    assert content_hash(text([1])) != content_hash(text(["1"]))


numbers = st.one_of(
    st.integers(-LARGEST_INTEGER, LARGEST_INTEGER),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-100, 100).map(float),
    st.floats(1e-7, 1e-3),
    st.floats(1e14, 1e23),
)
texts = st.one_of(st.text(max_size=6), st.text(alphabet='ab\U0001f600\ufb33\ue000\\"\n\x1f\x7f', max_size=4))
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(texts.filter(lambda key: "\0" not in key), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(documents)
@example([1e-7, {"\ue000": 1, "\U0001f600": 2}])
@example({"b": 1.0, "a": 0.0001, "c": 0.00009999})
def test_every_document_has_the_text_that_the_reference_gives_it(value: Any) -> None:
    assert text(value) == rfc8785.dumps(value).decode()


@given(documents)
@example(9007199254740992.0)
@example([123456789012345670000.0])
def test_what_was_read_can_be_written_again(value: Any) -> None:
    once = text(value)
    # A double from 2^53 to 1e21 is read as an integer, which stands for the same double.
    assert json.loads(once, parse_int=float) == value
    assert text(json.loads(once)) == once


@given(documents)
def test_the_quick_way_gives_what_the_careful_way_gives(value: Any) -> None:
    # In a tuple every value takes the careful way.
    assert text((value,)) == text([value]) == f"[{text(value)}]"


anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=3), st.dates(),
        st.decimals(), st.complex_numbers(), st.characters(categories=["Cs"]), st.just(object()), st.builds(Point),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner), st.sets(st.integers(), max_size=2),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers(), st.none()), inner, max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip


@given(anything)
def test_whatever_is_given_there_is_a_text_or_one_kind_of_error(value: Any) -> None:
    try:
        written = text(value)
    except InvalidValue:
        assert refusal(value).startswith("the output is no JSON document: ")
    else:
        assert text(json.loads(written)) == written


@given(documents, documents)
def test_same_means_the_same_text(one: Any, other: Any) -> None:
    assert same(one, other) == (text(one) == text(other))
    assert same(one, json.loads(json.dumps(one)))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True),
        (0.0, -0.0, True),
        (True, 1, False),
        (False, 0, False),
        ([True], [1], False),
        ({"a": [1]}, {"a": [True]}, False),
        ({"a": [1, "x"]}, {"a": [1.0, "x"]}, True),
        (None, False, False),
        ("1", 1, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([], {}, False),
    ],
)
def test_same_on_what_python_mixes_up(one: Any, other: Any, equal: bool) -> None:
    assert same(one, other) is equal
    assert same(other, one) is equal


def test_the_common_case_takes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any) -> str:
        raise AssertionError("a plain value took the careful way")

    monkeypatch.setattr(values, "_slowly", slow)
    story = {"id": "US-1", "title": "Größe", "points": 3, "share": 0.25, "done": False, "owner": None, "tags": ["a"]}
    text({"user_stories": [story] * 300, **{f"a_rather_long_name_{n}": n for n in range(200)}})
