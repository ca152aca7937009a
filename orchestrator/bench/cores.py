"""Pure Python on all cores: steps of a workflow beside `multiprocessing`, which does nothing but that.

What a step of 50 ms costs beside its work, in processor time on a 2-core x86-64 host: 2 ms in the child that does it
(Celery's tracer, the agent's context, one round trip that ends it and begins the next), 1 ms on the server, and less
than 0.5 ms in the worker's main process, which sees one message a second. Before the first one the client takes 10 ms.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TextIO, cast

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
        _pool(cores, count) as theirs_in_turn,
        our_worker(setting, cores),
        Client(setting.server.url(OURS)) as client,
    ):
        for number in range(setting.rounds + 1):
            taken = theirs_in_turn()
            begun = perf_counter()
            ended(client.submit(spec))
            if number:  # the first round of both warms up
                theirs.append(taken)
                ours.append(perf_counter() - begun)
    yield Measure(
        name=f"{count} steps of {CPU_SECONDS * 1000:g} ms", unit="s", samples=tuple(ours),
        peer="multiprocessing", peer_samples=tuple(theirs),
    )  # fmt: skip
    ideal = 100 * count * CPU_SECONDS / cores
    yield Measure(
        name="the cores' time that is work", unit="%", better="higher", samples=tuple(ideal / taken for taken in ours),
        peer="multiprocessing", peer_samples=tuple(ideal / taken for taken in theirs),
    )  # fmt: skip


@contextmanager
def _pool(cores: int, count: int) -> Iterator[Callable[[], float]]:
    """A function that lets a pool of processes do everything once; its seconds. The pool is a session of its own, as
    our worker is: the kernel shares cores out between sessions first."""
    command = [sys.executable, "-m", "orchestrator.bench.cores", str(cores), str(count)]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        asked, told = cast(TextIO, child.stdin), cast(TextIO, child.stdout)

        def once() -> float:
            print("go", file=asked, flush=True)
            return float(told.readline())

        yield once
        asked.close()


def serve(cores: int, count: int) -> None:
    """In the child: one line comes in, everything is done, its seconds go out."""
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        for _ in sys.stdin:
            begun = perf_counter()
            pool.map(spin, [CPU_SECONDS] * count, chunksize=1)
            print(perf_counter() - begun, flush=True)  # noqa: T201 - to the parent


def spin(cpu_seconds: float) -> int:
    """What the drill of that name does, in a child of the pool."""
    end = time.thread_time() + cpu_seconds
    rounds, digest = 0, b""
    while time.thread_time() < end:
        for _ in range(500):
            digest = hashlib.blake2b(digest).digest()
        rounds += 500
    return rounds


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
