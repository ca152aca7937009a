"""Percentiles of what was recorded."""

from __future__ import annotations

from orchestrator.metrics.lateness import Lateness, summary


def test_percentiles_are_values_that_were_seen() -> None:
    assert summary([]) == Lateness()
    assert summary([0.25]) == Lateness(count=1, p50=0.25, p95=0.25, worst=0.25)
    hundred = [number / 100 for number in range(100, 0, -1)]
    assert summary(hundred) == Lateness(count=100, p50=0.5, p95=0.95, worst=1.0)
