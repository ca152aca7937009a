"""Reports that are kept, and the alert when a figure has become worse on the machine that made them."""

from __future__ import annotations

from orchestrator.bench import history
from orchestrator.bench.results import Machine, Measure, Report
from orchestrator.connection import connect
from orchestrator.keys import BENCHMARKS
from orchestrator.metrics.alerts import alerts


def report(night: int, value: float, *, cores: int = 2, ratio: float = 1.0) -> Report:
    return Report(
        benchmark="hops",
        at=float(night),
        rounds=1,
        seed=7,
        aof="off",
        server="valkey",
        load=0.0,
        machine=Machine(system="s", processor="p", cores=cores, memory_mib=1, python="3.11"),
        versions={},
        measures=(
            Measure(name="a hop", unit="ms", samples=(value,), peer="raw Celery", peer_samples=(value / ratio,)),
            Measure(name="memory", unit="MiB", samples=(value,)),
        ),
    )


def test_a_figure_that_has_become_worse_raises_one_alert(store_url: str) -> None:
    client = connect(store_url)
    for night in range(8):
        assert history.record(client, report(night, 10)) == []
        assert history.record(client, report(night + 1000, 50, cores=64)) == [], "another machine's own"
    assert history.record(client, report(8, 20)) == [], "one night may be busy"
    (found,) = history.record(client, report(9, 20))
    assert (found.measure, found.usual, found.now) == ("memory", 10, 20), "the peer was as slow in those nights"
    (alert,) = alerts(client)
    assert (alert.kind, alert.subject, alert.message) == (
        "regression", "hops", "memory: 20 MiB, usually 10 (100% worse)",
    )  # fmt: skip
    history.record(client, report(10, 10, ratio=1.5))
    (slower,) = history.record(client, report(11, 10, ratio=1.5))
    assert (slower.measure, slower.unit) == ("a hop", "of raw Celery")


def test_what_is_kept_is_bounded_and_what_is_unknown_is_left_out(store_url: str) -> None:
    client = connect(store_url)
    client.rpush(BENCHMARKS + "hops", '{"benchmark": "hops", "of": "an older release"}')
    for night in range(history.KEPT + 5):
        history.record(client, report(night, 10))
    assert client.llen(BENCHMARKS + "hops") == history.KEPT
    kept = history.reports(client, "hops")
    assert [kept[0].at, kept[-1].at] == [5, history.KEPT + 4]
    assert kept[-1] == report(history.KEPT + 4, 10)
