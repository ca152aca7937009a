"""The engine file's blocks on workers: how those of each agent class run, and how they help each other out."""

import os
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from orchestrator.fields import Frozen, Identifier, Number, PositiveCount, Seconds, shared_default

PoolKind = Literal["prefork", "threads", "gevent"]
Share = Annotated[Number, Field(gt=0, le=1)]


class WorkerClass(Frozen):
    """How a worker of an agent class runs. A prefork pool has between `min` and `max` processes, as many as its
    queues need; the others have `max` slots. `cpu_bound`: never more processes than the host has cores. `steals`: its
    workers help other classes when they are idle. Without `shared` nobody else takes its work."""

    pool: PoolKind = "prefork"
    min: PositiveCount = 1
    max: PositiveCount = 4
    cpu_bound: bool = False
    steals: bool = True
    shared: bool = True

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; write at most that")
        if self.cpu_bound and self.pool != "prefork":
            raise ValueError(f"cpu_bound needs pool prefork, found {self.pool}: threads share one core")
        return self

    def bounds(self, cores: int) -> tuple[int, int]:
        """The least and the most slots on a host with so many cores."""
        most = min(self.max, cores) if self.cpu_bound else self.max
        return (min(self.min, most) if self.pool == "prefork" else most), most


class Workers(Frozen):
    """How the workers of each class run; one that is not among `classes` as `default`."""

    default: WorkerClass = shared_default(WorkerClass)
    classes: Mapping[Identifier, WorkerClass] = Field(
        default_factory=lambda: {"benchmarks": WorkerClass(max=1, steals=False, shared=False)}
    )

    def of(self, name: str) -> WorkerClass:
        return self.classes.get(name, self.default)

    def apart(self) -> tuple[str, ...]:
        """The classes that a worker for all leaves to workers of their own."""
        pool = self.default.pool
        return tuple(name for name, one in self.classes.items() if one.pool != pool or not one.shared)

    def together(self, names: Iterable[str]) -> WorkerClass:
        """One worker for several classes. Raises ValueError when they have different pools."""
        found = {name: self.of(name) for name in names}
        pools = sorted({one.pool for one in found.values()})
        if len(pools) > 1:
            told = ", ".join(f"{name} {one.pool}" for name, one in found.items())
            raise ValueError(f"one worker has one pool, and these classes have different ones ({told}); start several")
        classes = list(found.values()) or [self.default]
        return WorkerClass(
            pool=classes[0].pool,
            min=max(one.min for one in classes),
            max=max(one.max for one in classes),
            cpu_bound=any(one.cpu_bound for one in classes),
            steals=all(one.steals for one in classes),
            shared=all(one.shared for one in classes),
        )


def worker_arguments(workers: Workers, classes: Iterable[str] | None, concurrency: int | None = None) -> list[str]:
    """Celery's options for a worker of these classes (None: of all but those `apart`): its pool, and how many
    slots it has on this host. Raises ValueError when the classes have different pools, or one that is not installed."""
    kind = workers.default if classes is None else workers.together(classes)
    if kind.pool == "gevent" and find_spec("gevent") is None:
        raise ValueError("pool gevent needs a package that is not installed: pip install 'orchestrator[gevent]'")
    least, most = kind.bounds(len(os.sched_getaffinity(0)))
    grows = concurrency is None and least < most
    slots = f"--autoscale={most},{least}" if grows else f"--concurrency={concurrency or most}"
    others = workers.apart() if classes is None else ()
    left_out = ("-X", ",".join(f"agents.{name}" for name in others)) if others else ()
    return ["--pool", kind.pool, slots, *left_out]


class FleetRules(Frozen):
    """When workers grow, shrink, help out, step back. Times in seconds.

    A pool grows as long as what waits would take more than `target_wait`, and shrinks to what it has needed in the
    last `scale_cooldown`. An idle worker takes from a queue whose wait is predicted to be above `steal_above`, until
    that is below half of it, for `hold` at least. A worker steps back that is `slow_factor` times as slow as the
    others, or of whose attempts `failure_share` fail, in at least `least_samples`; it is tried again after
    `probe_after`, and each time after twice as long.
    """

    scale_cooldown: Seconds = 30.0
    target_wait: Seconds = 1.0
    work_stealing: bool = True
    steal_above: Seconds = 5.0
    hold: Seconds = 30.0
    health_routing: bool = True
    slow_factor: Annotated[Number, Field(gt=1)] = 3.0
    failure_share: Share = 0.5
    least_samples: PositiveCount = 5
    probe_after: Seconds = 30.0
