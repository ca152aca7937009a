"""When a figure that is looked at again and again becomes an alarm, when that is over, and what a worker does about it
meanwhile: no clock, no Redis."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from orchestrator.engine_caches import PerformanceMonitoring

LOOKS = 2
"""So many looks in a row have to agree, so that one peak is no alarm and one good moment does not end one."""
CALM = 0.9
"""Share of the threshold below which a figure has to fall before its alarm is over."""


class Watched(Struct, frozen=True):
    """What is remembered of a figure from look to look. `raised`: None before anything is known. Between the threshold
    and CALM of it nothing changes."""

    raised: bool | None = None
    beyond: int = 0
    below: int = 0


def watch(before: Watched, value: float, threshold: float) -> Watched:
    """The next state: an alarm is raised when LOOKS in a row have reached the threshold, and over when as many in a row
    were below CALM of it."""
    beyond = before.beyond + 1 if value >= threshold else 0
    below = before.below + 1 if value < CALM * threshold or value == 0 else 0
    if beyond >= LOOKS:
        return Watched(True, beyond=LOOKS)
    if below >= LOOKS:
        return Watched(False, below=LOOKS)
    return Watched(before.raised, beyond, below)


class Tuning(Struct, frozen=True):
    """What a worker does while it has alarms. `hurries`: its pool grows to its most as soon as something waits, and
    does not shrink; `narrows`: it works on half as many steps side by side, members of groups among them; `hoards`:
    what it puts into caches lives on as long as it is used."""

    hurries: bool = False
    narrows: bool = False
    hoards: bool = False


def tune(rules: PerformanceMonitoring, alarms: Collection[str]) -> Tuning:
    """`alarms` are the metrics of which this worker, or a queue that it takes from, has one. Without memory to spare
    nothing grows, and more processes are no help where the processors are busy already."""
    slow = not {"response_time", "queue_depth"}.isdisjoint(alarms)
    full = not {"cpu_usage", "memory_usage"}.isdisjoint(alarms)
    return Tuning(
        hurries=slow and not full and rules.adapts("increase_cpu_allocation"),
        narrows="memory_usage" in alarms and rules.adapts("adjust_parallel_group_sizes"),
        hoards=bool(alarms) and rules.adapts("enable_aggressive_caching"),
    )
