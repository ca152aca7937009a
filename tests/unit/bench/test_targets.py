"""Verdicts on promises: read from the right figure, and missing where nothing was measured."""

from __future__ import annotations

import pytest

from orchestrator.bench.frame import find
from orchestrator.bench.results import Machine, Measure, Report
from orchestrator.bench.targets import TARGETS, Target, benchmarks, judge


def report(target: Target, ours: float, peers: float) -> Report:
    samples = {} if target.read == "value" else {"peer": "other", "peer_samples": (peers,)}
    measure = Measure.model_validate({"name": target.measure, "unit": "u", "samples": (ours,), **samples})
    machine = Machine(system="s", processor="p", cores=2, memory_mib=1, python="3.11")
    return Report(
        benchmark=target.benchmark, at=1, rounds=1, seed=7, aof="off", server="valkey", load=0, machine=machine,
        versions={}, measures=(measure,),
    )  # fmt: skip


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.promise)
def test_a_promise_is_met_at_its_limit_and_missed_beyond_it(target: Target) -> None:
    def verdict(figure: float) -> tuple[float | None, bool | None]:
        ours, peers = (figure, 1.0) if target.read == "ratio" else (1.0, figure)
        found = report(target, figure if target.read == "value" else ours, peers)
        (one,) = [one for one in judge([found]) if one.promise == target.promise]
        return one.found, one.met

    assert verdict(target.limit) == (target.limit, True)
    worse = target.limit - 0.01 if target.at_least else target.limit + 0.01
    found, met = verdict(worse)
    assert found == pytest.approx(worse)
    assert met is False


def test_what_was_not_measured_is_said() -> None:
    verdicts = list(judge([]))
    assert len(verdicts) == len(TARGETS)
    assert all(one.found is None and one.met is None for one in verdicts)
    assert all(find(name) for name in benchmarks())
