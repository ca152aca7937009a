"""`pools`: what steps are admitted to, who holds it, and who waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import common_options, emit_data, output_option, table

if TYPE_CHECKING:
    import redis

    from orchestrator.resources.models import PoolsStatus, PoolWaiter

NAMES = 4


@click.command()
@output_option
@common_options
def pools(form: str) -> None:
    """Show the pools of the deployment: what is given out, to whom, who waits and how long that takes."""
    from orchestrator.cli.connect import reading
    from orchestrator.environment import Environment

    with reading(Environment.load()) as reader:
        status = pools_of(reader.client)
    emit_data(status.model_dump(mode="json"), form, lambda: _page(status))


def pools_of(client: redis.Redis) -> PoolsStatus:
    """The pools as the settings have them that workers have published."""
    from orchestrator.engine.registry import published_settings
    from orchestrator.resources.store import Pools

    settings = published_settings(client)
    ageing = settings.resource_manager.allocation_strategy.ageing
    return Pools(client, settings.capacity, ageing=ageing).status()


def waits(status: PoolsStatus, run_id: str) -> Iterator[str]:
    """One line for each step of a run that waits for pools: for which, and who holds them."""
    for one in status.waiting:
        if one.run_id == run_id:
            yield f"{one.step} waits{_company(one)} for {_reason(status, one)}"


def _company(one: PoolWaiter) -> str:
    return f", to start together with {', '.join(one.beside)}," if one.beside else ""


def _reason(status: PoolsStatus, one: PoolWaiter) -> str:
    if not one.short:
        return f"its turn, at position {one.position}"
    return "; ".join(f"{name}{_held(status, name)}" for name in one.short)


def _held(status: PoolsStatus, name: str) -> str:
    holders = [f"{one.run_id}/{one.step} ({one.takes[name]:g})" for one in status.holders if name in one.takes]
    if not holders:
        return ""
    more = f" and {len(holders) - NAMES} more" if len(holders) > NAMES else ""
    return f", which {_listed(holders[:NAMES], more)} hold{'s' if len(holders) == 1 else ''}"


def _listed(names: Sequence[str], more: str) -> str:
    return ", ".join(names) + more


def _page(status: PoolsStatus) -> str:
    def amount(units: float | None) -> str:
        return "any" if units is None else f"{units:g}"

    rows: list[tuple[Any, ...]] = [
        (pool.name, f"{pool.used:g}", amount(pool.capacity), pool.waits, f"{pool.mean_wait_seconds:.3g}",
         f"{pool.p95_wait_seconds:.3g}")
        for pool in status.pools
    ]  # fmt: skip
    lines = [table(("pool", "used", "of", "granted", "mean wait (s)", "95 % within (s)"), rows)]
    lines += ["", *(f"{one.run_id}/{one.step} holds {_takes(one.takes)}" for one in status.holders)]
    lines += [f"{one.run_id}/{one.step} waits{_company(one)} for {_reason(status, one)}" for one in status.waiting]
    return "\n".join(lines).rstrip()


def _takes(takes: dict[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in takes.items())
