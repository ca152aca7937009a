"""What agents' durations were: plain functions over the newest samples, and their place in Redis.

A duration is kept twice: under its agent, and under its agent and the size of what that was given (`pm` and `pm/3`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import redis

from orchestrator import keys
from orchestrator.batch import ItemRetry, do_all
from orchestrator.batch.lane import PASSING
from orchestrator.connection import guarded
from orchestrator.fields import Frozen
from orchestrator.scripts import Script, fragment

if TYPE_CHECKING:
    from orchestrator.workflow.models import WorkflowSpec

KEPT = 64
"""So many durations are kept of each agent and size, the newest."""
NEEDED = 5
"""From so many runs on, what was learned replaces an estimate."""
WEIGHT = 0.2
"""Of the newest duration in the moving average; what is older than KEPT would weigh less than a millionth."""
OFFERED = 1000
"""So many samples are kept over an outage of the store, the newest."""
NOT_NOW = ItemRetry(maximum_attempts=1)
EXPIRY_SECONDS = 30 * 24 * 3600
"""A deployment that has done nothing for so long begins anew."""

LEARN = Script(fragment("orchestrator.fleet", "learn"))


class Learned(Frozen):
    """Of the newest `count` durations (at most KEPT), in seconds: moving average and quantiles by nearest rank."""

    count: int
    ewma: float
    p50: float
    p95: float

    @property
    def seconds(self) -> float:
        """What the next one is expected to take."""
        return two_digits(self.ewma)


Durations: TypeAlias = Mapping[str, Learned]
"""`<agent>` or `<agent>/<size>` -> what was learned."""


class Sample(Frozen):
    """One attempt that a worker has executed: how long it took (s), and whether it succeeded. `size` is the bucket of
    what it was given, as in `units.size_bucket`."""

    agent: str
    size: int
    seconds: float
    ok: bool = True


def learn_from(samples: Sequence[float]) -> Learned | None:
    """From durations in their order, the oldest first; None without any."""
    if not samples:
        return None
    ewma = samples[0]
    for seconds in samples[1:]:
        ewma += WEIGHT * (seconds - ewma)
    return Learned(count=len(samples), ewma=ewma, p50=quantile(samples, 0.5), p95=quantile(samples, 0.95))


def two_digits(seconds: float) -> float:
    """Rounded: a plan does not change with every run."""
    return float(f"{seconds:.2g}")


def quantile(values: Iterable[float], share: float) -> float:
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def expected(durations: Durations, agent: str, size: int | None) -> float | None:
    """Seconds that an agent will take for so much input: known by that size, else by the agent (also for None, a size
    that nobody knows yet); None before NEEDED runs."""
    for name in (f"{agent}/{size}", agent):
        found = durations.get(name)
        if found is not None and found.count >= NEEDED:
            return found.seconds
    return None


def of_steps(durations: Durations, workflow: WorkflowSpec, input_bytes: int | None) -> dict[str, float]:
    """What the steps of a workflow will take, of which something was learned. Where several are made by one agent, that
    is known of all of them together, and their estimates say how it is shared among them. `input_bytes`: of its inputs,
    None when it declares some that are not given yet."""
    if not durations:
        return {}
    from orchestrator.workflow.plan import estimated_seconds  # of a submission; workers only learn
    from orchestrator.workflow.structure import input_bucket

    estimates = estimated_seconds(workflow)
    by_agent: dict[str, list[float]] = {}
    for step in workflow.steps:
        by_agent.setdefault(step.agent, []).append(estimates[step.id])
    found = {}
    for step in workflow.steps:
        seconds = expected(durations, step.agent, None if input_bytes is None else input_bucket(step, input_bytes))
        if seconds is not None:
            usual = sum(by_agent[step.agent]) / len(by_agent[step.agent])
            found[step.id] = two_digits(seconds * estimates[step.id] / usual) if usual else seconds
    return found


def mean_seconds(durations: Durations, agents: Iterable[str]) -> float | None:
    """What a step of one of these agents takes on average, each weighed by how often it ran; None when none has."""
    known = [durations[agent] for agent in agents if agent in durations]
    runs = sum(one.count for one in known)
    return sum(one.ewma * one.count for one in known) / runs if runs else None


def learn(client: redis.Redis, samples: Iterable[Sample]) -> None:
    """Keep the durations of what succeeded; one round trip, none without samples."""
    found: dict[str, list[str]] = {}
    for sample in samples:
        if sample.ok:
            for name in (sample.agent, f"{sample.agent}/{sample.size}"):
                found.setdefault(name, []).append(f"{sample.seconds:.4g}")
    parts = [part for name, values in found.items() for part in (name, " ".join(values[-KEPT:]))]
    if parts:
        LEARN.at(client, keys.DURATIONS, str(KEPT), str(EXPIRY_SECONDS), *parts)


class Learner:
    """Keeps samples in batches; those that the store does not take are offered again with the next ones."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._left: list[Sample] = []

    def keep(self, samples: Iterable[Sample]) -> None:
        """Never raises for a store that is away: durations are statistics."""
        offered = [*self._left, *samples][-OFFERED:]
        outcomes = do_all(self._handle, offered, retry=NOT_NOW)
        self._left = [one for one, error in zip(offered, outcomes, strict=True) if isinstance(error, PASSING)]

    def _handle(self, samples: Sequence[Sample]) -> list[None]:
        learn(self._client, samples)
        return [None] * len(samples)


def durations(client: redis.Redis) -> Durations:
    """Everything that was learned; one round trip."""
    with guarded():
        raw: Any = client.hgetall(keys.DURATIONS)
    learned = {name.decode(): learn_from([float(value) for value in text.split()]) for name, text in raw.items()}
    return {name: one for name, one in learned.items() if one is not None}
