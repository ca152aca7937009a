"""Reports of earlier runs, kept in the store, and what has become worse since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import redis

from orchestrator import keys
from orchestrator.bench.policy import MOST, Regression, Series, decide
from orchestrator.bench.results import Measure, Report
from orchestrator.connection import guarded
from orchestrator.metrics.alerts import Alert, Severity, raise_alert

KEPT = 4 * MOST
"""So many reports of each benchmark are kept: several machines may measure."""


def record(client: redis.Redis, report: Report) -> list[Regression]:
    """Keep a report and compare it with those that this machine has made before; an alert for each figure that has
    become worse. The newest report counts once, however often it is recorded."""
    earlier = [one for one in reports(client, report.benchmark) if one.at != report.at]
    found = regressions([*earlier, report])
    name = keys.BENCHMARKS + report.benchmark
    with guarded():
        pipe = client.pipeline()
        pipe.rpush(name, report.model_dump_json(round_trip=True))
        pipe.ltrim(name, -KEPT, -1)
        pipe.execute()
    for one in found:
        raise_alert(
            client,
            Alert(kind="regression", severity=Severity.WARNING, subject=report.benchmark, message=one.sentence),
        )
    return found


def reports(client: redis.Redis, benchmark: str) -> list[Report]:
    """What is kept of a benchmark, the oldest first; what an older release has written in another form is left out."""
    with guarded():
        kept = cast("list[bytes]", client.lrange(keys.BENCHMARKS + benchmark, 0, -1))
    return [report for text in kept if (report := Report.parse(text))]


def regressions(history: Sequence[Report]) -> list[Regression]:
    """What is worse in the last report, compared with those before it that were made alike."""
    last = history[-1]
    alike = [one for one in history if one.comparable(last)]
    found = (decide(series(measure, alike)) for measure in last.measures)
    return [one for one in found if one]


def series(measure: Measure, history: Sequence[Report]) -> Series:
    """A measure's figures over reports: its ratio to the peer where it has one, which a slower night does not move."""
    same = (measure.name, measure.peer)
    figures = [one.steadiest for report in history for one in report.measures if (one.name, one.peer) == same]
    return Series(
        measure=measure.name,
        unit=f"of {measure.peer}" if measure.peer else measure.unit,
        better=measure.better,
        figures=tuple(figures),
    )
