"""`metrics`: what waits in the queues, in the text format of Prometheus."""

from __future__ import annotations

import click

from orchestrator.cli.output import common_options, emit


@click.command()
@common_options
def metrics() -> None:
    """Print the metrics that Flower serves under /metrics, such as orchestrator_queue_backlog."""
    from orchestrator.cli.connect import running_urls
    from orchestrator.environment import Environment

    try:
        from prometheus_client import CollectorRegistry, generate_latest

        from orchestrator.engine.backlog import Backlog
    except ModuleNotFoundError:
        raise click.UsageError("this needs prometheus-client: pip install 'orchestrator[flower]'") from None

    registry = CollectorRegistry()
    urls = running_urls(Environment.load())
    registry.register(Backlog(lambda: urls))
    emit(generate_latest(registry).decode().rstrip("\n"))
