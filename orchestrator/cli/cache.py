"""`cache stats|clear`: what the caches of a deployment hold, how often they helped, and how to empty them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins

from orchestrator.cli.output import common_options, emit_data, output_option, table, talk
from orchestrator.problems import did_you_mean

if TYPE_CHECKING:
    from orchestrator.cache.models import CacheStats


@click.group()
@common_options
def cache() -> None:
    """The caches that all runs share: what agents have written, rendered templates, versions of contexts."""


@cache.command("stats")
@click.argument("names", nargs=-1)
@output_option
@common_options
def stats(names: tuple[str, ...], form: str) -> None:
    """Show what the caches hold (NAMES, or all), and what was counted since they were emptied."""
    from orchestrator.cli.connect import store_only
    from orchestrator.environment import Environment

    with store_only(Environment.load()) as client:
        caches = client.caches
        chosen = _chosen(names, caches)
        found = {name: caches[name].stats() for name in chosen if names or "." not in name}
    emit_data({name: _document(one) for name, one in found.items()}, form, lambda: _page(found))


@cache.command("clear")
@click.argument("names", nargs=-1)
@common_options
def clear(names: tuple[str, ...]) -> None:
    """Empty caches (NAMES, or all). What is being computed is still kept."""
    from orchestrator.cli.connect import store_only
    from orchestrator.environment import Environment

    with store_only(Environment.load()) as client:
        caches = client.caches
        for name in _chosen(names, caches):
            talk(f"{name}: {caches[name].clear()} entries dropped")


def _chosen(names: tuple[str, ...], known: Mapping[str, Any]) -> list[str]:
    """Raises click.UsageError for what is no cache. A part of a cache goes with it."""
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
            raise click.UsageError(f"no cache is called '{name}'; {hint}")
    return [name for name in known if not names or name in names or name.partition(".")[0] in names]


def _document(one: CacheStats) -> dict[str, Any]:
    document: dict[str, Any] = to_builtins(one)
    return document | {"hit_ratio": one.hit_ratio}


def _page(found: Mapping[str, CacheStats]) -> str:
    rows = [
        (
            name,
            one.entries,
            f"{one.bytes:,}",
            f"{one.bytes / one.limit:.0%}",
            one.hits,
            one.misses,
            "-" if one.hit_ratio is None else f"{one.hit_ratio:.0%}",
            f"{one.saved_seconds:.1f} s",
            one.evicted,
            one.expired,
            one.corrupt,
            one.too_large,
        )
        for name, one in found.items()
    ]
    columns = ("cache", "entries", "bytes", "full", "hits", "misses", "ratio", "saved", "evicted", "expired",
               "corrupt", "too large")  # fmt: skip
    lines = [table(columns, rows)]
    families = [
        (name, family, counts.entries, counts.hits, counts.stores)
        for name, one in found.items()
        for family, counts in sorted(one.families.items())
    ]
    if families:
        lines += ["", table(("cache", "of", "entries", "hits", "stores"), families)]
    return "\n".join(lines)
