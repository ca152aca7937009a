"""How near real shapes and many runs at once come to what their slots allow, beside raw Celery, level by level.

A slot is a process of the worker. The bound of a graph on so many slots is the longer one of its critical path and its
work divided by the slots (Graham 1969): no schedule is shorter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import psutil

from orchestrator.bench import shapes
from orchestrator.bench.frame import Setting
from orchestrator.bench.peers import CHILDREN, RAW, TIMEOUT, Peer, RawCelery
from orchestrator.bench.product import SECONDS, workflow
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import OURS, Sides, both, definition, ended
from orchestrator.workflow.models import WorkflowSpec

SCARCE = 3
GRAPH = 58
"""The seed of the ragged graph: of the first 400 that for which simulated schedules on three slots without overhead are
nearest to 1.03 of the bound in the order of the critical path, 1.11 in that of arrival and 1.31 level by level."""
MINUTE = 0.11
"""Seconds that a minute of it takes here: its critical path is as long as that of the documents' workflow."""
WORKFLOWS = 200
QUICKER = 0.125
"""What the product workflow's durations are multiplied by when there are many of them: 0.375 s of work each."""


def measure_ragged(setting: Setting) -> Iterator[Measure]:
    """The makespan of 30 steps that are no nesting of chains and groups, by its bound: with a slot for every step that
    could run, and with three slots."""
    spec = ragged()
    seconds = {step.id: float(step.with_["seconds"]) for step in spec.steps}
    path, levels = _path_and_levels(spec, seconds)
    for slots in (CHILDREN, SCARCE):
        bound = max(path, sum(seconds.values()) / slots)
        with both(setting, slots) as sides:
            yield from sides.compare(
                f"makespan by its bound, {slots} slots", partial(sides.run, spec), partial(_by_levels, sides, levels),
                partial(_share, bound), unit="", count_commands=False,
            )  # fmt: skip
            if slots == CHILDREN:
                yield sides.beside_sequential(spec)


def _share(bound: float, seconds: float) -> float:
    return seconds / bound


def _by_levels(sides: Sides, levels: Sequence[Sequence[float]], _: Peer) -> None:
    sides.raw.levels(levels).apply_async().get(timeout=TIMEOUT)


def ragged() -> WorkflowSpec:
    """The ragged shape with sleeping agents."""
    return definition(
        "ragged",
        *(
            {
                "id": step.id,
                "agent": "sleep",
                "needs": list(step.needs),
                "with": {"seconds": round(step.estimated_duration.high / 60 * MINUTE, 4)},
                "estimated_duration": round(step.estimated_duration.high / 60 * MINUTE, 4),
            }
            for step in shapes.ragged(GRAPH).steps
            if step.estimated_duration
        ),
    )


def _path_and_levels(spec: WorkflowSpec, seconds: dict[str, float]) -> tuple[float, list[list[float]]]:
    """The length of the critical path, and the durations of each level of the graph."""
    ends: dict[str, float] = {}
    depth: dict[str, int] = {}
    for step in spec.steps:  # each after those that it needs
        ends[step.id] = seconds[step.id] + max((ends[need] for need in step.needs), default=0.0)
        depth[step.id] = 1 + max((depth[need] for need in step.needs), default=-1)
    levels: dict[int, list[float]] = defaultdict(list)
    for name, at in depth.items():
        levels[at].append(seconds[name])
    return max(ends.values()), [levels[at] for at in sorted(levels)]


def measure_many(setting: Setting) -> Iterator[Measure]:
    """200 of the six-agent workflow at once on eight slots: the share of the bound that is reached, and the processor
    time of client, worker and server for each."""
    count = setting.times(WORKFLOWS)
    spec = workflow(QUICKER)
    durations = {name: seconds * QUICKER for name, seconds in SECONDS.items()}
    bound = count * sum(durations.values()) / CHILDREN
    spent: dict[int, list[float]] = {OURS: [], RAW: []}
    waited: list[float] = []
    with both(setting) as sides:

        def theirs(_: Peer) -> None:
            cpu = _cpu(setting, sides.raw_pid)
            sides.raw.many(durations, count).apply_async().get(timeout=TIMEOUT)
            spent[RAW].append((_cpu(setting, sides.raw_pid) - cpu) * 1000 / count)

        def ours() -> None:
            cpu, machine = _cpu(setting, sides.ours_pid), psutil.cpu_times()
            for handle in [sides.client.submit(spec) for _ in range(count)]:
                ended(handle)
            waited.append(_waiting(machine, psutil.cpu_times()))
            spent[OURS].append((_cpu(setting, sides.ours_pid) - cpu) * 1000 / count)

        yield from sides.compare(
            f"share of the slots' bound, {count} workflows", ours, theirs, lambda seconds: bound / seconds,
            unit="", better="higher", count_commands=False,
        )  # fmt: skip
    yield Measure(
        name="processor time per workflow", unit="ms", samples=tuple(spent[OURS][1:]),
        peer=RawCelery.name, peer_samples=tuple(spent[RAW][1:]),
    )  # fmt: skip
    yield Measure(name="the processors' time that waits for I/O", unit="%", samples=tuple(waited[1:]))


def _waiting(before: Any, after: Any) -> float:
    """Percent of all processor time of the machine that was idle because of I/O."""
    passed = sum(after[:8]) - sum(before[:8])  # the rest is in these already
    return 100 * (after.iowait - before.iowait) / passed if passed else 0.0


def _cpu(setting: Setting, worker: int) -> float:
    """Seconds of processor time that this process, a worker with its children, and the server have used so far."""
    root = psutil.Process(worker)
    server: dict[str, float] = setting.server.client().info("cpu")
    used = server["used_cpu_user"] + server["used_cpu_sys"]
    for process in (psutil.Process(), root, *root.children(recursive=True)):
        times = process.cpu_times()
        used += times.user + times.system
    return used
