"""Every benchmark by name, and the one way in which they are run: by the command line, by tests, by a schedule."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from orchestrator.bench.results import Machine, Measure, Report, versions
from orchestrator.bench.site import BenchServer
from orchestrator.errors import NotFound
from orchestrator.problems import did_you_mean

SEED = 7


class Benchmark(NamedTuple):
    """Where a benchmark is defined (`module:function`), and what it says of itself. `rounds` is how often it measures
    unless told otherwise: sides that are compared take turns."""

    home: str
    summary: str
    rounds: int = 5


BENCHMARKS: Mapping[str, Benchmark] = {
    "batch": Benchmark("batch:measure", "Operations in batches beside one by one: commands, processor time, latency."),
    "cache": Benchmark("cache:measure", "Hit ratios beside plain LRU and an offline bound; lz4; prefetching."),
    "client": Benchmark("starts:measure_client", "Peak memory of a client with a run of 10,000 steps.", rounds=1),
    "context": Benchmark("context:measure", "Commits and reads of the shared context, by size and number of writers."),
    "cores": Benchmark("cores:measure", "64 steps of 50 ms of pure Python, beside multiprocessing."),
    "enqueue": Benchmark("canvas:measure_enqueue", "Steps that one client hands over in a second."),
    "faults": Benchmark("faults:measure", "10,000 steps while a process is killed every second.", rounds=1),
    "fan": Benchmark("canvas:measure_fan", "One step, 100 side by side, and one that joins them."),
    "hops": Benchmark("canvas:measure_hops", "A chain of 20 steps without work, per hop."),
    "locks": Benchmark("locks:measure", "Locks of the context, alone and contended, beside redis-py's own Lock."),
    "many": Benchmark("load:measure_many", "200 workflows at once on eight slots, and their processor time.", rounds=3),
    "memory": Benchmark("memory:measure", "Large values by shared memory, Redis and pipes; cache lines.", rounds=3),
    "messages": Benchmark("messages:measure", "Messages between two processes, one of which is killed once.", rounds=3),
    "patterns": Benchmark("items:measure_patterns", "A million items in stages; 100,000 with 1 % that fail.", rounds=1),
    "plan": Benchmark("plan:measure", "CPU and memory of planning, for shapes and sizes of workflows.", rounds=1),
    "predicted": Benchmark("predicted:measure", "Three shapes on real workers, beside what the simulation says."),
    "product": Benchmark("product:measure", "The six-agent workflow's overhead, beside raw Celery's chain and chord."),
    "ragged": Benchmark("load:measure_ragged", "The makespan of a ragged graph of 30 steps by its lower bound."),
    "skew": Benchmark("balance:measure_skew", "90 % of the work for one of two classes, with and without stealing."),
    "slow": Benchmark("balance:measure_slow", "A worker that hardly gets on, with and without health routing.",
    rounds=3), "spawn": Benchmark("canvas:measure_spawn", "From submit to the first line of the agent's code."),
    "start": Benchmark("starts:measure_start", "A worker's cold start to its first result."),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a benchmark is given: a server of its own with empty databases, a folder, and how much to measure.

    `against` are peers that take part beside raw Celery. `scale` multiplies the number of operations per round; below
    1, figures are not worth much, and tests are quick.
    """

    server: BenchServer
    folder: Path
    rounds: int
    seed: int = SEED
    scale: float = 1.0
    against: tuple[str, ...] = ()

    def times(self, count: int) -> int:
        """How many operations to do where `count` are wanted."""
        return max(1, round(count * self.scale))


Measuring = Callable[[Setting], Iterator[Measure]]


def find(name: str) -> Benchmark:
    """Raises NotFound with a suggestion."""
    if name not in BENCHMARKS:
        raise NotFound(f"no benchmark is called '{name}'; {did_you_mean(name, BENCHMARKS) or ', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def run(
    name: str, *, rounds: int | None = None, seed: int = SEED, aof: bool = False, scale: float = 1.0,
    against: Sequence[str] = (),
) -> Report:  # fmt: skip
    """Measure. Raises NotFound for an unknown name, and whatever goes wrong in a benchmark."""
    benchmark = find(name)
    module, function = benchmark.home.split(":")
    measure: Measuring = getattr(import_module(f"orchestrator.bench.{module}"), function)
    at, load = time.time(), os.getloadavg()[0]
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        server = opened.enter_context(BenchServer(folder / "server", aof=aof))
        setting = Setting(server, folder, rounds or benchmark.rounds, seed, scale, tuple(against))
        measures = tuple(measure(setting))
        return Report(
            benchmark=name,
            at=at,
            rounds=setting.rounds,
            seed=seed,
            scale=scale,
            aof="everysec" if aof else "off",
            server=server.version,
            load=load,
            machine=Machine.here(),
            versions=versions(),
            measures=measures,
        )


def run_all(
    names: Sequence[str], *, rounds: int | None = None, seed: int = SEED, aof: bool = False,
    against: Sequence[str] = (),
) -> Iterator[Report]:  # fmt: skip
    """One report after another; all benchmarks when none is named. Names are checked before anything is measured."""
    for name in names:
        find(name)
    for name in names or tuple(BENCHMARKS):
        yield run(name, rounds=rounds, seed=seed, aof=aof, against=against)
