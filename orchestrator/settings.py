"""The engine's settings: what engine.yaml says, with the documents' own values as defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from orchestrator.demand import AGENTS, CPU, MEMORY, DemandRules, capacities, class_name, pool_name
from orchestrator.documents import Document, Doubtful, load_document, shown
from orchestrator.engine_alerts import Alerting
from orchestrator.engine_blocks import BarrierSynchronization, ContextConflicts, DependencyAnalyzer, ResourceManager
from orchestrator.engine_caches import CachingSystem, PerformanceMonitoring
from orchestrator.engine_fleet import FleetRules, Workers
from orchestrator.environment import Environment
from orchestrator.errors import InvalidDocument, Problem
from orchestrator.fields import (
    Frozen,
    Number,
    PositiveCount,
    Seconds,
    SecondsOrNone,
    Size,
    SizeOrNone,
    shared_default,
)
from orchestrator.problems import boolean_keys, doubtful_problems, in_file_order, translate

__all__ = ["ENGINE_BLOCKS", "EngineSettings", "Environment", "Runtime", "Words", "check_engine", "load_engine"]


MASKED_NAMES = (
    "*password*", "*passwd*", "*passphrase*", "*secret*", "*credential*", "*api_key*", "*apikey*", "*private_key*",
    "*access_key*", "authorization", "token", "*_token",
)  # fmt: skip


class Words(Frozen):
    """Units that the words of a workflow's resource requirements stand for."""

    cpu: Mapping[str, Number] = Field(
        default_factory=lambda: {"low": 15.0, "medium": 30.0, "high": 40.0, "very_high": 60.0}
    )
    memory: Mapping[str, Number] = Field(
        default_factory=lambda: {"low": 15.0, "medium": 25.0, "high": 35.0, "very_high": 50.0}
    )


class Runtime(Frozen):
    """How the engine itself runs. Times in seconds, sizes in bytes.

    A lease of `lease_seconds` is renewed every `renew_seconds`; the sweep looks every `sweep_seconds` for what a crash
    left half done, and takes a message for lost after `lost_after`. A run is kept for `retention` after its end; 0
    keeps it. A cancelled attempt has `cancel_grace` to end by itself, a person `decision_timeout` to decide a conflict
    (0: for ever), after which `decision_fallback` decides; `fail` ends the run. `max_log_bytes` is per attempt. One
    message has at most `message_bytes`; of a run's and of the deployment's messages a quarter of `messages_bytes` is
    kept, and up to all of it for groups of consumers that have not read them. Of a
    run's context `context_versions` are kept, fewer when its values take more than `context_bytes`; what is read or has
    a name stays. Of several beats another leads `beat_lock_timeout` after the last word of the one that did. With
    `sequential` runs do one step after another, unless they are submitted otherwise. A worker that has taken nothing
    for `liveness_timeout` although messages wait, or has `stuck_threads` in attempts that are over, replaces itself:
    its steps have `replace_grace` to end. Pages, terminals and the HTTP API show no value whose name matches one of
    `masked_names` (`*` stands for anything, upper and lower case are the same).
    Every `priority_seconds` the slack of a run's steps is judged anew, by what is done. For `run_on_seconds` a worker's
    process goes on with steps of one run, and waits as long for a step of another one (0: it does one step a message).
    """

    lease_seconds: Seconds = 5.0
    renew_seconds: Seconds = 1.5
    sweep_seconds: Seconds = 1.0
    lost_after: Seconds = 10.0
    cancel_grace: Seconds = 5.0
    retention: SecondsOrNone = 604800.0
    visibility_timeout: Seconds = 30.0
    max_value_bytes: Size = 8_000_000
    decision_timeout: SecondsOrNone = 3600.0
    decision_fallback: Literal["first_writer", "last_writer", "priority", "fail"] = "first_writer"
    context_versions: PositiveCount = 1000
    context_bytes: Size = 64_000_000
    shared_memory: SizeOrNone = 128_000_000
    max_log_bytes: Size = 256_000
    message_bytes: Size = 64_000
    messages_bytes: Size = 32_000_000
    segment_links: PositiveCount = 6
    run_on_seconds: SecondsOrNone = 5.0
    priority_seconds: Seconds = 10.0
    sequential: bool = False
    beat_lock_timeout: PositiveCount = 5
    liveness_timeout: Seconds = 60.0
    stuck_threads: PositiveCount = 2
    replace_grace: Seconds = 30.0
    masked_names: tuple[str, ...] = MASKED_NAMES

    @model_validator(mode="after")
    def _enough_messages(self) -> Self:
        if self.messages_bytes < 400 * self.message_bytes:
            message = f"messages_bytes {self.messages_bytes:,} is too little for {self.message_bytes:,} bytes a message"
            raise ValueError(f"{message}; write at least 400 times as much, so that readers notice what they missed")
        return self

    @model_validator(mode="after")
    def _renewed_in_time(self) -> Self:
        if self.renew_seconds * 2 > self.lease_seconds:
            message = f"renew_seconds {self.renew_seconds:g} is too long for a lease of {self.lease_seconds:g} seconds"
            raise ValueError(f"{message}; write at most half of it, so that one lost renewal does no harm")
        return self


