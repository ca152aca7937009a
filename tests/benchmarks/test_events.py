"""How long it takes from a change in the store until a watcher has it: the event's own time, by Redis' clock, against
the moment its bytes arrive. Store, Flower and watchers are on one host, so there is one clock."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from statistics import quantiles
from time import time

import pytest

from orchestrator import Client
from tests.conftest import Store
from tests.flowers import TOKEN, Flower
from tests.workers import Worker

SECONDS = 60


async def _watch(flower: Flower, run_id: str, ready: asyncio.Barrier) -> list[float]:
    """Seconds from each event to its arrival, until the run has ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", flower.port)
    asked = f"GET /api/workflows/{run_id}/events HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", "", ""
    writer.write("\r\n".join(asked).encode())
    delays: list[float] = []
    while line := await reader.readline():
        now = time()
        if line.startswith(b"retry:"):
            await ready.wait()
            delays.clear()  # what had happened before is told late on purpose
        elif line.startswith(b"data: "):
            event = json.loads(line[6:])
            delays.append(now - event["at"])
            if (event["type"], event["state"]) == ("run", "success"):
                break
    writer.close()
    return delays


async def _measure(flower: Flower, client: Client, watchers: int, count: int) -> list[float]:
    steps = [{"id": "hold", "agent": "sleep", "with": {"seconds": 3}}]
    steps += [{"id": f"s{number}", "agent": "noop", "needs": ["hold"]} for number in range(count)]
    run = await asyncio.to_thread(client.submit, {"name": "watched", "steps": steps})
    ready = asyncio.Barrier(watchers)
    async with asyncio.timeout(SECONDS):
        return [delay for one in await asyncio.gather(
            *(_watch(flower, run.id, ready) for _ in range(watchers))) for delay in one]  # fmt: skip


@pytest.mark.benchmark
@pytest.mark.parametrize(("watchers", "steps"), [(1, 200), (100, 10)])
def test_a_change_reaches_its_watchers(store: Store, tmp_path: Path, watchers: int, steps: int) -> None:
    """With a hundred watchers this process has to read a hundred times as much, which is not what is measured."""
    with Worker(store.url, tmp_path), Flower(store.url, tmp_path) as flower, Client(store.url) as client:
        delays = asyncio.run(_measure(flower, client, watchers, steps))
    assert len(delays) >= watchers * steps * 3, "queued, running, success of each step"
    cuts = [round(cut * 1000, 1) for cut in quantiles(delays, n=100)]
    print(f"\n{watchers} watchers, {len(delays)} events: p50 {cuts[49]} ms, p95 {cuts[94]} ms, p99 {cuts[98]} ms")
    assert cuts[94] < 1000
