"""`analyze`: where the time of a run went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.follow import seconds as whole
from orchestrator.cli.output import common_options, emit_data, output_option, table

if TYPE_CHECKING:
    from orchestrator.views.analysis import Analysis

_CAUSES = {
    "between": "between steps (barriers, releases)",
    "held": "held (locks, pools, pauses)",
    "queued": "waiting for a worker",
    "failed": "in attempts that failed, and until the next",
}


@click.command()
@click.argument("run")
@output_option
@common_options
def analyze(run: str, form: str) -> None:
    """Show which chain of steps decided how long RUN took, and what they did meanwhile, beside the plan; then what
    `metrics_collection` of the engine file says to measure."""
    from orchestrator.cli.connect import store_only
    from orchestrator.cli.targets import check_id
    from orchestrator.environment import Environment
    from orchestrator.views.analysis import analyse
    from orchestrator.views.measures import facts_of, measures
    from orchestrator.views.reader import RunViews

    check_id(run, "run")
    with store_only(Environment.load()) as client:
        view = RunViews(client).view(run, values=False)
        measured = measures(client.settings.performance_monitoring, facts_of(client, view))
    found = analyse(view)
    document = found.model_dump(mode="json") | {"parallelism": found.parallelism, "metrics": measured}
    emit_data(document, form, lambda: "\n\n".join(filter(None, (_text(found), _measured(measured)))))


def _measured(metrics: Mapping[str, Any]) -> str:
    """One line each, without those of which there is nothing to tell."""
    rows = []
    for name, value in metrics.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        unit = " s" if name.endswith("_time") else " %" if name.endswith("_percentage") else ""
        told = ", ".join(f"{part} {number:g}{unit}".strip() for part, number in parts if number is not None)
        if told:
            rows.append((name.replace("_", " "), told))
    return table(("measured", ""), rows) if rows else ""


def seconds(value: float) -> str:
    """Hundredths below ten seconds: what the engine takes is less than a tenth."""
    return f"{value:.2f} s" if value < 10 else whole(value)


def _text(found: Analysis) -> str:
    titles = ("step", "attempts", "between", "held", "queued", "failed", "running", "planned")
    rows = [
        (
            leg.step, leg.attempts,
            *(seconds(part) for part in (leg.between, leg.held, leg.queued, leg.failed, leg.running)),
            "-" if leg.planned is None else seconds(leg.planned),
        )
        for leg in found.path
    ]  # fmt: skip
    head = (
        f"{found.workflow} {found.state}: {seconds(found.took)}, {seconds(found.planned)} planned; "
        f"{seconds(found.work)} of work, {found.parallelism:.1f} steps at a time"
    )
    if not rows:
        return f"{head}\nno step has had its turn yet"
    longest = max(found.path, key=lambda leg: leg.total)
    share = longest.total / sum(leg.total for leg in found.path) if longest.total else 0.0
    lost = [f"{seconds(spent)} {_CAUSES[name]}" for name, spent in found.lost().items() if spent >= 0.0005]
    return "\n".join(
        (
            head,
            "",
            "what its end has waited for:",
            table(titles, rows),
            "",
            f"longest: {longest.step}, {seconds(longest.total)} ({share:.0%})",
            f"not running: {', '.join(lost) or 'at no time'}",
        )
    )