class EngineSettings(Frozen):
    """Every knob of the deployment."""

    dependency_analyzer: DependencyAnalyzer = shared_default(DependencyAnalyzer)
    resource_manager: ResourceManager = shared_default(ResourceManager)
    barrier_synchronization: BarrierSynchronization = shared_default(BarrierSynchronization)
    context_conflicts: ContextConflicts = shared_default(ContextConflicts)
    caching_system: CachingSystem = shared_default(CachingSystem)
    performance_monitoring: PerformanceMonitoring = shared_default(PerformanceMonitoring)
    words: Words = shared_default(Words)
    engine: Runtime = shared_default(Runtime)
    workers: Workers = shared_default(Workers)
    fleet: FleetRules = shared_default(FleetRules)
    alerting: Alerting = shared_default(Alerting)

    @property
    def cpu_capacity(self) -> float:
        """Units that can be handed out at once, oversubscription included."""
        sharing = self.resource_manager.allocation_strategy.resource_sharing
        return self.resource_manager.resource_pool.computational.total_cpu_units * sharing.cpu_oversubscription

    @property
    def memory_capacity(self) -> float:
        """Units that can be handed out at once; as many as one likes if memory is not strict."""
        strict = self.resource_manager.allocation_strategy.resource_sharing.memory_strict
        return self.resource_manager.resource_pool.computational.total_memory_units if strict else float("inf")

    @property
    def demand_rules(self) -> DemandRules:
        """What turns the resources of a step into its demand."""
        return DemandRules(
            tuple(self.words.cpu.items()),
            tuple(self.words.memory.items()),
            frozenset(self.resource_manager.resource_pool.agent_classes),
        )

    @property
    def capacity(self) -> Mapping[str, int]:
        """All that steps are admitted to, in thousandths of a unit."""
        pool = self.resource_manager.resource_pool
        units: dict[str, float] = {
            AGENTS: pool.computational.concurrent_agent_limit,
            CPU: self.cpu_capacity,
            MEMORY: self.memory_capacity,
            **{pool_name(name): amount for name, amount in self.pools.items()},
            **{class_name(name): limit for name, limit in pool.agent_classes.items()},
        }
        return capacities(units)

    @property
    def pools(self) -> Mapping[str, float]:
        """Every pool that a step may name, with what it holds."""
        pool = self.resource_manager.resource_pool
        return {"template_engine": float(pool.template_engine.concurrent_renders), **pool.pools}

    @property
    def owners(self) -> Mapping[str, str]:
        """Shared section of the context -> the agent that owns it."""
        rules = self.context_conflicts.resolution_mechanisms.conflict_prevention.ownership_rules
        return {section: agent for agent, sections in rules.items() for section in sections}


ENGINE_BLOCKS = frozenset(EngineSettings.model_fields)
_BOOLEANS = boolean_keys(EngineSettings) | {"blocking"}


def load_engine(path: str | Path) -> EngineSettings:
    """Read an engine file, in which every block may be left out. Raises InvalidDocument with every mistake."""
    settings, problems = check_engine(load_document(path))
    if settings is None:
        raise InvalidDocument(problems)
    return settings


def check_engine(document: Document) -> tuple[EngineSettings | None, list[Problem]]:
    """The settings of a document, or every mistake in it."""
    problems = list(document.problems)
    value = document.value
    if value is None and not problems:
        value = {}
    if not isinstance(value, dict):
        if not problems:
            problems.append(document.problem((), f"a mapping is expected, found {shown(value)}"))
        return None, problems
    settings = None
    try:
        settings = EngineSettings.model_validate(_without_nothing(value))
    except ValidationError as error:
        problems += translate(error, document, EngineSettings)
    seen = {problem.path for problem in problems}
    problems += [one for one in doubtful_problems(document, value, _BOOLEANS) if one.path not in seen]
    problems = in_file_order(problems)
    return (None if problems else settings), problems


def _without_nothing(value: object) -> object:
    """Keys without a value count as not written; doubtful scalars are plain text."""
    if isinstance(value, dict):
        return {key: _without_nothing(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    return str(value) if isinstance(value, Doubtful) else value
