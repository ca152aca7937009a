"""What has to be waited for, or kept in memory, before anything runs."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from time import perf_counter

from orchestrator.bench import shapes
from orchestrator.bench.frame import Setting
from orchestrator.bench.peers import TIMEOUT, RawCelery
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import OURS, definition, our_worker, raw_application, raw_worker
from orchestrator.client import Client

STEPS = 10_000


def measure_start(setting: Setting) -> Iterator[Measure]:
    """Seconds from the start of a worker's process to the end of the first step, which waits for it, without gossip and
    mingle."""
    spec = definition("first", {"id": "one", "agent": "noop"})
    ours, theirs = list[float](), list[float]()
    with our_worker(setting), Client(setting.server.url(OURS)) as client:
        client.submit(spec).wait(TIMEOUT)  # the deployment makes itself known
    for _ in range(setting.rounds):
        with raw_application(setting) as raw:
            waiting = raw.noop.apply_async(queue="raw")
            theirs.append(_seconds_until(partial(waiting.get, timeout=TIMEOUT), raw_worker(setting, 2)))
        with Client(setting.server.url(OURS)) as client:
            handle = client.submit(spec)
            ours.append(_seconds_until(partial(handle.wait, TIMEOUT), our_worker(setting, 2)))
    yield Measure(
        name="a worker's cold start to its first result", unit="s", samples=tuple(ours),
        peer=RawCelery.name, peer_samples=tuple(theirs),
    )  # fmt: skip


def _seconds_until(result: Callable[[], object], worker: AbstractContextManager[object]) -> float:
    """From the start of a worker until the result is there, however the worker tells that it is ready."""

    def arrived() -> float:
        result()
        return perf_counter()

    with ThreadPoolExecutor(1) as pool:
        begun = perf_counter()
        found = pool.submit(arrived)
        with worker:
            return found.result() - begun


def measure_client(setting: Setting) -> Iterator[Measure]:
    """The peak memory of a process that submits a run of 10,000 steps, imports included."""
    with our_worker(setting, 1), Client(setting.server.url(OURS)) as client:
        client.submit(definition("first", {"id": "one", "agent": "noop"})).wait(TIMEOUT)
    peaks = []
    for _ in range(setting.rounds):
        command = [
            sys.executable,
            "-m",
            "orchestrator.bench.starts",
            setting.server.url(OURS),
            str(setting.times(STEPS)),
        ]
        child = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own module
        peaks.append(float(child.stdout))
    yield Measure(name=f"peak of a client with {setting.times(STEPS):,} steps", unit="MiB", samples=tuple(peaks))


def submit_here(url: str, steps: int) -> float:
    """Submit a run of so many steps; this process' peak in MiB."""
    with Client(url) as client:
        client.submit(shapes.layered(steps, 3 * steps)).status()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.stdout.write(str(submit_here(sys.argv[1], int(sys.argv[2]))))
