"""What the simulation says that workflows take, beside what they take on two real workers that help each other out.

Both are driven by the same policies: the simulation calls them itself, the workers do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from orchestrator.bench import shapes
from orchestrator.bench.balance import COLD, HOT, SLOTS, WITH, fleet
from orchestrator.bench.frame import Setting
from orchestrator.bench.pool_model import PoolModel
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import definition, ended
from orchestrator.bench.simulation import Simulation, Step, hosts
from orchestrator.client import Client
from orchestrator.engine_fleet import FleetRules
from orchestrator.resources.policy import Spec
from orchestrator.run.models import RunStatus
from orchestrator.run.shape import Shape
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import WorkflowSpec
from orchestrator.workflow.plan import make_plan

LOOK = 0.5
RULES = FleetRules(steal_above=0.5, hold=2, health_routing=False)
"""As the fleet's engine file has them."""
MINUTE = 0.06
"""Seconds that a minute of a shape takes here."""
MEMORY = 30
"""What each step of the last shape takes of 100: three run at a time."""
SHAPES: Mapping[str, tuple[WorkflowSpec, float, int]] = {
    "a ragged graph of 30": (shapes.ragged(), MINUTE, 0),
    "64 in four layers": (shapes.layered(64, 128, layers=4), MINUTE, 0),
    "24 side by side, three at a time by pools": (shapes.fan(24), 5 * MINUTE, MEMORY),
}
"""The shape, seconds for each of its minutes, and memory for each of its steps."""


def measure(setting: Setting) -> Iterator[Measure]:
    """The makespan of each shape, measured by the store's clock, and its difference from the simulation."""
    with (
        fleet(setting, WITH, {"a": HOT, "b": COLD}, steals="true", routes="false"),
        Client(setting.server.url(WITH)) as client,
    ):
        for name, (shape, minute, memory) in SHAPES.items():
            spec = sleeping(shape, minute * setting.scale, memory)
            predicted = simulated(spec)
            taken = [_makespan(ended(client.submit(spec))) for _ in range(setting.rounds + 1)][1:]
            yield Measure(
                name=name, unit="s", samples=tuple(taken),
                peer="simulation", peer_samples=(predicted,) * len(taken),
            )  # fmt: skip
            apart = tuple(100 * abs(seconds - predicted) / predicted for seconds in taken)
            yield Measure(name=f"{name}, difference from the simulation", unit="%", samples=apart)


def sleeping(shape: WorkflowSpec, minute: float, memory: int) -> WorkflowSpec:
    """The shape with agents that sleep, nine tenths of them of one class."""
    steps: list[dict[str, Any]] = []
    for number, step in enumerate(shape.steps):
        seconds = round((step.estimated_duration.high if step.estimated_duration else 0) / 60 * minute, 4)
        steps.append(
            {"id": step.id, "agent": "sleep", "needs": list(step.needs), "with": {"seconds": seconds},
             "estimated_duration": seconds, "queue": COLD if number % 10 == 0 else HOT}
            | ({"resources": {"memory": memory}} if memory else {})
        )  # fmt: skip
    return definition(shape.name, *steps)


def simulated(spec: WorkflowSpec) -> float:
    """What the simulation says that it takes on two workers, one for each class."""
    settings = EngineSettings()
    shape = Shape.of(settings)
    plan = shape.prioritised(make_plan(spec))
    steps = {
        step.id: Step(
            str(step.queue), float(step.with_["seconds"]), needs=len(plan.steps[step.id].needs), name=step.id,
            priority=plan.steps[step.id].priority, demand=shape.demand(step, str, None),
        )
        for step in spec.steps
    }  # fmt: skip
    for name, step in steps.items():
        step.then = [steps[consumer] for consumer in plan.steps[name].consumers]
    usual = {queue: fmean([one.seconds for one in steps.values() if one.queue == queue]) for queue in (HOT, COLD)}
    ageing = round(1000 * settings.resource_manager.allocation_strategy.ageing)
    pools = PoolModel(settings.capacity, Spec(ageing))
    crew = hosts((HOT, COLD), (HOT, COLD), slots=SLOTS)
    return Simulation(RULES, crew, (HOT, COLD), look=LOOK, usual=usual, pools=pools).run(list(steps.values()))


def _makespan(status: RunStatus) -> float:
    ends = [step.finished_at or 0.0 for step in status.steps.values()]
    return max(ends) - status.created_at
