"""The benchmarks' frame: what it counts and keeps is right, whatever the figures. `make bench` has the figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.bench import frame
from orchestrator.bench.plot import check, draw
from orchestrator.bench.results import Machine, Measure, Report
from orchestrator.bench.site import BenchServer
from orchestrator.cli import main
from orchestrator.cli.bench import report_table
from orchestrator.errors import InvalidValue


@pytest.fixture(scope="module", params=["context", "locks"])
def report(request: pytest.FixtureRequest) -> Report:
    """One short round."""
    return frame.run(request.param, rounds=1, seed=3, aof=True, scale=0.03)


def test_a_commit_a_read_and_a_lock_cost_so_many_commands(report: Report) -> None:
    commands = {measure.name: measure.commands for measure in report.measures}
    if report.benchmark == "context":
        assert len(commands) == 3 * 3 * 5
        assert set(commands.values()) == {1}, "one commit is one round trip, and so is one read"
    else:
        assert commands.pop("acquire + release, free") == 2
        # Asking, being woken, releasing; whoever is not woken for a while asks again, and whoever polls does so often.
        assert all(2 <= (sent or 0) <= 3.5 for sent in commands.values())
        assert all(measure.peer_commands for measure in report.measures)


def test_a_report_can_be_kept_and_read_again(report: Report) -> None:
    kept = json.loads(report.model_dump_json())
    assert (kept["seed"], kept["rounds"], kept["aof"]) == (3, 1, "everysec")
    assert kept["versions"]["celery"]
    assert kept["machine"]["cores"] >= 1
    figures = [{key: one[key] for key in Measure.model_fields} for one in kept["measures"]]
    assert Report.model_validate(kept | {"measures": figures}) == report
    assert all(one["value"] > 0 for one in kept["measures"])
    assert report_table(report).count("\n") == len(report.measures)


def test_medians_and_ratios_are_over_rounds() -> None:
    measure = Measure(name="m", unit="ms", samples=(1, 9, 2), peer="other", peer_samples=(2, 3, 8))
    assert (measure.value, measure.peer_value, measure.ratio, measure.pair_ratio) == (2, 3, 2 / 3, 0.5)
    alone = Measure(name="m", unit="ms", samples=(4,))
    assert (alone.value, alone.peer_value, alone.ratio, alone.pair_ratio) == (4, None, None, None)


@pytest.mark.parametrize("wrong", [{"samples": ()}, {"samples": (1,), "peer": "other"}])
def test_a_figure_needs_samples_of_everybody_it_names(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Measure(name="m", unit="ms", **wrong)


def test_commands_are_counted_as_clients_send_them(tmp_path: Path) -> None:
    with BenchServer(tmp_path / "server") as server:
        client, elsewhere = server.client(1), server.client(2)
        client.ping()
        with server.listening(1) as sent:
            client.set("a", 1)
            client.eval("redis.call('SET', 'b', 1) return redis.call('GET', 'a')", 0)
            elsewhere.set("a", 1)
            client.get("a")
        assert sent == {"SET": 1, "EVAL": 1, "GET": 1}


def test_the_command_line_saves_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "reports.jsonl"
    assert main(["bench", "nothing", "--save", str(kept)]) == 4
    assert "no benchmark is called 'nothing'" in capsys.readouterr().err
    assert main(["bench", "--list", "-o", "json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(frame.BENCHMARKS)
    assert not kept.exists()


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_what_was_compared_can_be_drawn(form: str, start: bytes, tmp_path: Path) -> None:
    measures = (
        Measure(name="quick", unit="ms", samples=(1, 2), peer="other", peer_samples=(2, 3)),
        Measure(name="lonely", unit="ms", samples=(1,)),
    )
    machine = Machine(system="s", processor="p", cores=2, memory_mib=1, python="3.11")
    report = Report(
        benchmark="b", at=1, rounds=2, seed=7, aof="off", server="valkey 9", load=0, machine=machine, versions={},
        measures=measures,
    )  # fmt: skip
    picture = tmp_path / f"out.{form}"
    draw([report], picture)
    assert picture.read_bytes().startswith(start)
    if form == "svg":
        assert "lonely" not in picture.read_text()
    with pytest.raises(InvalidValue, match="none of these benchmarks has a peer"):
        draw([report.model_copy(update={"measures": measures[1:]})], picture)
    with pytest.raises(InvalidValue, match=r"has to end with one of .png, .svg"):
        check(str(tmp_path / "out.pdf"))


@pytest.mark.benchmark
@pytest.mark.parametrize("name", frame.BENCHMARKS)
def test_every_benchmark_measures(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "reports.jsonl"
    assert main(["bench", name, "--rounds", "1", "--save", str(kept), "--json"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)["reports"]
    assert printed == json.loads(kept.read_text())
    assert printed["benchmark"] == name


def test_the_caches_order_beats_plain_lru_and_no_bound(tmp_path: Path) -> None:
    """On the same requests, whatever else the machine does: these are no times."""
    from orchestrator.bench import cache

    with BenchServer(tmp_path / "server") as server:
        found = {one.name: one for one in cache.ratios(frame.Setting(server, tmp_path, rounds=1, scale=0.1))}
    for what in ("hits of lookups", "seconds saved"):
        lru, bound = found[f"{what}, beside plain LRU"], found[f"{what}, beside offline bound"]
        assert 0 < (lru.peer_value or 0) < lru.value < (bound.peer_value or 0) < 100
    assert (found["seconds saved, beside plain LRU"].ratio or 0) > 1.3


def test_the_offline_bound_keeps_what_saves_most_for_its_room() -> None:
    from orchestrator.bench.cache import Request, bound

    def asked(key: str) -> Request:
        return Request(key, 1000 - 9 - 256 - len(key), 1.0, "often")

    requests = [asked(key) for key in "abab"]
    assert bound(requests, 2000, lambda one: 1.0) == 0.5, "room for both"
    assert bound(requests, 1000, lambda one: 1.0) == 0.5, "each takes half of the room for half of the time"
    assert bound(requests, 500, lambda one: 1.0) == 0.25
    assert bound(requests, 500, lambda one: 3.0 if one.key == "a" else 1.0) == 3 / 8


def test_batches_cost_fewer_commands() -> None:
    measures = {measure.name: measure.commands for measure in frame.run("batch", rounds=1, scale=0.05).measures}
    assert (measures["a command, at most once, client's processor time"] or 1) < 0.05
    assert (measures["a submission, client's processor time"] or 6) < 2, "one script, and the rest shared by all"
