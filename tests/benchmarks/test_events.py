"""How long it takes from a change in the store until a watcher has it: the event's own time, by Redis' clock, against
the moment its bytes arrive. Store, Flower and watchers are on one host, so there is one clock. And what a hundred
watchers leave behind in Flower. It prints the figures:  pytest -m benchmark -s tests/benchmarks/test_events.py"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from statistics import quantiles
from time import time

import psutil
import pytest

from orchestrator import Client, RunHandle
from orchestrator.flower.service import THREADS
from tests.conftest import Store
from tests.flowers import TOKEN, Flower
from tests.workers import Worker, eventually

SECONDS = 60
WATCHERS, HELD, TURNS = 100, 20.0, 3


async def _connect(flower: Flower, run_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", flower.port)
    asked = f"GET /api/workflows/{run_id}/events HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", "", ""
    writer.write("\r\n".join(asked).encode())
    return reader, writer


async def _watch(flower: Flower, run_id: str, ready: asyncio.Barrier) -> list[float]:
    """Seconds from each event to its arrival, until the run has ended."""
    reader, writer = await _connect(flower, run_id)
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


async def _hold(flower: Flower, run: RunHandle, seconds: float) -> tuple[int, int, int]:
    """So many watchers read for so long. How many events they were told, and at the end of it, while all are still
    connected, how many files Flower has open and how many bytes of memory it has."""
    watchers = [await _connect(flower, run.id) for _ in range(WATCHERS)]
    told = await asyncio.gather(*(_count(reader, seconds) for reader, _ in watchers))
    process = psutil.Process(flower.pid)
    seen = sum(told), process.num_fds(), process.memory_info().rss
    for _, writer in watchers:
        writer.close()
        await writer.wait_closed()
    return seen


async def _count(reader: asyncio.StreamReader, seconds: float) -> int:
    count = 0
    try:
        async with asyncio.timeout(seconds):
            while line := await reader.readline():
                count += line.startswith(b"data: ")
    except TimeoutError:
        return count
    raise AssertionError("Flower has ended the stream")


@pytest.mark.benchmark
def test_a_hundred_watchers_of_20_seconds_leave_nothing_behind(store: Store, tmp_path: Path) -> None:
    """Of a run that tells something ten times a second. What there was after a first turn is what the others are
    compared with; each of Flower's threads keeps a connection to the store, from when it is needed first."""
    step = {"id": "work", "agent": "progress", "with": {"seconds": 600, "every": 0.1}, "timeout": "15m"}
    with Worker(store.url, tmp_path), Flower(store.url, tmp_path) as flower, Client(store.url) as client:
        run = client.submit({"name": "watched", "steps": [step]})
        process = psutil.Process(flower.pid)
        _, most, _ = asyncio.run(_hold(flower, run, 5.0))
        eventually(lambda: process.num_fds() <= most - WATCHERS, within=SECONDS, what="the watchers are gone")
        base, memory = process.num_fds(), process.memory_info().rss
        print(f"\nbase: {base} files, {memory / 1e6:.1f} MB")
        grown = []
        for turn in range(1, TURNS + 1):
            events, most, held = asyncio.run(_hold(flower, run, HELD))
            assert events >= WATCHERS * HELD, "they are told what happens"
            assert most >= base + WATCHERS, "they are all there at once"
            eventually(lambda: process.num_fds() <= base + THREADS, within=SECONDS, what="the watchers are gone")
            grown.append(process.memory_info().rss - memory)
            print(f"turn {turn}: {events} events to {WATCHERS} watchers in {HELD:.0f} s; with them {most} files, "
                  f"{held / 1e6:.1f} MB; after them {process.num_fds()} files, {grown[-1] / 1e6:+.1f} MB")  # fmt: skip
        run.cancel()
    assert grown[-1] < grown[0] + 5e6, "what one turn leaves, the next one takes again"
