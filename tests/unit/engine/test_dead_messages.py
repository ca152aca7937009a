"""What is wrong with an entry of a queue."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from orchestrator.engine.dead_messages import fault

PROPERTIES = {"delivery_tag": "t", "delivery_info": {}, "body_encoding": "base64"}
GOOD: dict[str, Any] = {
    "body": b64encode(b"[[], {}, {}]").decode(),
    "content-type": "application/json",
    "headers": {"task": "known"},
    "properties": PROPERTIES,
}


def found(raw: bytes) -> str | None:
    return fault(raw, {"known"})


def test_a_message_of_a_task_that_is_there_is_good() -> None:
    assert found(json.dumps(GOOD).encode()) is None
    plain = GOOD | {"body": "[[], {}, {}]", "properties": PROPERTIES | {"body_encoding": "utf-8"}}
    assert found(json.dumps(plain).encode()) is None


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        (b"\x80\x04K\x01.", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1, 2]", "is no message"),
        (b'{"body": "x"}', "is no message"),
    ],
)
def test_what_is_no_message(raw: bytes, wrong: str) -> None:
    assert found(raw) == wrong


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"properties": PROPERTIES | {"body_encoding": "rot13"}}, "is no message"),
        ({"content-type": "application/x-python-serialize"}, "has the content type 'application/x-python-serialize'"),
        ({"body": GOOD["body"][:-4]}, "has a body that is no JSON"),
        ({"body": "?"}, "has a body that is no JSON"),
        ({"headers": {"task": "other"}}, "is for the task 'other', which this app does not have"),
        ({"headers": None}, "is for the task None, which this app does not have"),
    ],
)
def test_what_no_worker_could_run(changed: dict[str, Any], wrong: str) -> None:
    assert found(json.dumps(GOOD | changed).encode()) == wrong
