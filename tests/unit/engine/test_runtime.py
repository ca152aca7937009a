"""Whose leases a worker may judge: not after a time in which nobody could renew them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from orchestrator.engine import runtime
from orchestrator.settings import EngineSettings
from orchestrator.settings import Runtime as Settings

LEASE, RENEW = 5.0, 1.5


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(runtime, "monotonic", clock)
    return clock


@pytest.fixture
def worker() -> runtime.Runtime:
    settings = EngineSettings(engine=Settings(lease_seconds=LEASE, renew_seconds=RENEW))
    started = runtime.Runtime("redis://localhost:1", settings)
    started.enter_worker("w@h")
    return started


def renew(worker: runtime.Runtime, clock: Clock, *gaps: float) -> None:
    for gap in gaps:
        clock.now += gap
        worker.renewed()


def test_a_worker_that_has_just_started_or_renews_in_time_judges(worker: runtime.Runtime, clock: Clock) -> None:
    assert worker.may_judge_leases()
    renew(worker, clock, 0, RENEW, 2 * RENEW, RENEW)
    assert worker.may_judge_leases()


def test_nobody_judges_while_the_store_does_not_answer_and_for_a_lease_after_it_does(
    worker: runtime.Runtime, clock: Clock
) -> None:
    renew(worker, clock, 0, RENEW)
    clock.now += LEASE - RENEW + 0.01  # a lease that was renewed just before this worker's may have lapsed
    assert not worker.may_judge_leases()
    renew(worker, clock, 0)
    assert not worker.may_judge_leases()
    renew(worker, clock, RENEW, RENEW, RENEW)
    assert not worker.may_judge_leases()
    renew(worker, clock, RENEW)
    assert worker.may_judge_leases()


def test_the_children_of_a_worker_leave_it_to_their_parent(
    worker: runtime.Runtime, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew(worker, clock, 0)
    assert worker.may_judge_leases()
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    assert not worker.may_judge_leases()
