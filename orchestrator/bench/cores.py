"""Pure Python on all cores: steps of a workflow beside `multiprocessing`, which does nothing but that."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from time import perf_counter

from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import OURS, definition, ended, our_worker
from orchestrator.client import Client

STEPS = 64
CPU_SECONDS = 0.05


def measure(setting: Setting) -> Iterator[Measure]:
    """Seconds until all steps are done, and the share of the cores' time that their work is."""
    cores = len(os.sched_getaffinity(0))
    count = setting.times(STEPS)
    spec = definition(
        "cores", *({"id": f"s{n}", "agent": "spin", "with": {"cpu_seconds": CPU_SECONDS}} for n in range(count))
    )
    ours, theirs = list[float](), list[float]()
    with (
        multiprocessing.get_context("fork").Pool(cores, signal.signal, (signal.SIGTERM, signal.SIG_DFL)) as pool,
        our_worker(setting, cores),
        Client(setting.server.url(OURS)) as client,
    ):
        for number in range(setting.rounds + 1):
            begun = perf_counter()
            pool.map(spin, [CPU_SECONDS] * count, chunksize=1)
            middle = perf_counter()
            ended(client.submit(spec))
            if number:  # the first round of both warms up
                theirs.append(middle - begun)
                ours.append(perf_counter() - middle)
    yield Measure(
        name=f"{count} steps of {CPU_SECONDS * 1000:g} ms", unit="s", samples=tuple(ours),
        peer="multiprocessing", peer_samples=tuple(theirs),
    )  # fmt: skip
    ideal = 100 * count * CPU_SECONDS / cores
    yield Measure(
        name="the cores' time that is work", unit="%", better="higher", samples=tuple(ideal / taken for taken in ours),
        peer="multiprocessing", peer_samples=tuple(ideal / taken for taken in theirs),
    )  # fmt: skip


def spin(cpu_seconds: float) -> int:
    """What the drill of that name does, in a child of the pool."""
    end = time.thread_time() + cpu_seconds
    rounds, digest = 0, b""
    while time.thread_time() < end:
        for _ in range(500):
            digest = hashlib.blake2b(digest).digest()
        rounds += 500
    return rounds
