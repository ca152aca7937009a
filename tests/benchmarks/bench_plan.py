"""How long planning takes and how much memory: `python -m tests.benchmarks.bench_plan`.

Every figure comes from a process of its own, so that one measurement's memory is not another's peak. Seconds are CPU
seconds, the best of seven `make_plan` calls, which other work on the machine disturbs least. The peak is
that of the whole process, imports and the definition included.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from orchestrator.workflow.models import WorkflowSpec
from orchestrator.workflow.plan import make_plan
from tests.benchmarks import shapes

SIZES = (1_000, 3_000, 10_000)
SHAPES: dict[str, Callable[[int], WorkflowSpec]] = {
    "layered": lambda count: shapes.layered(count, 3 * count),
    "deep": lambda count: shapes.deep(count, 3 * count),
    "fan": shapes.fan,
    "chain": shapes.chain,
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One shape at one size: CPU seconds of planning and peak MiB of the process."""

    shape: str
    steps: int
    edges: int
    seconds: float
    peak_mib: float


def measure_here(shape: str, size: int, repeats: int = 7) -> Measurement:
    """Plan in this process."""
    workflow = SHAPES[shape](size)
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        make_plan(workflow)
        taken.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    edges = sum(len(step.needs) for step in workflow.steps)
    return Measurement(shape, len(workflow.steps), edges, min(taken), peak)


def measure(shape: str, size: int) -> Measurement:
    """Plan in a child process."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_plan", shape, str(size)]
    child = subprocess.run(command, check=True, capture_output=True, text=True)
    return Measurement(**json.loads(child.stdout))


def main() -> None:
    print(f"{'shape':8} {'steps':>6} {'edges':>6} {'seconds':>8} {'peak MiB':>9}")
    for shape in SHAPES:
        results = [measure(shape, size) for size in SIZES]
        for result in results:
            print(
                f"{shape:8} {result.steps:6} {result.edges:6} {result.seconds:8.3f} {result.peak_mib:9.1f}", flush=True
            )
        print(f"{shape:8} 3k -> 10k: time x{results[2].seconds / results[1].seconds:.2f}\n", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(asdict(measure_here(sys.argv[1], int(sys.argv[2])))))
    else:
        main()
