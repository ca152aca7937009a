"""The policies of the fleet in a simulation: thousands of steps, hundreds of workers, hours in seconds."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise

import pytest

from orchestrator.bench import shapes
from orchestrator.bench.predicted import simulated, sleeping
from orchestrator.bench.simulation import Simulation, Step, hosts
from orchestrator.engine_fleet import FleetRules
from orchestrator.fleet.policy import Load, scale
from orchestrator.workflow.models import WorkflowSpec
from orchestrator.workflow.plan import make_plan


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


def test_pools_and_priorities_hold_in_the_simulation_as_well() -> None:
    """24 of 30 ms three at a time, between two; and of what waits in a queue, the most urgent goes first."""
    assert simulated(sleeping(shapes.fan(24), 0.03, memory=30)) == pytest.approx(0.03 * (1 + 8 + 1))
    last = Step("hot", 1.0, priority=9)
    work = [Step("hot", 2.0), Step("hot", 2.0, at=0.1, priority=1), Step("hot", 2.0, at=0.2, priority=9, then=[last])]
    last.needs = 1
    simulation = Simulation(FleetRules(), hosts(["hot"], ("hot",), slots=1), ("hot",))
    assert simulation.run([*work, last]) == 7.0
    assert simulation.waits == pytest.approx([0.0, 1.8, 0.0, 4.9])


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
