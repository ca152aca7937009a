"""Bodies and queries are read strictly, and every mistake is told."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import InvalidDocument
from orchestrator.flower.bodies import read_body, read_query
from orchestrator.flower.messages import ListQuery, ResolveRequest, RetryRequest, Submission
from orchestrator.flower.problems import Rejected

JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "kind", "status", "told"),
    [
        (b"{", JSON, 400, "line 1, column 2"),
        (b"x=1", "application/x-www-form-urlencoded", 415, "x-www-form-urlencoded"),
        (b"{}", "", 415, "of no type"),
        (b'{"a": 1, "a": 2}', JSON, 400, "'a' stands twice"),
        (b'{"inputs": {"a": {"b": 1, "b": 1}}}', JSON, 400, "'b' stands twice"),
        (b'{"a": NaN}', JSON, 400, "NaN"),
        (b'{"a": -Infinity}', JSON, 400, "-Infinity"),
        (b"\xff\xfe", JSON, 400, "0xff"),
        (b"[" * 100_000, JSON, 400, "too deeply"),
        (b"9" * 5000, JSON, 400, "no JSON"),
    ],
)
def test_what_is_no_json(body: bytes, kind: str, status: int, told: str) -> None:
    with pytest.raises(Rejected, match=told) as raised:
        read_body(body, kind, Submission)
    assert raised.value.document.status == status


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"[]", ""),
        (b"{}", ""),
        (b'{"workflow": 5}', "workflow"),
        (b'{"workflow": "../../etc/passwd"}', "workflow"),
        (b'{"workflow": "a", "sequential": "yes"}', "sequential"),
        (b'{"workflow": "a", "callback_url": "http://169.254.169.254"}', "callback_url"),
        (b'{"workflow": "a", "inputs": {"a": "\\ud800"}}', "inputs.a"),
        (b'{"workflow": "a", "inputs": {"a": 1e999}}', "inputs.a"),
        (b'{"workflow": "a", "inputs": ' + b'{"a":' * 80 + b"1" + b"}" * 81, "inputs.a.a.a.a.a.a.a"),
    ],
)
def test_what_is_json_and_no_submission(body: bytes, path: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        read_body(body, JSON, Submission)
    assert raised.value.problems[0].path == path


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidDocument) as raised:
        read_body(b'{"workflow": 5, "sequential": 1, "nothing": null}', JSON, Submission)
    assert {problem.path for problem in raised.value.problems} == {"workflow", "sequential", "nothing"}


@pytest.mark.parametrize("body", [b'{"step": "a", "failed": true}', b'{"failed": 1}', b'{"step": "a b"}'])
def test_a_retry_is_of_one_kind(body: bytes) -> None:
    with pytest.raises(InvalidDocument):
        read_body(body, JSON, RetryRequest)


@pytest.mark.parametrize(("body", "choice"), [(b'{"choice": "ours"}', "ours"), (b'{"value": null}', None)])
def test_a_decision(body: bytes, choice: str | None) -> None:
    read = read_body(body, "application/json; charset=utf-8", ResolveRequest)
    assert read.choice == choice
    assert read.decided is None or choice == "ours"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"choice": "ours", "value": 1}', b'{"choice": "mine"}'])
def test_no_decision(body: bytes) -> None:
    with pytest.raises(InvalidDocument):
        read_body(body, JSON, ResolveRequest)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": [b"1000000000"]}, {"limit": [b"-1"]}, {"limit": [b"x"]}, {"limit": [b"1", b"2"]},
        {"cursor": [b"garbage"]}, {"cursor": [b"1_*"]}, {"state": [b"running", b"nothing"]},
        {"created_after": [b"NaN"]}, {"created_after": [b"-1"]}, {"token": [b"0123"]}, {"workflow": [b"a*"]},
    ],
)  # fmt: skip
def test_queries_that_are_refused(query: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument):
        read_query(query, ListQuery)


def test_a_query() -> None:
    read = read_query({"state": [b"failed", b"success"], "limit": [b"7"], "search": [b"x y"]}, ListQuery)
    assert ([*read.state], read.limit, read.search) == (["failed", "success"], 7, "x y")
