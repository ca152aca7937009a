"""The fleet in Redis: what each worker has told last, and what was decided. Bounded: who is silent is taken out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import redis

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.fleet.models import Decision, Worker
from orchestrator.scripts import Script, fragment

KEPT = 500
"""About so many decisions are kept, the newest."""

TELL = Script(fragment("orchestrator.fleet", "tell"))


def tell(client: redis.Redis, worker: Worker | None, silence: float) -> tuple[float, list[str], dict[str, Worker]]:
    """Tell of a worker (None: only listen) and hear of all; one round trip. -> Redis' time, the workers that have been
    silent for more than `silence` seconds and that no other call was told of, and all others by name."""
    name, text = ("", "") if worker is None else (worker.name, worker.model_dump_json(exclude_defaults=True))
    now, lost, *rest = TELL.at(client, keys.FLEET, name, text, f"{silence:g}")
    found = {
        raw.decode(): Worker.model_validate_json(told.partition(b" ")[2])
        for raw, told in zip(rest[::2], rest[1::2], strict=True)
    }
    return float(now), [raw.decode() for raw in lost], found


def forget(client: redis.Redis, worker: str) -> None:
    """A worker has stopped in order; one round trip."""
    with guarded():
        client.hdel(keys.FLEET, worker)


def keep(client: redis.Redis, decisions: Iterable[Decision]) -> None:
    """Record what was decided; one round trip, none without decisions."""
    found: list[Mapping[str, Any]] = [one.model_dump(exclude={"at"}) for one in decisions]
    if found:
        with guarded():
            pipe = client.pipeline(transaction=False)
            for fields in found:
                pipe.xadd(keys.FLEET_LOG, cast(Any, fields), maxlen=KEPT, approximate=True)
            pipe.execute()


def decisions(client: redis.Redis, *, limit: int = 20) -> list[Decision]:
    """The newest decisions first; one round trip."""
    with guarded():
        rows = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrevrange(keys.FLEET_LOG, count=limit))
    return [
        Decision.model_validate(
            {name.decode(): value.decode() for name, value in fields.items()}
            | {"at": int(entry.partition(b"-")[0]) / 1000}
        )
        for entry, fields in rows
    ]
