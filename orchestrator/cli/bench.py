"""`bench`: measure, and print the figures beside those of peers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.connect import store_url
from orchestrator.cli.output import common_options, emit, emit_data, output_option, table, talk
from orchestrator.environment import Environment

if TYPE_CHECKING:
    from orchestrator.bench.results import Measure, Report


_MET = {True: "met", False: "missed", None: "not measured"}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--rounds", type=click.IntRange(1, 1000), help="How often to measure; each benchmark has its default.")
@click.option("--seed", type=int, default=7, show_default=True, help="What random values are made from.")
@click.option("--aof", is_flag=True, help="Let the server keep an append-only file, as a deployment does.")
@click.option("--against", multiple=True, type=click.Choice(["dask", "dramatiq"]), help="A peer beside raw Celery.")
@click.option("--save", type=click.Path(dir_okay=False), help="Append each report to this file, one JSON line each.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw what was compared: a .png or .svg file.")
@click.option("--record", is_flag=True, help="Keep the reports in the store, and compare with those of this machine.")
@click.option("--history", is_flag=True, help="Show what is kept in the store instead of measuring.")
@click.option("--list", "listed", is_flag=True, help="List the benchmarks.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@output_option
@common_options
def bench(names: tuple[str, ...], listed: bool, history: bool, as_json: bool, form: str, **how: Any) -> None:
    """Measure what things cost on this machine, on a server of its own; all benchmarks unless some are named. `targets`
    stands for all that a promise was made for, and tells which are met.

    Peers are measured in the same minutes, taking turns. Figures of a busy machine say little; ratios say more.
    """
    from orchestrator.bench.frame import BENCHMARKS, find
    from orchestrator.bench.targets import benchmarks

    form = "json" if as_json else form
    promised = "targets" in names
    names = tuple(dict.fromkeys(one for name in names for one in (benchmarks() if name == "targets" else (name,))))
    for name in names:
        find(name)
    if listed:
        rows = [(name, one.rounds, one.summary) for name, one in BENCHMARKS.items()]
        found = {name: {"rounds": one.rounds, "summary": one.summary} for name, one in BENCHMARKS.items()}
        emit_data(found, form, lambda: table(("name", "rounds", ""), rows))
    elif history:
        _show_history(names or tuple(BENCHMARKS), form)
    else:
        _measure(names, form, promised=promised, **how)


def _measure(
    names: Sequence[str], form: str, *, rounds: int | None, seed: int, aof: bool, save: str | None, plot: str | None,
    record: bool, promised: bool, against: Sequence[str],
) -> None:  # fmt: skip
    from orchestrator.bench.frame import run_all
    from orchestrator.bench.targets import judge

    if against:
        from orchestrator.bench import peers

        peers.check(against)
    if plot is not None:
        from orchestrator.bench import plot as plotting

        plotting.check(plot)
    reports, worse = [], []
    for report in run_all(names, rounds=rounds, seed=seed, aof=aof, against=against):
        reports.append(report)
        if save is not None:
            with Path(save).open("a", encoding="utf-8") as file:
                file.write(report.model_dump_json() + "\n")
        if record:
            worse += _record(report)
        if form == "table":
            talk(_about(report))
            emit(report_table(report) + "\n")
    if plot is not None:
        plotting.draw(reports, Path(plot))
    verdicts = tuple(judge(reports)) if promised else ()
    if form != "table":
        found = {"reports": [report.model_dump(mode="json") for report in reports], "regressions": worse}
        emit_data(found | {"targets": [one.model_dump(mode="json") for one in verdicts]}, form, str)
    elif verdicts:
        rows = [(_MET[one.met], one.promise, one.limit, _number(one.found), one.how) for one in verdicts]
        emit(table(("", "promise", "limit", "measured", "how"), rows) + "\n")


def _record(report: Report) -> list[str]:
    """What has become worse, in sentences."""
    from orchestrator.bench import history
    from orchestrator.connection import connect

    with store_url(Environment.load()) as url:
        found = [f"{report.benchmark}: {one.sentence}" for one in history.record(connect(url), report)]
    for sentence in found:
        talk(f"worse than before: {sentence}")
    return found


def _show_history(names: Sequence[str], form: str) -> None:
    from orchestrator.bench import history
    from orchestrator.connection import connect

    with store_url(Environment.load()) as url:
        kept = {name: history.reports(connect(url), name) for name in names}
    found = {name: [report.model_dump(mode="json") for report in reports] for name, reports in kept.items() if reports}
    rows = []
    for name, reports in kept.items():
        if not reports:
            continue
        worse = {one.measure for one in history.regressions(reports)}
        alike = [one for one in reports if one.comparable(reports[-1])]
        for measure in reports[-1].measures:
            line = history.series(measure, alike)
            last = " ".join(str(_number(figure)) for figure in line.figures[-5:])
            rows.append((name, line.measure, line.unit, len(alike), last, line.measure in worse or None))
    emit_data(found, form, lambda: table(("benchmark", "measure", "unit", "reports", "last figures", "worse"), rows))


def _about(report: Report) -> str:
    machine = report.machine
    packages = ", ".join(f"{name} {report.versions[name]}" for name in ("celery", "redis") if name in report.versions)
    return (
        f"{report.benchmark}: {report.rounds} rounds, seed {report.seed}, {report.server}, AOF {report.aof}; "
        f"{machine.cores} cores, load {report.load:.1f}, Python {machine.python}, {packages}"
    )


def report_table(report: Report) -> str:
    """One line for each figure; medians of the rounds."""
    rows = [_row(measure) for measure in report.measures]
    titles = ("measure", "unit", "median", "least", "most", "commands", "peer", "its median", "its commands", "ratio")
    shown = [at for at, _ in enumerate(titles) if at < 2 or any(row[at] is not None for row in rows)]
    return table([titles[at] for at in shown], [[row[at] for at in shown] for row in rows])


def _row(measure: Measure) -> list[str | None]:
    ratio = f"{measure.ratio:.2f} (pairs {measure.pair_ratio:.2f})" if measure.ratio is not None else None
    numbers = (measure.value, min(measure.samples), max(measure.samples), measure.commands)
    return [
        measure.name,
        measure.unit,
        *(_number(number) for number in numbers),
        measure.peer,
        _number(measure.peer_value),
        _number(measure.peer_commands),
        ratio,
    ]


def _number(value: float | None) -> str | None:
    """Three significant digits."""
    if value is None:
        return None
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
