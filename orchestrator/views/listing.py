"""Pages of the list of runs, filtered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import cast

import redis
from msgspec import Struct

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.run.models import RunState
from orchestrator.views.models import RunRow

AT_ONCE = 200
LOOKED_AT = 10_000
"""A page ends after so many runs have been looked at, even when few of them were wanted."""
CLOCKS_DIFFER = 60.0
"""Seconds by which the clocks of clients, which order the list, may be away from Redis' clock, which dates runs."""
_FIELDS = ("workflow", "state", "created_at", "started_at", "finished_at", "reason", "quality_impact", "done", "total")


class Wanted(Struct, frozen=True):
    """Which runs. Times are seconds since the epoch; an empty collection or text stands for all."""

    states: Collection[RunState] = ()
    workflow: str | None = None
    search: str = ""
    created_after: float | None = None
    created_before: float | None = None

    def fits(self, run: RunRow) -> bool:
        """Whether a run is one of them."""
        text = self.search.casefold()
        return (
            (not self.states or run.state in self.states)
            and self.workflow in (None, run.workflow)
            and (self.created_after is None or run.created_at >= self.created_after)
            and (self.created_before is None or run.created_at <= self.created_before)
            and (not text or text in run.run_id.casefold() or text in run.workflow.casefold())
        )


def page(
    client: redis.Redis, wanted: Wanted, *, limit: int, cursor: str | None = None
) -> tuple[list[RunRow], str | None]:
    """The newest runs that are wanted, of those behind `cursor`, and the cursor of the next page. The cursor names the
    last run that was looked at, `<time of creation>_<run id>`: runs that are created meanwhile do not move it."""
    found: list[RunRow] = []
    for looked_at, (run_id, score, row) in enumerate(_newest_first(client, wanted, cursor), 1):
        run = _row(run_id, row)
        if run is not None and wanted.fits(run):
            found.append(run)
        if len(found) == limit or looked_at == LOOKED_AT:
            return found, f"{score:.9f}".rstrip("0").rstrip(".") + f"_{run_id}"
    return found, None


def rows(client: redis.Redis, runs: Collection[str]) -> list[RunRow]:
    """The rows of these runs, of those that there are."""
    with guarded():
        found = zip(runs, _read(client, runs), strict=True)
    return [row for row in (_row(run_id, cells) for run_id, cells in found) if row is not None]


def _read(client: redis.Redis, runs: Iterable[str]) -> list[Sequence[bytes | None]]:
    pipe = client.pipeline(transaction=False)
    for run_id in runs:
        pipe.hmget(keys.run_key(run_id, "meta"), _FIELDS)
    return cast("list[Sequence[bytes | None]]", pipe.execute())


def _newest_first(
    client: redis.Redis, wanted: Wanted, cursor: str | None
) -> Iterator[tuple[str, float, Sequence[bytes | None]]]:
    highest = "+inf" if wanted.created_before is None else repr(wanted.created_before + CLOCKS_DIFFER)
    lowest = "-inf" if wanted.created_after is None else repr(wanted.created_after - CLOCKS_DIFFER)
    behind: tuple[float, str] | None = None
    if cursor is not None:
        time, _, run_id = cursor.partition("_")
        behind = (float(time), run_id)
        highest = repr(min(float(highest), float(time)))
    offset = 0
    while True:
        with guarded():
            found = cast(
                "list[tuple[bytes, float]]",
                client.zrevrangebyscore(keys.RUNS, highest, lowest, start=offset, num=AT_ONCE, withscores=True),
            )
            cells = _read(client, [name.decode() for name, _ in found])
        for (name, score), row in zip(found, cells, strict=True):
            place = (score, name.decode())
            if behind is None or place < behind:
                yield place[1], score, row
        if len(found) < AT_ONCE:
            return
        offset += AT_ONCE


def _row(run_id: str, row: Sequence[bytes | None]) -> RunRow | None:
    """None for a run that has expired, or is not created yet."""
    workflow, state, created, started, finished, reason, impact, done, total = (
        None if cell is None else cell.decode() for cell in row
    )
    if state is None:
        return None
    return RunRow(
        run_id=run_id,
        workflow=workflow or "",
        state=RunState(state),
        created_at=float(created or 0),
        started_at=float(started) if started else None,
        finished_at=float(finished) if finished else None,
        reason=reason or None,
        quality_impact=impact,
        progress=share(done, total),
    )


def share(done: str | bytes | None, total: str | bytes | None) -> float:
    """How much of a run has ended, from 0 to 1, of the counts that its ledger keeps: steps and barriers."""
    return min(1.0, int(done or 0) / max(1, int(total or 0)))
