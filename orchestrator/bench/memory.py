"""What large values cost by shared memory and by the store, and what Python can do about cache lines and NUMA nodes.

What is measured is the whole read of an attempt, once with the value's segment on this host (`context/segments.py`) and
once without: the script on the server, the value's way, lz4 or the checksum, UTF-8, and parsing, which is the same for
both. Another process has committed the value and left it here; to leave it is the price that the writer pays. A text is
a list of lines of words, as a model writes them; records are small mappings, as tables are.

Figures of a busy 2-core x86-64 host (Python 3.11, Valkey 9.1, medians): texts of 1, 4 and 8 MB are read in 4.6, 15
and 26 ms by shared memory, and in 10, 37 and 53 ms from the store, so in less than half the time; to leave them takes
1.4, 6 and 6 ms, so that one reader is enough. Of records, parsing takes nearly all of the time, which each reader does
for itself: 31, 159 and 337 ms, a tenth less than from the store. At 100 KB nothing is gained (0.78 and 0.85 ms, 0.24
to leave it): values below `segments.LEAST` go by the store alone.

Python places no objects: which node their memory is on, and which objects share a cache line, is up to the allocator
and the kernel (first touch). What it can do is to bind a process to processors of one node (`os.sched_setaffinity`),
as `numactl --cpunodebind` in front of a worker does for it and all its children. Two processes that count in one cache
line disturb each other; how little is left of that behind the interpreter is the last figure.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Barrier
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

from orchestrator.bench.context import LIMIT, RUN, ClaimedRun, value_of
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.context.reader import ContextReader
from orchestrator.context.segments import MEMORY, Segments
from orchestrator.context.store import ContextStore
from orchestrator.context.values import canonical, content_hash

SIZES = {"100 KB": 100_000, "1 MB": 1_000_000, "4 MB": 4_000_000, "8 MB": 7_500_000}
READS = 8
LINE = 64
COUNTS = 300_000
NODES = "/sys/devices/system/node"
_spawned = multiprocessing.get_context("spawn")


def measure(setting: Setting) -> Iterator[Measure]:
    """Milliseconds per read, by size and kind of value; then the cost of a shared cache line, and how many nodes there
    are."""
    for size, count in SIZES.items():
        for kind, make in (("text", value_of), ("records", records_of)):
            yield from _reads(setting, f"{size} of {kind}", make(count, Random(setting.seed)))
    yield from _lines(setting)
    nodes = len(list(Path(NODES).glob("node[0-9]*"))) or 1
    yield Measure(name="NUMA nodes of this machine", unit="", samples=(float(nodes),), better="higher")


def records_of(size: int, random: Random) -> list[dict[str, Any]]:
    """A JSON value of about so many bytes: mappings of a few numbers and words."""
    rows, left = list[dict[str, Any]](), size
    while left > 0:
        row = {"id": random.randrange(10**9), "name": f"user {random.randrange(10**6)}", "score": random.random(),
               "tags": random.choices(["new", "open", "urgent"], k=2), "active": random.random() < 0.5}  # fmt: skip
        rows.append(row)
        left -= len(canonical(row, limit=LIMIT, what="a record")) + 1
    return rows


def _reads(setting: Setting, name: str, value: object) -> Iterator[Measure]:
    run = ClaimedRun(setting, 1)
    run.commit(0, value)
    here = Segments(10 * LIMIT, least=0, folder=MEMORY / f"orchestrator-{setting.folder.name}")
    ours, theirs = _spawned.Pipe()
    text = canonical(value, limit=LIMIT, what="a value")
    arguments = (theirs, here, content_hash(text), text, setting.rounds * setting.times(READS))
    writer = _spawned.Process(target=leave, args=arguments, daemon=True)
    writer.start()
    left: list[float] = ours.recv()
    writer.join()
    sides = (ContextStore(run.client, segments=here), run.context)
    times: tuple[list[float], list[float]] = ([], [])
    try:
        for _ in range(setting.rounds):
            for store, taken in zip(sides, times, strict=True):
                taken.append(_each(setting.times(READS), lambda store=store: _read(store)))  # type: ignore[misc]
    finally:
        here.drop(RUN)
    yield Measure(
        name=f"{name}: read by shared memory", unit="ms", samples=tuple(times[0]), peer="from the store",
        peer_samples=tuple(times[1]),
    )  # fmt: skip
    yield Measure(name=f"{name}: to leave it there", unit="ms", samples=tuple(left))


def _read(store: ContextStore) -> object:
    return ContextReader(store, RUN, version=1).field("s0.value")


def leave(pipe: Connection, here: Segments, name: str, text: str, times: int) -> None:
    """The other process: leaves a value, again and again, and tells the milliseconds that it took."""
    taken = []
    for _ in range(times):
        here.drop(RUN)
        taken.append(_each(1, lambda: here.put(RUN, [(name, text)])))
    pipe.send(taken)


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
