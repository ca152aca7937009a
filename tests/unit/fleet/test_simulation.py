"""The policies of the fleet in a simulation: thousands of steps, hundreds of workers, hours in seconds.

One event after another, by a clock of its own. Workers take from queues as Redis hands out messages: who has a free
slot takes the oldest step of the queues that it takes from. Every `LOOK` seconds all of them look, as the engine does,
and do what the policies say; nothing in here decides.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, pairwise
from statistics import fmean

import pytest

from orchestrator.bench import shapes
from orchestrator.engine_fleet import FleetRules
from orchestrator.fleet.models import Decision, Fleet, Queue, Standing, Worker
from orchestrator.fleet.policy import Load, capacities, distribute, health, release, scale
from orchestrator.workflow.models import WorkflowSpec
from orchestrator.workflow.plan import make_plan

LOOK = 10.0
REMEMBERED = 10


@dataclass
class Step:
    """A step that has waited since `at`; it takes `seconds` on a worker of usual speed. It comes when the `needs`
    steps before it have ended, and lets `then` come."""

    queue: str
    seconds: float
    at: float = 0.0
    needs: int = 0
    then: list[Step] = field(default_factory=list)


@dataclass
class Host:
    """A worker of the simulation: what the policies know of it, and how fast it really is."""

    worker: Worker
    speed: float = 1.0
    ratios: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    busy: int = 0
    was_busy: bool = False


class Simulation:
    """Runs steps that arrive over time on hosts, until all are done."""

    def __init__(self, rules: FleetRules, hosts: Sequence[Host], queues: Sequence[str]) -> None:
        self.rules, self.now = rules, 0.0
        self.hosts = {host.worker.name: host for host in hosts}
        self.waiting: dict[str, deque[Step]] = {name: deque() for name in queues}
        self.taken: dict[str, list[float]] = {name: [1.0] for name in queues}
        self.decisions: list[tuple[float, Decision]] = []
        self.waits: list[float] = []
        self._events: list[tuple[float, int, str, object]] = []
        self._order = count()

    def at(self, when: float, kind: str, what: object = None) -> None:
        heappush(self._events, (when, next(self._order), kind, what))

    def run(self, steps: Sequence[Step]) -> float:
        """The moment at which the last step ends."""
        for step in steps:
            if not step.needs:
                self.at(step.at, "arrives", step)
        self.at(LOOK, "look")
        left, ended = len(steps), 0.0
        self._open()
        while left:
            self.now, _, kind, what = heappop(self._events)
            if kind == "arrives":
                assert isinstance(what, Step)
                self._arrives(what)
            elif kind == "ends":
                assert isinstance(what, tuple)
                host, step = what
                host.busy -= 1
                host.ratios.append(1 / host.speed)
                self.taken[step.queue].append(step.seconds / host.speed)
                left, ended = left - 1, self.now
                self._serve(host)
                for later in step.then:
                    later.needs -= 1
                    if not later.needs:
                        later.at = self.now
                        self._arrives(later)
            else:
                self._look()
                self.at(self.now + LOOK, "look")
        return ended

    def _arrives(self, step: Step) -> None:
        """The host that has waited longest for a message gets it; those in the list may be busy by now."""
        free = self.free[step.queue]
        while free:
            host = free.popleft()
            if step.queue in host.worker.takes and host.busy < host.worker.slots:
                self._start(host, step)
                if host.busy < host.worker.slots:
                    free.append(host)
                return
        self.waiting[step.queue].append(step)

    def _serve(self, host: Host) -> None:
        """A host takes the oldest of what waits in its queues, as long as it has room, and then waits itself."""
        while host.busy < host.worker.slots:
            heads = [self.waiting[name] for name in host.worker.takes if self.waiting[name]]
            if not heads:
                for name in host.worker.takes:
                    self.free[name].append(host)
                return
            self._start(host, min(heads, key=lambda steps: steps[0].at).popleft())

    def _start(self, host: Host, step: Step) -> None:
        self.waits.append(self.now - step.at)
        host.busy += 1
        self.at(self.now + step.seconds / host.speed, "ends", (host, step))

    def _open(self) -> None:
        """Everybody takes what its queues have, and waits in their order."""
        self.free: dict[str, deque[Host]] = {name: deque() for name in self.waiting}
        for host in self.hosts.values():
            self._serve(host)

    def _look(self) -> None:
        for host in self.hosts.values():
            own = any(self.waiting[name] for name in host.worker.home)
            idle = not host.busy and not host.was_busy and not own
            slowness = fmean(host.ratios) if host.ratios else 1.0
            seen = {"busy": host.busy, "idle": idle, "samples": len(host.ratios), "slowness": slowness}
            host.worker = host.worker.model_copy(update=seen)
            host.was_busy = host.busy > 0
        queues = {
            name: Queue(depth=len(steps), seconds=sum(self.taken[name][-64:]) / len(self.taken[name][-64:]))
            for name, steps in self.waiting.items()
        }
        fleet = Fleet(now=self.now, workers={name: host.worker for name, host in self.hosts.items()}, queues=queues)
        slots, steals = capacities(fleet), distribute(self.rules, fleet)
        for name, host in self.hosts.items():
            made = release(self.rules, fleet, fleet.workers[name], slots)
            change = health(self.rules, fleet, fleet.workers[name])
            made += [change] if change else [steals[name]] if name in steals else []
            for decision in made:
                self._act(host, decision)
        self._open()

    def _act(self, host: Host, decision: Decision) -> None:
        self.decisions.append((self.now, decision))
        worker, now = host.worker, self.now
        borrowed, rested = dict(worker.borrowed), dict(worker.rested)
        change: dict[str, object] = {}
        match decision.act:
            case "steal":
                borrowed[decision.queue] = now
            case "release":
                rested[decision.queue] = now
                del borrowed[decision.queue]
            case "drain":
                borrowed = {}
                change = {"standing": Standing.DRAINED, "since": now, "drains": worker.drains + 1}
            case "probe":
                host.ratios.clear()
                change = {"standing": Standing.PROBING, "since": now}
            case "readmit":
                change = {"standing": Standing.ACTIVE, "since": now, "drains": 0}
        host.worker = worker.model_copy(update={"borrowed": borrowed, "rested": rested, **change})

    def acts(self, kind: str, worker: str = "") -> list[float]:
        return [at for at, one in self.decisions if one.act == kind and worker in ("", one.worker)]


def hosts(homes: Sequence[str], every: Sequence[str], slots: int = 2) -> list[Host]:
    return [
        Host(Worker(name=f"w{number:04}", home=(home,), serves=tuple(set(every) - {home}), slots=slots))
        for number, home in enumerate(homes)
    ]


def skewed(steps: int, seed: int, over: float = 0.0) -> list[Step]:
    """Nine tenths of the work are for one class."""
    chance = random.Random(seed)
    return [
        Step("hot" if chance.random() < 0.9 else "cold", chance.uniform(5, 15), chance.uniform(0, over))
        for _ in range(steps)
    ]


@pytest.mark.parametrize("workers", [20, 500, pytest.param(4000, marks=pytest.mark.proofs)])
def test_with_stealing_skewed_work_ends_near_the_bound_and_without_it_does_not(workers: int) -> None:
    homes = [("hot", "cold")[number % 2] for number in range(workers)]
    work = skewed(20 * workers, seed=workers)
    bound = max(sum(step.seconds for step in work) / (2 * workers), *(step.seconds for step in work))
    took = {}
    for stealing in (True, False):
        simulation = Simulation(FleetRules(work_stealing=stealing), hosts(homes, ("hot", "cold")), ("hot", "cold"))
        took[stealing] = simulation.run(work) / bound
    assert took[True] < 1.5, took
    assert took[False] > 1.7, took


def of_workflow(workflow: WorkflowSpec, seed: int) -> list[Step]:
    """Its steps, nine tenths of them of one class."""
    chance, plan = random.Random(seed), make_plan(workflow)
    steps = {
        name: Step("hot" if chance.random() < 0.9 else "cold", one.duration_seconds, needs=len(one.needs))
        for name, one in plan.steps.items()
    }
    for name, one in plan.steps.items():
        steps[name].then = [steps[consumer] for consumer in one.consumers]
    return list(steps.values())


SHAPES = {
    "ragged": shapes.ragged(count=200),
    "layered": shapes.layered(1000, 3000),
    "deep": shapes.deep(150, 450),
    "fan": shapes.fan(400),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_workflows_of_all_shapes_end_near_the_bound(shape: str) -> None:
    """Nobody can be faster than the critical path, nor than all slots at work from the first moment to the last."""
    workflow, slots = SHAPES[shape], 32
    steps = of_workflow(workflow, seed=4)
    bound = max(make_plan(workflow).critical_path_seconds, sum(step.seconds for step in steps) / slots)
    crew = hosts([("hot", "cold")[number % 2] for number in range(slots // 2)], ("hot", "cold"))
    took = Simulation(FleetRules(), crew, ("hot", "cold")).run(steps)
    assert 1 <= took / bound + 1e-9 < 1.35, took / bound


def test_stealing_does_not_oscillate_under_a_steady_load() -> None:
    """For two hours 70 % of the slots of one class and 10 % of the other have work, then 110 % of the first."""
    chance, work = random.Random(3), list[Step]()
    for start, share in ((0.0, 0.7), (3600.0, 1.1)):
        work += [Step("hot", 10, start + chance.uniform(0, 3600)) for _ in range(int(share * 3600 * 20 / 10))]
        work += [Step("cold", 10, start + chance.uniform(0, 3600)) for _ in range(int(0.1 * 3600 * 20 / 10))]
    rules = FleetRules()
    simulation = Simulation(rules, hosts(["hot"] * 10 + ["cold"] * 10, ("hot", "cold")), ("hot", "cold"))
    simulation.run(work)
    changes = [at for act in ("steal", "release") for at in simulation.acts(act)]
    assert simulation.acts("steal")
    for host in simulation.hosts.values():
        own = sorted(at for at, one in simulation.decisions if one.worker == host.worker.name)
        assert all(later - sooner >= rules.hold for sooner, later in zip(own[::2], own[2::2], strict=False))
    assert len([at for at in changes if at < 3600]) <= 20  # a class with 70 % of its slots in use needs help rarely


def test_nothing_starves_and_no_class_waits_long_in_two_hours_of_changing_load() -> None:
    chance, queues = random.Random(11), ("a", "b", "c")
    work = []
    for period in range(12):  # every ten minutes another class has the rush
        rush = queues[period % 3]
        for queue in queues:
            rate = 1.5 if queue == rush else 0.2
            number = int(rate * 600 * 8 / 10)
            work += [Step(queue, chance.uniform(5, 15), period * 600 + chance.uniform(0, 600)) for _ in range(number)]
    waited = {}
    for stealing in (True, False):
        crew = hosts([queue for queue in queues for _ in range(4)], queues)
        simulation = Simulation(FleetRules(work_stealing=stealing), crew, queues)
        simulation.run(sorted(work, key=lambda step: step.at))
        assert len(simulation.waits) == len(work)
        waited[stealing] = max(simulation.waits)
    assert waited[True] < 90 < waited[False], waited


def test_a_slow_worker_is_drained_once_and_again_only_on_probation() -> None:
    crew = hosts(["hot"] * 10, ("hot",))
    crew[3].speed = 0.2
    chance = random.Random(5)
    work = [Step("hot", 10, chance.uniform(0, 7200)) for _ in range(int(0.6 * 7200 * 20 / 10))]
    simulation = Simulation(FleetRules(), crew, ("hot",))
    simulation.run(sorted(work, key=lambda step: step.at))
    assert {one.worker for _, one in simulation.decisions} == {"w0003"}
    drains, probes = simulation.acts("drain"), simulation.acts("probe")
    assert not simulation.acts("readmit")
    assert 2 <= len(drains) <= 10
    pauses = [probe - drain for drain, probe in zip(drains, probes, strict=False)]
    assert all(later >= 1.5 * sooner for sooner, later in pairwise(pauses[:5])), pauses


def test_an_even_fleet_with_noise_drains_nobody() -> None:
    crew = hosts(["hot"] * 20, ("hot",))
    chance = random.Random(9)
    for host in crew:
        host.speed = chance.uniform(0.6, 1.6)
    work = [Step("hot", chance.uniform(1, 30), chance.uniform(0, 3600)) for _ in range(5000)]
    simulation = Simulation(FleetRules(), crew, ("hot",))
    simulation.run(sorted(work, key=lambda step: step.at))
    assert simulation.decisions == []


def test_a_pool_grows_with_a_burst_once_and_shrinks_once_after_the_cool_down() -> None:
    rules = FleetRules()
    sizes, depth, busy, settled_at, newest = [1], 0, 0, 0.0, deque([0], maxlen=int(rules.scale_cooldown))
    for second in range(600):
        depth += 40 if second == 100 else 0
        busy = min(sizes[-1], depth)
        newest.append(busy)
        load = Load(sizes[-1], busy, max(newest), depth - busy, 2.0, 1, 8, second - settled_at >= rules.scale_cooldown)
        target, _ = scale(rules, load)
        settled_at = second if target != sizes[-1] else settled_at
        sizes.append(target)
        depth -= busy if second % 2 else 0
    changes = [(sooner, later) for sooner, later in pairwise(sizes) if sooner != later]
    assert changes == [(1, 8), (8, 1)]
