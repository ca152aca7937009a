"""Whether large values should pass between the processes of a host by shared memory, and what Python can do about
cache lines and NUMA nodes.

A value is JSON that one process has written and another one reads as Python objects: what an agent gets when it reads
the context. By Redis it is one GET; by a pipe the writer sends it; by shared memory the reader gets a name (a claim
check), attaches and reads where the writer has put it. "Bytes only" is the way alone, "as objects" with the parsing
that each reader needs in all three.

What that says: for the bytes shared memory is faster by a multiple; for the value, which each reader parses, the gain
is a fifth to a third of one read (1 to 8 MB), once per attempt, and only where writer and reader share a host. The
value has to be in the store in any case, where it survives the host. So we pass none by shared memory: segments that
need leases, and a sweep after kills, would be a second way to lose something for a few milliseconds.

Python places no objects: which node their memory is on, and which objects share a cache line, is up to the allocator
and the kernel (first touch). What it can do is to bind a process to processors of one node (`os.sched_setaffinity`),
as `numactl --cpunodebind` in front of a worker does for it and all its children. Two processes that count in one cache
line disturb each other; how little is left of that behind the interpreter is the last figure.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Barrier
from pathlib import Path
from random import Random
from time import perf_counter

from orchestrator.bench.context import value_of
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.connection import connect
from orchestrator.context.values import canonical

SIZES = {"100 KB": 100_000, "1 MB": 1_000_000, "8 MB": 7_900_000}
READS = 8
LINE = 64
COUNTS = 300_000
NODES = "/sys/devices/system/node"
KEY = "bench:value"
_spawned = multiprocessing.get_context("spawn")


def measure(setting: Setting) -> Iterator[Measure]:
    """Milliseconds per read, by size and way; then the cost of a shared cache line, and how many nodes there are."""
    random = Random(setting.seed)
    for name, size in SIZES.items():
        data = canonical(value_of(size, random), limit=10_000_000, what="a value").encode()
        yield from _ways(setting, name, data)
    yield from _lines(setting)
    nodes = len(list(Path(NODES).glob("node[0-9]*"))) or 1
    yield Measure(name="NUMA nodes of this machine", unit="", samples=(float(nodes),), better="higher")


def _ways(setting: Setting, name: str, data: bytes) -> Iterator[Measure]:
    reads = setting.times(READS)
    ours, theirs = _spawned.Pipe()
    writer = _spawned.Process(target=write, args=(theirs, setting.server.url(), data), daemon=True)
    writer.start()
    segment = SharedMemory(name=ours.recv())
    shared = _view(segment)
    client = setting.server.client()

    def by_pipe() -> bytes:
        ours.send(True)
        return ours.recv_bytes()

    ways: dict[str, Callable[[], bytes]] = {
        "shared memory": lambda: bytes(shared[: len(data)]),
        "Redis": lambda: client.get(KEY),  # type: ignore[dict-item, return-value]
        "a pipe": by_pipe,
    }
    alone = {way: list[float]() for way in ways}
    parsed = {way: list[float]() for way in ways}
    try:
        for _ in range(setting.rounds):
            for way, read in ways.items():
                alone[way].append(_each(reads, read))
                parsed[way].append(_each(reads, lambda read=read: json.loads(read())))  # type: ignore[misc]
    finally:
        ours.send(False)
        shared.release()
        segment.close()
        writer.join()
    for what, times in (("bytes only", alone), ("as objects", parsed)):
        for peer in ("Redis", "a pipe"):
            yield Measure(
                name=f"{name} by shared memory, {what}", unit="ms", samples=tuple(times["shared memory"]),
                peer=peer, peer_samples=tuple(times[peer]),
            )  # fmt: skip


def write(pipe: Connection, url: str, data: bytes) -> None:
    """The other process: it has the value in all three ways, until it is told that nobody reads any more."""
    connect(url).set(KEY, data)
    segment = SharedMemory(create=True, size=len(data))
    with _view(segment) as shared:
        shared[: len(data)] = data
    pipe.send(segment.name)
    while pipe.recv():
        pipe.send_bytes(data)
    segment.close()
    segment.unlink()


def _view(segment: SharedMemory) -> memoryview:
    assert segment.buf is not None  # noqa: S101 - it is open
    return segment.buf[:]


def _each(times: int, act: Callable[[], object]) -> float:
    begun = perf_counter()
    for _ in range(times):
        act()
    return (perf_counter() - begun) / times * 1000


def _lines(setting: Setting) -> Iterator[Measure]:
    counts = setting.times(COUNTS)
    near, far = list[float](), list[float]()
    for _ in range(setting.rounds):
        for taken, apart in ((near, 1), (far, 4 * LINE // 8)):
            taken.append(_side_by_side(counts, apart))
    yield Measure(
        name="a count beside another process, same cache line", unit="ns", samples=tuple(near),
        peer="lines apart", peer_samples=tuple(far),
    )  # fmt: skip


def _side_by_side(counts: int, apart: int) -> float:
    """Nanoseconds per count of two processes at once, in numbers that lie so many apart."""
    segment = SharedMemory(create=True, size=64 * LINE)
    gate, (ours, theirs) = _spawned.Barrier(2), _spawned.Pipe()
    try:
        other = _spawned.Process(target=count, args=(segment.name, apart, counts, gate, theirs), daemon=True)
        other.start()
        count(segment.name, 0, counts, gate, theirs)
        taken: list[float] = [ours.recv(), ours.recv()]
        other.join()
    finally:
        segment.close()
        segment.unlink()
    return max(taken) / counts * 1e9


def count(name: str, at: int, counts: int, gate: Barrier, told: Connection) -> None:
    """Add one so many times, beside the other process."""
    segment = SharedMemory(name=name)
    view = _view(segment)
    numbers = view.cast("q")
    gate.wait()
    begun = perf_counter()
    for _ in range(counts):
        numbers[at] += 1
    told.send(perf_counter() - begun)
    numbers.release()
    view.release()
    segment.close()
