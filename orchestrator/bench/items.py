"""Many items through the parallel patterns: how many in a second, for how many commands, in how much memory.

Agents do next to nothing, so that the figures are what the engine costs. The pipeline is fed from a generator by a
process of its own, whose peak memory is measured; of the items of `scatter_gather` one in a hundred fails for good, and
its barrier is content with 99 %.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

from orchestrator.bench.frame import Setting
from orchestrator.bench.peers import TIMEOUT
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import OURS, our_worker
from orchestrator.client import Client, RunHandle
from orchestrator.errors import OrchestratorError

PIPELINE_ITEMS = 1_000_000
SCATTERED = 100_000
FAILING = 100
"""One in so many items fails."""
CHILDREN = 2
STAGES: Sequence[Mapping[str, Any]] = (
    {"map": "flaky", "with": {"every": 1_000_000_000}, "concurrency": 2},
    {"filter": "at_least", "with": {"least": 0}, "concurrency": 2},
    {"reduce": "add_up", "concurrency": 2},
)


def measure_patterns(setting: Setting) -> Iterator[Measure]:
    """Figures of both, one round each. A result that is not what it has to be raises OrchestratorError."""
    with our_worker(setting, CHILDREN), Client(setting.server.url(OURS)) as client:
        _scattered(client, setting.times(SCATTERED) // 10)  # warms up
        before = _commands(client)
        rate = _scattered(client, setting.times(SCATTERED))
        yield Measure(
            name=f"scatter_gather, {setting.times(SCATTERED):,} items, 1 % fail", unit="1/s", better="higher",
            samples=(rate,), commands=(_commands(client) - before) / setting.times(SCATTERED),
        )  # fmt: skip
        count, before = setting.times(PIPELINE_ITEMS), _commands(client)
        seconds, mib = _driver(setting.server.url(OURS), count)
        sent = (_commands(client) - before) / count
        yield Measure(
            name=f"pipeline, {count:,} items, 3 stages", unit="1/s", better="higher", samples=(count / seconds,),
            commands=sent,
        )  # fmt: skip
        yield Measure(name="peak memory of the pipeline's driver", unit="MiB", samples=(mib,))


def _commands(client: Client) -> int:
    """Commands that the server has run so far, those of scripts among them."""
    info: Any = client.redis.info("commandstats")
    return sum(one["calls"] for one in info.values())


def _scattered(client: Client, count: int) -> float:
    begun = perf_counter()
    handle = client.scatter_gather(
        range(count), "flaky", concurrency=2 * CHILDREN, with_={"every": FAILING}, retry={"maximum_attempts": 1},
        barrier={"min_success": "99%"},
    )  # fmt: skip
    _check(handle)
    seconds = perf_counter() - begun
    expected = (number for number in range(count) if number % FAILING != FAILING - 1)
    if list(handle.items()) != list(expected):
        raise OrchestratorError(f"run {handle.id} has lost items, or has them twice")
    return count / seconds


def _check(handle: RunHandle) -> None:
    status = handle.wait(4 * TIMEOUT)
    if status.state != "success":
        raise OrchestratorError(f"run {handle.id} has ended as {status.state}: {status}")


def _driver(url: str, count: int) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of the process that feeds the pipeline and waits for it."""
    command = [sys.executable, "-m", "orchestrator.bench.items", url, str(count)]
    seconds, mib = subprocess.check_output(command, text=True).split()  # noqa: S603 - our own module
    return float(seconds), float(mib)


def drive(url: str, count: int) -> tuple[float, float]:
    """Feed the pipeline and wait for its result: seconds, and the peak memory of this process in MiB."""
    begun = perf_counter()
    with Client(url) as client:
        handle = client.pipeline((number for number in range(count)), STAGES)
        _check(handle)
        if list(handle.items()) != [count * (count - 1) // 2]:
            raise OrchestratorError(f"run {handle.id} has another sum than its items have")
    return perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(*drive(sys.argv[1], int(sys.argv[2])))  # noqa: T201 - its parent reads it
