"""`alerts`: what the people who run this deployment should know of."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from orchestrator.cli.output import common_options, emit_data, output_option, table

_COLOURS = {"error": "red", "warning": "yellow"}


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@output_option
@common_options
def alerts(limit: int, form: str) -> None:
    """List the newest alerts of the deployment, such as groups that fell back to sequential execution."""
    from orchestrator.cli.connect import store_only
    from orchestrator.environment import Environment
    from orchestrator.metrics.alerts import alerts as newest

    with store_only(Environment.load()) as client:
        found = newest(client.redis, limit=limit)
    rows = [
        (f"{datetime.fromtimestamp(one.at, UTC).astimezone():%Y-%m-%d %H:%M:%S}", one.severity, one.run_id, one.message)
        for one in found
    ]
    emit_data(
        [one.model_dump(mode="json") for one in found],
        form,
        lambda: table(("when", "severity", "run", ""), rows, _COLOURS),
    )
