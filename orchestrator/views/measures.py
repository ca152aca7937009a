"""What is measured of one run: the metrics that `metrics_collection` of the engine file names, from its view.

Nothing is recorded for them while the run is at work: its events and its context tell all of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, cast

from msgspec import Struct, field

from orchestrator import keys
from orchestrator.client import Client
from orchestrator.connection import guarded
from orchestrator.demand import CPU, MEMORY, parse_demand
from orchestrator.engine_caches import PerformanceMonitoring
from orchestrator.views.analysis import Analysis, analyse
from orchestrator.views.models import Attempt, RunView

SCORES = ("score", "quality_score")
"""Under these names an agent says how good its result is."""


class Facts(Struct, frozen=True):
    """A run: its view, what its steps have written as score (`scores`) and as their judgement of others (`valid`), and
    what each takes of the pools (`demands`), which hold `capacity` thousandths."""

    view: RunView
    scores: Mapping[str, float] = field(default_factory=dict)
    valid: Mapping[str, bool] = field(default_factory=dict)
    demands: Mapping[str, str] = field(default_factory=dict)
    capacity: Mapping[str, int] = field(default_factory=dict)


def measures(rules: PerformanceMonitoring, facts: Facts) -> dict[str, Any]:
    """Metric -> value, in the order of the settings. Seconds, shares from 0 to 1, and percent where the name says so;
    None where there was nothing to measure."""
    found = analyse(facts.view)
    wanted = (*rules.metrics_collection.execution_metrics, *rules.metrics_collection.quality_metrics)
    return {name: _METRICS[name](facts, found) for name in wanted}


def facts_of(client: Client, view: RunView) -> Facts:
    """The rest of what there is to know of a run; two round trips."""
    steps = [step.id for step in view.steps]
    with guarded():
        raw = cast("dict[bytes, bytes]", client.redis.hgetall(keys.run_key(view.run_id, "defs")))
    definitions = {name.decode(): json.loads(text) for name, text in raw.items()}
    names = [f"{step}.{key}" for step in steps for key in (*SCORES, "valid")]
    fields = client.contexts.read(view.run_id, names=names, branches=steps).fields
    said = [(*name.split(".", 1), json.loads(value.text)) for name, value in fields.items()]
    validating = {step.id for step in view.steps if step.validates}
    return Facts(
        view,
        scores={step: float(value) for step, key, value in said if key in SCORES and _is_number(value)},
        valid={step: value is True for step, key, value in said if key == "valid" and step in validating},
        demands={name: one["demand"] for name, one in definitions.items() if one.get("demand")},
        capacity=client.settings.capacity,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ended(facts: Facts) -> list[tuple[str, Attempt, float]]:
    """Step, attempt and its seconds, of those that ran, up to now."""
    now = facts.view.finished_at or facts.view.now
    return [
        (step.id, one, max(0.0, (one.ended_at or now) - one.started_at))
        for step in facts.view.steps
        for one in step.attempts
        if one.started_at is not None
    ]


def _total(facts: Facts, found: Analysis) -> float:
    return round(found.took, 3)


def _by_agent(facts: Facts, found: Analysis) -> dict[str, float]:
    agents, sums = {step.id: step.agent for step in facts.view.steps}, defaultdict[str, float](float)
    for step, _, seconds in _ended(facts):
        sums[agents[step]] += seconds
    return {agent: round(seconds, 3) for agent, seconds in sums.items()}


def _efficiency(facts: Facts, found: Analysis) -> float | None:
    """Of the run's time, the share in which the chain of steps that decided its end was at work: the rest are waits
    that more parallelism, or fewer barriers, would save."""
    return round(sum(leg.running for leg in found.path) / found.took, 3) if found.took > 0 else None


def _lock_waits(facts: Facts, found: Analysis) -> float:
    return round(sum(wait.seconds for wait in facts.view.lock_waits), 3)


def _utilisation(facts: Facts, found: Analysis) -> dict[str, float]:
    """Of what cpu and memory pools could give while the run lasted, what its steps have held."""
    held = defaultdict[str, float](float)
    for step, _, seconds in _ended(facts):
        for take in parse_demand(facts.demands.get(step, ""), facts.capacity).takes:
            held[take.name] += take.amount * seconds
    given = {name: facts.capacity.get(name, 0) * found.took for name in (CPU, MEMORY)}
    return {name: round(100 * held[name] / most, 2) for name, most in given.items() if most}


def _scores(facts: Facts, found: Analysis) -> dict[str, float]:
    return dict(facts.scores)


def _invalid(facts: Facts, found: Analysis) -> float | None:
    return _share(sum(not valid for valid in facts.valid.values()), len(facts.valid))


def _conflicts(facts: Facts, found: Analysis) -> float | None:
    """Conflicts for each step that has written something."""
    wrote = {version.author for version in facts.view.versions if not version.author.startswith("@")}
    wrote |= {step.id for step in facts.view.steps if step.group is not None and step.state in ("success", "cached")}
    return _share(len(facts.view.conflicts), len(wrote))


def _retries(facts: Facts, found: Analysis) -> float | None:
    """Of all attempts, those that were not the first."""
    made = [len(step.attempts) for step in facts.view.steps if step.attempts]
    return _share(sum(made) - len(made), sum(made))


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None


_METRICS: Mapping[str, Callable[[Facts, Analysis], Any]] = {
    "total_workflow_time": _total,
    "individual_agent_execution_time": _by_agent,
    "parallel_efficiency_ratio": _efficiency,
    "context_lock_wait_time": _lock_waits,
    "resource_utilization_percentage": _utilisation,
    "output_quality_scores": _scores,
    "validation_failure_rate": _invalid,
    "context_conflict_frequency": _conflicts,
    "retry_rate": _retries,
}
