"""Which requests of a step are over, because another attempt has replaced them, and which have not begun."""

from __future__ import annotations

from time import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from orchestrator.engine import keeper
from orchestrator.engine.keeper import _over

LEASE = 5.0
OLD, NEW, ELSEWHERE = 11, 12, 13


def request(pid: int, age: float) -> Any:
    return Mock(worker_pid=pid, time_start=time() - age)


@pytest.mark.parametrize(
    ("current", "ages", "ended"),
    [
        (0, {OLD: 1, NEW: 0.5}, {OLD, NEW}),
        (NEW, {OLD: 60, NEW: 6}, {OLD}),
        (NEW, {OLD: 60, NEW: 1}, set()),
        (NEW, {NEW: 60}, set()),
        (ELSEWHERE, {OLD: 60, NEW: 1}, {OLD}),
    ],
    ids=["taken from this worker", "replaced for long", "replaced just now", "its own", "the current one is gone"],
)
def test_who_was_replaced_has_a_lease_to_tell_of_its_end(current: int, ages: dict[int, float], ended: set[int]) -> None:
    requests = {pid: request(pid, age) for pid, age in ages.items()}
    over = _over(list(requests.values()), current, LEASE)
    assert over == [one for pid, one in requests.items() if pid in ended]


def test_what_waits_for_a_child_is_taken_and_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    running, waiting = (SimpleNamespace(id=name) for name in ("running", "waiting"))
    monkeypatch.setattr("celery.worker.state.reserved_requests", (running, waiting))
    monkeypatch.setattr("celery.worker.state.active_requests", (running,))
    assert keeper.waiting_for_a_child() == {"waiting"}
