"""`fleet`: the workers of a deployment, how they do, and what they have decided."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import common_options, emit_data, output_option, table
from orchestrator.units import format_duration

if TYPE_CHECKING:
    import redis

    from orchestrator.fleet.models import Decision, Worker

_COLOURS = {"drained": "red", "probing": "yellow"}
SILENCE_SECONDS = 3600.0
"""Only workers take out who is silent; a command that looks leaves that to them."""


@click.command()
@click.option("--limit", type=click.IntRange(0, 500), default=10, show_default=True, help="So many decisions.")
@output_option
@common_options
def fleet(limit: int, form: str) -> None:
    """Show each worker's load and health, the queues that it takes from, and the newest decisions with the reasons."""
    from orchestrator.cli.connect import store_url
    from orchestrator.connection import connect
    from orchestrator.environment import Environment
    from orchestrator.fleet import store

    with store_url(Environment.load()) as url:
        client = connect(url)
        _, _, workers = store.tell(client, None, SILENCE_SECONDS)
        decisions = store.decisions(client, limit=limit) if limit else []
        ratios = _hit_ratios(client)
    found = [workers[name] for name in sorted(workers)]
    emit_data(
        {
            "workers": [one.model_dump(mode="json") for one in found],
            "decisions": [one.model_dump(mode="json") for one in decisions],
            "cache_hit_ratios": ratios,
        },
        form,
        lambda: "\n\n".join(filter(None, (_workers(found), _caches(ratios), _decisions(decisions)))),
    )


def _hit_ratios(client: redis.Redis) -> dict[str, float | None]:
    """Of each cache, None before its first lookup; nothing when the settings do not name them."""
    from orchestrator.cache.levels import Level, rules_of
    from orchestrator.cache.store import Cache
    from orchestrator.engine.registry import published_settings

    settings = published_settings(client)
    if not settings.performance_monitoring.measures("cache_hit_ratios"):
        return {}
    rules = rules_of(settings)
    return {str(level): Cache(client, rules[level]).stats().hit_ratio for level in Level}


def _caches(ratios: dict[str, float | None]) -> str:
    told = [f"{name} {ratio:.0%}" for name, ratio in ratios.items() if ratio is not None]
    return f"hit ratios of caches: {', '.join(told)}" if told else ""


def _workers(workers: list[Worker]) -> str:
    titles = ("worker", "standing", "busy", "response", "p95", "slowness", "failures", "cpu", "memory", "network",
              "queues")  # fmt: skip
    rows = [
        (
            one.name,
            str(one.standing),
            f"{one.busy}/{one.slots}",
            _seconds(one.response) if one.samples else "",
            _seconds(one.p95) if one.samples else "",
            f"{one.slowness:.2f}" if one.samples else "",
            f"{one.failures:.0%}" if one.samples else "",
            f"{one.cpu:.0f} %" + ("" if one.cpu_average is None else f", {one.cpu_average:.0f} on average"),
            f"{one.memory:.0f} %" + ("" if one.memory_peak is None else f", at most {one.memory_peak:.0f}"),
            "" if one.network_share is None else f"{one.network_share:.2g} %",
            ", ".join([*one.home, *(f"+{name}" for name in one.borrowed)]),
        )
        for one in workers
    ]
    return table(titles, rows, _COLOURS)


def _decisions(decisions: list[Decision]) -> str:
    if not decisions:
        return ""
    rows = [
        (f"{datetime.fromtimestamp(one.at, UTC).astimezone():%H:%M:%S}", one.worker, one.act, one.queue, one.reason)
        for one in decisions
    ]
    return table(("when", "worker", "decision", "queue", "why"), rows)


def _seconds(value: float) -> str:
    return format_duration(float(f"{value:.3g}"))
