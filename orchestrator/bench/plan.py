"""How long planning takes and how much memory.

Every figure comes from a process of its own, so that one measurement's memory is not another's peak. Seconds are CPU
seconds, the best of seven `make_plan` calls, which other work on the machine disturbs least. The peak is that of the
whole process, imports and the definition included.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from orchestrator.bench import shapes
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.workflow.models import WorkflowSpec
from orchestrator.workflow.plan import make_plan

SIZES = (1_000, 3_000, 10_000)
CALLS = 7
SHAPES: dict[str, Callable[[int], WorkflowSpec]] = {
    "layered": lambda count: shapes.layered(count, 3 * count),
    "deep": lambda count: shapes.deep(count, 3 * count),
    "fan": shapes.fan,
    "chain": shapes.chain,
}


def measure(setting: Setting) -> Iterator[Measure]:
    """CPU seconds and peak MiB for each shape and size."""
    for shape in SHAPES:
        for size in SIZES:
            found = [_in_a_child(shape, setting.times(size)) for _ in range(setting.rounds)]
            name = f"{shape}, {size} steps"
            yield Measure(name=name, unit="CPU s", samples=tuple(seconds for seconds, _ in found))
            yield Measure(name=f"{name}, peak", unit="MiB", samples=tuple(peak for _, peak in found))


def _in_a_child(shape: str, size: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "orchestrator.bench.plan", shape, str(size)]
    child = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own module
    seconds, peak = json.loads(child.stdout)
    return seconds, peak


def plan_here(shape: str, size: int) -> tuple[float, float]:
    """Plan in this process: CPU seconds, and its peak in MiB."""
    workflow = SHAPES[shape](size)
    taken = []
    for _ in range(CALLS):
        begun = time.process_time()
        make_plan(workflow)
        taken.append(time.process_time() - begun)
    return min(taken), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(plan_here(sys.argv[1], int(sys.argv[2]))))
