"""What is asked of the pools, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from orchestrator.demand import together
from orchestrator.fields import Frozen

Numbered = tuple[str, int]
"""A lease's id, `<run id>/<step>`, and the number of the asking that it was granted for."""


def lease_id(run_id: str, step: str) -> str:
    return f"{run_id}/{step}"


def of_lease(name: str) -> tuple[str, str]:
    """Run id and step of a lease."""
    run_id, _, step = name.partition("/")
    return run_id, step


class Ask(Struct, frozen=True):
    """A step that is ready asks for its lease. `n` is its asking number, `kind` its demand (`orchestrator.demand`),
    `ms` how long it is expected to hold it; `key` and `weight` share fairly, `agent_class` counts its backlog.
    `conflict`: `skip` or `cancel_running`, when it does not want to wait for the limit that it brings along.
    `group`: of all that ask at once and name the same one, all are to start together."""

    id: str
    n: int
    kind: str
    priority: int
    key: str
    weight: float
    ms: int
    agent_class: str
    conflict: str | None = None
    group: str | None = None

    def row(self) -> dict[str, Any]:
        """As `exchange.lua` reads it."""
        return _row(self.id, self.kind, self.priority, (self,))


def rows(asks: Sequence[Ask], capacity: Mapping[str, int]) -> list[dict[str, Any]]:
    """What `exchange.lua` reads: a row for each ask, and one for those of a group together that can ever fit at once.
    Those that never can start one by one."""
    groups: dict[object, list[Ask]] = {}
    for at, ask in enumerate(asks):
        groups.setdefault((of_lease(ask.id)[0], ask.group) if ask.group else at, []).append(ask)
    found: list[dict[str, Any]] = []
    for members in groups.values():
        kind = together([ask.kind for ask in members], capacity)
        if len(members) == 1 or not kind or any(ask.conflict for ask in members):
            found += [ask.row() for ask in members]
        else:
            found.append(_row(f"{members[0].id}&", kind, max(ask.priority for ask in members), members))
    return found


def _row(name: str, kind: str, priority: int, parts: Sequence[Ask]) -> dict[str, Any]:
    first = parts[0]
    row = {"id": name, "kind": kind, "priority": priority, "key": first.key, "weight": first.weight,
           "parts": [{"id": part.id, "n": part.n, "kind": part.kind, "ms": part.ms, "class": part.agent_class}
                     for part in parts]}  # fmt: skip
    return row if first.conflict is None else row | {"conflict": first.conflict}


class Met(Struct, frozen=True):
    """An ask that met others under its own limit: who holds it."""

    id: str
    n: int
    holders: tuple[str, ...]


class Exchanged(Struct, frozen=True):
    """`granted`: have a lease from now on; `looks`: leases to be looked at; `conflicts`: asks that met others."""

    granted: tuple[Numbered, ...]
    looks: tuple[Numbered, ...] = ()
    conflicts: tuple[Met, ...] = ()


class PoolHolder(Frozen):
    """A step that holds a lease, in units of each pool. `since`: the ms since the epoch by Redis' clock."""

    run_id: str
    step: str
    takes: dict[str, float]
    since: int


class PoolWaiter(Frozen):
    """A step that waits since `since`, at `position` in the order of those who do; the pools in `short` lack what it
    wants, and those `beside` it that start together with it."""

    run_id: str
    step: str
    takes: dict[str, float]
    since: int
    priority: int
    short: tuple[str, ...]
    position: int
    beside: tuple[str, ...] = ()


class PoolUse(Frozen):
    """One pool: its units (None: without bound), how many of them are given out, and how long steps that take of it
    have waited: how many, their mean, and the time within which 95 % of them got their lease, in seconds."""

    name: str
    capacity: float | None
    used: float
    waits: int = 0
    mean_wait_seconds: float = 0.0
    p95_wait_seconds: float = 0.0


class PoolsStatus(Frozen):
    """All pools at `now` (ms since the epoch), who holds what, and who waits, the next one first."""

    now: int
    pools: tuple[PoolUse, ...]
    holders: tuple[PoolHolder, ...]
    waiting: tuple[PoolWaiter, ...]
