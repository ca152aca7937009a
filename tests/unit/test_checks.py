"""The doctor's judgement, fact by fact."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import checks


@pytest.mark.parametrize(
    ("info", "status"),
    [
        ({"redis_version": "7.0.15"}, "ok"),
        ({"redis_version": "6.2.14"}, "fail"),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, "fail"),
        ({}, "fail"),
    ],
)
def test_version(info: dict[str, str], status: str) -> None:
    assert checks.server_version(info).status == status


def test_eviction_and_persistence() -> None:
    assert checks.eviction({"maxmemory_policy": "noeviction"}).status == "ok"
    assert checks.eviction({"maxmemory_policy": "allkeys-lru"}).status == "fail"
    assert checks.persistence({"aof_enabled": 1, "aof_last_write_status": "ok"}).status == "ok"
    assert checks.persistence({"aof_enabled": 1, "aof_last_write_status": "err"}).status == "fail"
    assert checks.persistence({"aof_enabled": 0}).status == "warn"


@pytest.mark.parametrize(("skew", "status"), [(0.001, "ok"), (-0.4, "ok"), (-2.0, "warn"), (30.0, "fail")])
def test_clock(skew: float, status: str) -> None:
    assert checks.clock(skew).status == status


@pytest.mark.parametrize(("seconds", "status"), [(30, "ok"), (5, "fail"), (3600, "warn")])
def test_visibility_timeout(seconds: float, status: str) -> None:
    assert checks.visibility({"visibility_timeout": seconds}, lease=5.0).status == status


@pytest.mark.parametrize(("count", "p95", "status"), [(0, 0.0, "ok"), (50, 1.9, "ok"), (50, 3.1, "warn")])
def test_lateness(count: int, p95: float, status: str) -> None:
    assert checks.lateness(count, p95, sweep=1.0).status == status


def test_other_apps() -> None:
    own = {"visibility_timeout": 30}
    assert checks.others(own, {"a@h": own}).status == "ok"
    found = checks.others(own, {"a@h": own, "plain@h": {}})
    assert found.status == "warn"
    assert "plain@h has 3600 s" in found.message


def test_content() -> None:
    conf: dict[str, Any] = {
        "accept_content": ["json"],
        "result_accept_content": None,
        "task_serializer": "json",
        "result_serializer": "json",
    }
    assert checks.content(conf).status == "ok"
    assert checks.content({**conf, "accept_content": ["json", "pickle"]}).message.startswith("pickle")
    assert checks.content({**conf, "task_serializer": "pickle"}).status == "fail"


def test_queues_without_a_worker_fail_when_messages_wait() -> None:
    declared = {"agents.a": 0, "agents.b": 3, "control": 0}
    assert [one.status for one in checks.queues(declared, frozenset(declared))] == ["ok"]
    found = list(checks.queues(declared, frozenset({"control"})))
    assert [(one.status, one.remedy) for one in found] == [
        ("warn", "orchestrator worker --agents a"),
        ("fail", "orchestrator worker --agents b"),
    ]


def test_no_worker_makes_everything_unavailable() -> None:
    assert checks.workers([]).unavailable
    assert checks.workers(["w@h"]).status == "ok"
    assert "unavailable" not in checks.workers([]).document()
