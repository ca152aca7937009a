"""What was compared, as a picture: each measure's rounds, ours as a share of the peer's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.bench.results import Measure, Report
from orchestrator.errors import InvalidValue

FORMS = (".png", ".svg")
_OURS, _WORSE, _INK = "#0072b2", "#d55e00", "#333333"
"""Colours that people with any kind of sight tell apart (Okabe and Ito 2008)."""


def check(path: str) -> None:
    """Raises InvalidValue, before anything is measured, for what could not be drawn."""
    if Path(path).suffix.lower() not in FORMS:
        raise InvalidValue(f"'{path}' has to end with one of {', '.join(FORMS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InvalidValue("--plot needs matplotlib: install orchestrator[bench]") from error


def draw(reports: Sequence[Report], path: Path) -> None:
    """One line for each measure that has a peer: a dot per round, a bar at the median, and where both are equal."""
    from matplotlib.figure import Figure

    compared = [(report.benchmark, measure) for report in reports for measure in report.measures if measure.peer]
    if not compared:
        raise InvalidValue("nothing to draw: none of these benchmarks has a peer")
    figure = Figure(figsize=(9, 1.4 + 0.42 * len(compared)), layout="constrained")
    axes = figure.subplots()
    for at, (_, measure) in enumerate(compared):
        pairs = [ours / theirs for ours, theirs in zip(measure.samples, measure.peer_samples, strict=False)]
        good = measure.steadiest <= 1 if measure.better == "lower" else measure.steadiest >= 1
        colour = _OURS if good else _WORSE
        axes.plot(pairs, [at] * len(pairs), "o", color=colour, alpha=0.5, markersize=5)
        axes.plot([measure.steadiest], [at], "|", color=colour, markersize=18, markeredgewidth=2.5)
        axes.annotate(
            f"{measure.steadiest:.2f}", (measure.steadiest, at), xytext=(0, 9), textcoords="offset points",
            ha="center", fontsize=8, color=_INK,
        )  # fmt: skip
    axes.axvline(1, color=_INK, linewidth=1)
    axes.set_yticks(range(len(compared)), [_label(*one) for one in compared], fontsize=9)
    axes.invert_yaxis()
    axes.set_ylim(len(compared) - 0.4, -0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_xlabel("ours by the peer's, each round; the line is where both are equal", fontsize=9)
    axes.grid(axis="x", color="#dddddd")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    last = reports[-1]
    figure.suptitle(
        f"{last.machine.cores} cores, Python {last.machine.python}, {last.server}, AOF {last.aof}, "
        f"Celery {last.versions.get('celery', '?')}",
        fontsize=9, color=_INK,
    )  # fmt: skip
    figure.savefig(path, dpi=150)


def _label(benchmark: str, measure: Measure) -> str:
    arrow = "less is better" if measure.better == "lower" else "more is better"
    return f"{benchmark}: {measure.name}\nbeside {measure.peer}, {arrow}"
