"""How long a plan takes with so many workers: a simulation of list scheduling, and what keeps it from being faster.

Whenever something is free, the startable step with the longest way to the end starts (highest upward rank, then file
order). That is how the engine's priorities aim to behave; it is an estimate and no promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Annotated

from msgspec import Struct
from pydantic import Field

from orchestrator.errors import InvalidWorkflow, Problem
from orchestrator.fields import Frozen, Identifier, PositiveNumber
from orchestrator.units import format_duration
from orchestrator.workflow.models import StepSpec

_CPU_WORDS = {"low": 15.0, "medium": 30.0, "high": 40.0, "very_high": 60.0}
_MEMORY_WORDS = {"low": 15.0, "medium": 25.0, "high": 35.0, "very_high": 50.0}
_FEWEST_ESTIMATES = 8
_ROUNDING = 1e-9
_AGENTS, _CPU, _MEMORY = "concurrent agents", "cpu units", "memory units"


class PlanLimits(Frozen):
    """What a deployment lets run at once; None and a pool that is not named are without bound.

    `cpu` and `memory` are units of the pools, oversubscription counted in. `concurrent_agents` counts only steps
    that request cpu or memory. The word tables turn a step's `high` into units.
    """

    concurrent_agents: Annotated[int, Field(ge=1)] | None = None
    cpu: PositiveNumber | None = None
    memory: PositiveNumber | None = None
    pools: Mapping[Identifier, PositiveNumber] = Field(default_factory=dict)
    cpu_words: Mapping[str, float] = Field(default_factory=lambda: dict(_CPU_WORDS))
    memory_words: Mapping[str, float] = Field(default_factory=lambda: dict(_MEMORY_WORDS))

    def capacities(self) -> dict[str, float]:
        """The bounded things and how much there is of each."""
        bounds = {_AGENTS: self.concurrent_agents, _CPU: self.cpu, _MEMORY: self.memory}
        named = {f"units of pool {name}": amount for name, amount in self.pools.items()}
        return {name: amount for name, amount in bounds.items() if amount is not None} | named

    def demands(self, step: StepSpec) -> dict[str, float]:
        """What one step takes of each. Raises InvalidWorkflow for a word that the tables lack."""
        wanted = step.resources
        cpu = _units(step.id, "cpu", wanted.cpu, self.cpu_words)
        memory = _units(step.id, "memory", wanted.memory, self.memory_words)
        agents = 1.0 if cpu or memory else 0.0
        named = {f"units of pool {name}": amount for name, amount in wanted.pools.items()}
        return {_AGENTS: agents, _CPU: cpu, _MEMORY: memory} | named


def _units(step: str, key: str, value: float | str, words: Mapping[str, float]) -> float:
    if not isinstance(value, str):
        return value
    if value not in words:
        problem = Problem(f"steps.{step}.resources.{key}", f"found '{value}'", f"one of {', '.join(words)}, or units")
        raise InvalidWorkflow([problem])
    return words[value]


class Work(Struct, frozen=True):
    """Steps as numbers, the one with the highest rank first. `demands` holds pairs (thing, amount) per step."""

    durations: Sequence[float]
    needs: Sequence[int]
    consumers: Sequence[Sequence[int]]
    demands: Sequence[tuple[tuple[str, float], ...]]

    def makespan(self, workers: int, capacities: Mapping[str, float]) -> float:
        """Seconds from the first start to the last end with so many workers. A step that wants more than there is
        of something takes all of it: that it could never run is not judged here."""
        return _Simulation(self, workers, capacities).run() if capacities else self._by_workers_alone(workers)

    def starts(self, workers: int) -> list[float]:
        """When each step starts with so many workers and nothing else that is short."""
        simulation = _Simulation(self, workers, {})
        simulation.run()
        return simulation.starts

    def _by_workers_alone(self, workers: int) -> float:
        """The same simulation without pools, in one loop: large graphs are simulated a dozen times."""
        durations, consumers, waiting = self.durations, self.consumers, list(self.needs)
        startable = [step for step, count in enumerate(waiting) if not count]
        running: list[tuple[float, int]] = []
        now = 0.0
        while True:
            while startable and len(running) < workers:
                step = heappop(startable)
                heappush(running, (now + durations[step], step))
            if not running:
                return now
            now = running[0][0]
            while running and running[0][0] == now:
                for consumer in consumers[heappop(running)[1]]:
                    waiting[consumer] -= 1
                    if not waiting[consumer]:
                        heappush(startable, consumer)

    def width(self) -> int:
        """The most steps that run at once if nothing is short; with so many workers more of them change nothing."""
        starts = [0.0] * len(self.needs)
        events: list[tuple[float, int, int]] = []
        waiting = list(self.needs)
        startable = [step for step, count in enumerate(waiting) if not count]
        for step in startable:
            end = starts[step] + self.durations[step]
            # At one moment ends come before starts, but a step of no length still takes a worker.
            events.append((starts[step], 1, 1))
            events.append((end, 0 if self.durations[step] else 2, -1))
            for consumer in self.consumers[step]:
                starts[consumer] = max(starts[consumer], end)
                waiting[consumer] -= 1
                if not waiting[consumer]:
                    startable.append(consumer)
        running = most = 0
        for _, _, change in sorted(events):
            running += change
            most = max(most, running)
        return most


class _Simulation:
    """One run of the list scheduler. Startable steps wait in one heap per kind of demand, so that a step that does
    not fit is passed over together with all that are like it. What is taken and free are shares of the capacity."""

    def __init__(self, work: Work, workers: int, capacities: Mapping[str, float]) -> None:
        self.work = work
        self.idle = workers
        self.free = dict.fromkeys(capacities, 1.0)
        self.waiting = list(work.needs)
        self.queues: dict[tuple[tuple[str, float], ...], list[int]] = {}
        self.running: list[tuple[float, int]] = []
        self.starts = [0.0] * len(work.needs)
        self.taken = [
            tuple((thing, min(1.0, amount / capacities[thing])) for thing, amount in wanted if thing in capacities)
            for wanted in work.demands
        ]

    def run(self) -> float:
        now = 0.0
        for step, count in enumerate(self.waiting):
            if not count:
                self._enqueue(step)
        self._start(now)
        while self.running:
            now = self.running[0][0]
            while self.running and self.running[0][0] == now:
                self._end(heappop(self.running)[1])
            self._start(now)
        return now

    def _enqueue(self, step: int) -> None:
        heappush(self.queues.setdefault(self.taken[step], []), step)

    def _start(self, now: float) -> None:
        while self.idle and (queue := self._best_queue()):
            step = heappop(queue)
            self.idle -= 1
            self.starts[step] = now
            for thing, share in self.taken[step]:
                self.free[thing] -= share
            heappush(self.running, (now + self.work.durations[step], step))

    def _best_queue(self) -> list[int] | None:
        return min((queue for wanted, queue in self.queues.items() if queue and self._fits(wanted)), default=None)

    def _fits(self, wanted: tuple[tuple[str, float], ...]) -> bool:
        return all(self.free[thing] >= share - _ROUNDING for thing, share in wanted)

    def _end(self, step: int) -> None:
        self.idle += 1
        for thing, share in self.taken[step]:
            self.free[thing] += share
        for consumer in self.work.consumers[step]:
            self.waiting[consumer] -= 1
            if not self.waiting[consumer]:
                self._enqueue(consumer)


class Estimate(Struct, frozen=True):
    """`makespans` maps worker counts 1, 2, 4 … to seconds; `limited_by` is a sentence."""

    makespans: Mapping[int, float]
    limited_by: str


def estimate(work: Work, capacities: Mapping[str, float], critical_path_seconds: float) -> Estimate:
    """Simulate with 1, 2, 4, 8 … workers, until the critical path or the width of the graph is reached, and say what
    limits the run."""
    width = work.width()
    workers = 1
    makespans = {1: work.makespan(1, capacities)}
    while workers < _FEWEST_ESTIMATES or (workers < width and makespans[workers] > critical_path_seconds):
        workers *= 2
        makespans[workers] = work.makespan(workers, capacities)
    best = makespans[workers]
    enough = _enough_workers(work, capacities, makespans)
    if not work.durations:
        return Estimate(makespans, "there is nothing to run")
    if not capacities or best <= _about(critical_path_seconds):
        return Estimate(makespans, _limited_by_path(critical_path_seconds, enough))
    alone = {thing: work.makespan(workers, {thing: amount}) for thing, amount in capacities.items()}
    short = [thing for thing in alone if alone[thing] >= best] or [max(alone, key=alone.__getitem__)]
    named = " and ".join(f"{capacities[thing]:g} {thing}" for thing in short)
    return Estimate(
        makespans,
        f"the limit of {named}: {_shown(best)} {_from(enough)}, "
        f"while the critical path takes {_shown(critical_path_seconds)}",
    )


def _enough_workers(work: Work, capacities: Mapping[str, float], makespans: Mapping[int, float]) -> int:
    """The fewest workers with which the run is about as short as with the most that were simulated; beyond 64
    workers the figure is up to 2 % too high, which saves half of the simulations."""
    goal = _about(makespans[max(makespans)])
    low = max((count for count, seconds in makespans.items() if seconds > goal), default=0)
    high = max(1, low * 2)
    while high - low > max(1, high // 64):
        middle = (low + high) // 2
        if work.makespan(middle, capacities) <= goal:
            high = middle
        else:
            low = middle
    return high


def _about(seconds: float) -> float:
    return seconds * (1 + _ROUNDING)


def _limited_by_path(seconds: float, enough: int) -> str:
    below = "" if enough == 1 else "; with fewer, the number of workers"
    return f"the critical path of {_shown(seconds)} {_from(enough)}{below}"


def _from(workers: int) -> str:
    return "from one worker on" if workers == 1 else f"from {workers} workers on"


def _shown(seconds: float) -> str:
    return format_duration(round(seconds, 3))
