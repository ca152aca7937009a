"""`ctx.lock` without Redis: what it tells the attempt, and when."""

from __future__ import annotations

import pytest

from orchestrator import AgentContext
from orchestrator.context.lock_models import Holder, Lock, LockRules
from orchestrator.engine.runtime import Runtime
from orchestrator.errors import LeaseLost
from orchestrator.settings import EngineSettings


class Told:
    """An attempt that writes down what it is told."""

    def __init__(self, lost: bool = False) -> None:
        self.said: list[tuple[str, bool]] = []
        self.lost = lost

    def lock(self, section: str, write: bool, timeout: float | None) -> Lock:
        self.said.append(("lock", write))
        return Lock(section, Holder("step", 1), write, 7, 0.0, "")

    def unlock(self, lock: Lock, wrote: bool) -> None:
        self.said.append(("unlock", wrote))
        if self.lost:
            raise LeaseLost("gone")


def context(told: Told) -> AgentContext:
    ctx = AgentContext.for_test(context={"board": {"count": 1}}, owns=["board", "other"])
    ctx._link = told  # type: ignore[assignment]
    return ctx


@pytest.mark.parametrize(
    ("section", "write", "path", "kept"),
    [
        ("board", True, "board.count", True),
        ("board", True, "other.count", False),
        ("board", True, None, False),
        ("board", False, "board.count", False),
        ("step", True, "count", True),
        ("other", True, "count", False),
    ],
)
def test_a_lock_is_kept_for_what_was_written_under_it(section: str, write: bool, path: str | None, kept: bool) -> None:
    told = Told()
    ctx = context(told)
    with ctx.lock(section, write=write) as lock:
        assert lock.token == 7
        if path:
            ctx.write(path, 2)
    assert told.said == [("lock", write), ("unlock", kept)]


def test_the_agents_own_error_is_the_one_that_is_seen() -> None:
    told = Told(lost=True)
    with pytest.raises(ZeroDivisionError), context(told).lock("board", write=True):
        raise ZeroDivisionError
    assert told.said == [("lock", True), ("unlock", False)]


def test_a_lock_that_was_lost_is_said() -> None:
    with pytest.raises(LeaseLost), context(Told(lost=True)).lock("board"):
        pass


def test_agents_that_lock_can_be_tested_without_redis() -> None:
    with AgentContext.for_test().lock("board", write=True) as lock:
        assert lock.write


def test_the_rules_of_locks_are_the_deployments() -> None:
    settings = EngineSettings.model_validate(
        {
            "resource_manager": {
                "resource_pool": {
                    "context_store": {"concurrent_readers": 7, "concurrent_writers": 2, "lock_timeout": 12}
                },
                "allocation_strategy": {"resource_sharing": {"context_queuing": False}},
            },
            "engine": {"lease_seconds": 9},
        }
    )
    assert Runtime("redis://localhost", EngineSettings()).locks("run").rules == LockRules()
    expected = LockRules(readers=7, writers=2, timeout=12, queuing=False, lease=9)
    assert Runtime("redis://localhost", settings).locks("run").rules == expected
