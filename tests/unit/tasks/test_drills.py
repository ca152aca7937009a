"""Drills by plain call; what needs an engine (crash, cancellation from outside) is shown in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator import Agent, AgentContext, InvalidValue
from tasks import blob, crash, drills, echo, fail, hang, noop, progress, sleep, spin, write
from tasks.drills import DrillFailed
from tests.unit.tasks.running import ROOT

ALL = (noop, sleep, spin, echo, fail, hang, crash, progress, blob, write)


def call(agent: Agent, attempt: int = 1, **params: Any) -> dict[str, Any]:
    return agent(AgentContext.for_test(params=params, attempt=attempt))


def test_all_share_one_class() -> None:
    assert {agent.queue for agent in ALL} == {"drills"}
    assert [agent.name for agent in ALL] == [
        "noop", "sleep", "spin", "echo", "fail", "hang", "crash", "progress", "blob", "write",
    ]  # fmt: skip


def test_noop_and_echo() -> None:
    assert call(noop) == {}
    assert call(echo, a=1, b=["x"]) == {"echo": {"a": 1, "b": ["x"]}}


def test_sleep_takes_its_time() -> None:
    start = time.monotonic()
    assert call(sleep, seconds=0.12) == {"completed": True}
    assert time.monotonic() - start >= 0.12


def test_spin_uses_the_processor() -> None:
    start = time.thread_time()
    assert call(spin, cpu_seconds=0.05)["rounds"] >= 500
    assert time.thread_time() - start >= 0.05


def test_fail_fails_as_often_as_asked() -> None:
    for attempt in (1, 2):
        with pytest.raises(DrillFailed, match=f"attempt {attempt} fails"):
            call(fail, attempt=attempt, times=2)
    assert call(fail, attempt=3, times=2) == {"attempt": 3}


def test_progress_reports_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[float] = []
    monkeypatch.setattr(AgentContext, "progress", lambda self, fraction, message="": said.append(fraction))
    result = call(progress, seconds=0.2, every=0.05)
    assert result["completed"]
    assert result["reports"] == len(said) >= 2
    assert said == sorted(said)
    assert said[-1] == 1.0


@pytest.mark.parametrize(("agent", "params"), [(sleep, {"seconds": 60}), (hang, {}), (progress, {"seconds": 60})])
def test_waiting_drills_end_when_the_run_is_cancelled(
    agent: Agent, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(range(1_000_000))
    monkeypatch.setattr(AgentContext, "cancelled", property(lambda self: next(looks) >= 2))
    start = time.monotonic()
    call(agent, **params)
    assert time.monotonic() - start < 30


def test_asking_whether_the_run_is_cancelled_is_part_of_the_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time takes 10 ms of a clock that only sleeping and asking move."""
    clock = [0.0]

    def moves(seconds: float) -> None:
        clock[0] += seconds

    def asks(_: AgentContext) -> bool:
        moves(0.01)
        return False

    monkeypatch.setattr(drills, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=moves))
    monkeypatch.setattr(AgentContext, "cancelled", property(asks))
    assert call(sleep, seconds=0.6) == {"completed": True}
    assert clock == pytest.approx([0.6])


def test_blob_has_the_size_asked_for() -> None:
    for size in (0, 1, 8192, 100_001):
        assert len(call(blob, bytes=size)["blob"].encode()) == size


def test_write_buffers_a_value() -> None:
    ctx = AgentContext.for_test(params={"path": "step.a.b", "value": {"c": 1}})
    assert write(ctx) == {}
    assert ctx.writes == {"a": {"b": {"c": 1}}}


def test_crash_kills_its_process_and_then_succeeds() -> None:
    code = "from orchestrator import AgentContext; from tasks import crash; crash(AgentContext.for_test(attempt=1))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=200, check=False)
    assert done.returncode == -signal.SIGKILL
    assert call(crash, attempt=2, times=1) == {"attempt": 2}


@pytest.mark.parametrize(
    ("agent", "params", "message"),
    [
        (sleep, {"seconds": -1}, "seconds: Input should be greater than or equal to 0"),
        (sleep, {"seconds": "soon"}, "seconds"),
        (sleep, {"seconds": float("nan")}, "seconds"),
        (sleep, {"second": 1}, "second: Extra inputs are not permitted"),
        (fail, {"times": 1.5}, "times"),
        (progress, {"every": 0}, "every"),
        (blob, {"bytes": 2_000_000_000}, "bytes"),
        (write, {}, "path: Field required"),
        (noop, {"x": 1}, "x"),
    ],
)
def test_wrong_parameters_are_named(agent: Agent, params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        call(agent, **params)
