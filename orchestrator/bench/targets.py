"""What was promised of the engine, each promise beside what is measured now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from orchestrator.bench.results import Measure, Report
from orchestrator.fields import Frozen


class Target(NamedTuple):
    """A promise: which figure of which benchmark it is read from, and the limit that it may reach. `read` says what of
    the measure counts; `ratio` and `gain` are by the peer, `gain` how many times better."""

    promise: str
    benchmark: str
    measure: str
    read: Literal["value", "ratio", "gain"]
    limit: float
    unit: str
    at_least: bool = False
    note: str = ""


class Verdict(Frozen):
    """A promise and what has come of it. `found` is None when it was not measured."""

    promise: str
    limit: str
    found: float | None
    met: bool | None
    how: str


TARGETS: tuple[Target, ...] = (
    Target(
        "2x over the sequential form, the documents' workflow", "product", "a run beside its sequential form", "gain",
        2.0, "x", at_least=True, note="two of its six agents are parallel: its critical path allows 1.2x",
    ),
    Target(
        "2x over the sequential form, a ragged graph", "ragged", "a run beside its sequential form", "gain",
        2.0, "x", at_least=True,
    ),
    Target("scheduling overhead of a step", "hops", "a hop of 20", "value", 5.0, "ms"),
    Target(
        "agent spawn", "spawn", "submit to the agent's first line, 99th percentile", "value", 100.0, "ms",
        note="submit to the first line of its code, worker warm, 99th percentile",
    ),
    Target(
        "5x less coordination latency, a group", "fan", "1 to 100 to 1, a group", "gain", 5.0, "x", at_least=True,
        note="against raw Celery's own chord",
    ),
    Target(
        "5x less coordination latency, dependencies", "fan", "1 to 100 to 1, dependencies", "gain", 5.0, "x",
        at_least=True, note="against raw Celery's own chord",
    ),
    Target(
        "I/O wait", "many", "the processors' time that waits for I/O", "value", 10.0, "%",
        note="of the whole machine, with 200 workflows at once",
    ),
    Target(
        "success over 10,000 steps under faults", "faults", "steps that succeeded under faults", "value",
        99.9, "%", at_least=True,
    ),
    Target(
        "80 % less overhead of an operation", "batch", "a command, at most once, client's processor time", "ratio",
        0.2, "x", note="processor time of a batched operation by one that is sent alone",
    ),
    Target(
        "80 % less of the server's time", "batch", "a command, at most once, server's processor time", "ratio",
        0.2, "x", note="the same operations, seen from the server",
    ),
    Target(
        "80 % less overhead of a message", "batch", "a message to the broker, client's processor time", "ratio",
        0.2, "x", note="Celery's own apply_async, one by one, beside its batch",
    ),
    Target("batching latency", "batch", "from adding to the answer, 1,000 a second, p99", "value", 10.0, "ms"),
    Target("message latency", "messages", "one way, 200 a second, p50", "value", 1.0, "ms"),
    Target("messages a second", "messages", "messages published", "value", 10_000.0, "1/s", at_least=True),
    Target(
        "no message lost", "messages", "messages lost", "value", 0.0, "messages", note="its reader is killed once",
    ),
    Target("zero dropped operations", "faults", "steps that were lost", "value", 0.0, "steps"),
)  # fmt: skip


def benchmarks() -> tuple[str, ...]:
    """Those that have to run for a verdict on every target."""
    return tuple(dict.fromkeys(target.benchmark for target in TARGETS))


def judge(reports: Sequence[Report]) -> Iterator[Verdict]:
    """A verdict on every target, as far as there is a report. Of several peers the first one counts, raw Celery."""
    measures: Mapping[tuple[str, str], Measure] = {
        (report.benchmark, measure.name): measure for report in reports for measure in reversed(report.measures)
    }
    for target in TARGETS:
        measure = measures.get((target.benchmark, target.measure))
        found = None if measure is None else _read(measure, target.read)
        met = None if found is None else found >= target.limit if target.at_least else found <= target.limit
        sign = "at least" if target.at_least else "at most"
        how = f"{target.benchmark}: {target.measure}" + (f", beside {measure.peer}" if measure and measure.peer else "")
        yield Verdict(
            promise=target.promise, limit=f"{sign} {target.limit:g} {target.unit}", found=found, met=met,
            how=f"{how}; {target.note}" if target.note else how,
        )  # fmt: skip


def _read(measure: Measure, read: str) -> float | None:
    if read == "value":
        return measure.value
    ratio = measure.pair_ratio
    if ratio is None or read == "ratio":
        return ratio
    return 1 / ratio if measure.better == "lower" else ratio
