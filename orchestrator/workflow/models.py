"""What a workflow is, after parsing: frozen models in which every notation has become one value.

The loader and the Python builder both end here; nothing behind them ever looks at a raw dict again.
Durations are seconds, priorities are 0-10 with higher meaning sooner, references are step ids.
"""

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from orchestrator import units
from orchestrator.fields import (
    ContextPath,
    Count,
    Cron,
    Frozen,
    Identifier,
    Number,
    PositiveCount,
    PositiveNumber,
    Priority,
    Seconds,
    shared_default,
)
from orchestrator.workflow.expansion import Concurrency, ForkJoin, Items, Stage, StageSpec, check_mapped, stages_of
from orchestrator.workflow.input_models import InputSpec, WorkflowInput
from orchestrator.workflow.limits import ConcurrencyLimit, Named, RateLimits
from orchestrator.workflow.sharing import ConsistencyRule, MergeRules, QualityLevel

__all__ = [
    "BarrierSpec",
    "ContextAccess",
    "ContextPath",
    "CrossValidation",
    "EstimatedDuration",
    "Frozen",
    "GroupSpec",
    "Identifier",
    "InputSpec",
    "LockMode",
    "Priority",
    "Resources",
    "RetryPolicy",
    "Seconds",
    "StepSpec",
    "TimeoutStrategy",
    "TriggerRule",
    "WorkflowSpec",
]

DEFAULT_STEP_SECONDS = 60.0
"""What a step is taken to last of which nothing is said and nothing was learned."""


class TriggerRule(StrEnum):
    """When a step may start, judged over its blocking dependencies. Names and meaning are Airflow's."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    NONE_SKIPPED = "none_skipped"
    ALL_SKIPPED = "all_skipped"
    ALWAYS = "always"


class EstimatedDuration(Frozen):
    """An estimate in seconds; a single figure has low == high. Planning uses the midpoint."""

    low: Number
    high: Number

    @property
    def midpoint(self) -> float:
        return (self.low + self.high) / 2


def _estimated_duration(value: object) -> object:
    if isinstance(value, EstimatedDuration | Mapping):
        return value
    low, high = units.parse_duration_range(value)
    return {"low": low, "high": high}


Estimate = Annotated[EstimatedDuration, BeforeValidator(_estimated_duration)]


class RetryPolicy(Frozen):
    """Temporal's retry policy. `maximum_attempts` counts the first one; 0 means without bound.

    `jitter` is the share (0-1) by which an interval may be shortened. `non_retryable_error_types` are
    exception class names; they end the step at the first failure.
    """

    initial_interval: Seconds = 1.0
    backoff_coefficient: Annotated[Number, Field(ge=1)] = 2.0
    maximum_interval: Seconds = 100.0
    maximum_attempts: Count = 3
    jitter: Annotated[Number, Field(le=1)] = 0.0
    non_retryable_error_types: tuple[str, ...] = ()


def _amount(value: object) -> object:
    """Units from 0, or a word. Raises ValueError."""
    if isinstance(value, str) and value.replace("_", "a").isalpha():
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no amount; write units such as 40, or a word such as medium")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value} is no amount; write 0 or more")
    return float(value)


Amount = Annotated[float | str, BeforeValidator(_amount)]
"""Units of a pool, or a word of the engine's table."""


class Resources(Frozen):
    """What one attempt holds while it runs. cpu and memory are units of the pool, or a word
    (`low`, `medium`, `high`, `very_high`) that the engine's word table turns into units; `pools` names
    any further pool of the deployment and the amount taken from it."""

    cpu: Amount = 0.0
    memory: Amount = 0.0
    pools: Mapping[Identifier, PositiveNumber] = Field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.cpu and not self.memory and not self.pools


_NOTHING = Resources()
"""Shared, because pydantic would copy a default that holds a mapping for every step."""


class ContextAccess(Frozen):
    """Which context paths a step may read and write. None leaves that side open to what ownership allows."""

    read: tuple[ContextPath, ...] | None = None
    write: tuple[ContextPath, ...] | None = None


class LockMode(StrEnum):
    """How a section is locked: together with others who read it, or alone."""

    READ = "read"
    WRITE = "write"


def _cache_use(value: object) -> object:
    """Yes, no, or how old a result may be. Raises ValueError."""
    if isinstance(value, bool):
        return value
    try:
        seconds = units.parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}; or true or false") from error
    if not seconds:
        raise ValueError("no result is 0 s old; write false, or an age such as 1h")
    return seconds


CacheUse = Annotated[bool | Annotated[float, Field(gt=0)], BeforeValidator(_cache_use)]
"""Whether earlier results of the same work may stand for a step's, or how old (seconds) those may be."""


class TimeoutStrategy(StrEnum):
    EXTEND_TIMEOUT = "extend_timeout"
    CONTINUE_WITH_PARTIAL = "continue_with_partial"
    ABORT_AND_FALLBACK = "abort_and_fallback"


class FailureCriteria(StrEnum):
    ALL = "all_agents_fail_or_timeout"
    ANY = "any_agent_fails_or_times_out"


class CrossValidation(Frozen):
    """When the members of a group have ended and are merged, and before anybody behind the group starts, the named
    agents (step ids or agents of the group; none: all of it) each look at what the other members have written.

    A validation that finds something, fails, or takes longer than `validation_timeout` marks the run with its
    `quality_impact`; if it is `blocking`, the group fails.
    """

    enabled: bool = False
    validation_agents: tuple[Identifier, ...] = ()
    validation_timeout: Seconds = 180.0
    blocking: bool = False
    quality_impact: QualityLevel = "medium"


def _min_success(value: object) -> object:
    """A count from 1, or a share from 1% to 100%. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, str) and re.fullmatch(r"100%|[1-9][0-9]?%", value):
        return str(value)
    raise ValueError(f'{value!r} is no number of successes; write a count such as 2, or a share such as "60%"')


MinSuccess = Annotated[int | str, BeforeValidator(_min_success)]
"""How many members have to succeed: a count, or a share such as "60%"."""


class BarrierSpec(Frozen):
    """How the members of a group are brought together again.

    `min_success` is a count or a share such as "60%". Which strategy is tried first at a timeout is the order
    of `on_timeout`. Without `failure_criteria` the group fails when nothing makes its success criteria true any more.
    They are looked at first: with ANY it fails with its first member, whatever could stand in; with ALL only when no
    member has succeeded, and goes on with less than it wanted otherwise. When the barrier has merged its members'
    work, it looks at the `consistency` of that.
    """

    timeout: Seconds | None = None
    on_timeout: tuple[TimeoutStrategy, ...] = (
        TimeoutStrategy.EXTEND_TIMEOUT,
        TimeoutStrategy.CONTINUE_WITH_PARTIAL,
        TimeoutStrategy.ABORT_AND_FALLBACK,
    )
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    min_success: MinSuccess | None = None
    failure_criteria: FailureCriteria | None = None
    extension: Seconds | None = None
    max_extensions: Count | None = None
    consistency: tuple[ConsistencyRule, ...] = ()
    cross_validation: CrossValidation = shared_default(CrossValidation)


class StepSpec(Frozen):
    """One unit of work of a workflow: an agent, its parameters and its dependencies. It waits for its `locks` (section
    of the context -> mode) before it is given to a worker, and holds them until its attempt ends. `defaults`: what its
    barrier may fill in for it (None: as its agent says; empty: it may be missing, and nothing stands for it). `cache`:
    whether its result may come from the cache (None: as its agent says).

    With `for_each` it is a mapped step: its agent, or its `pipeline`, or its `fork_join`, works on each of many items,
    `concurrency` at a time. `barrier` says how many may fail, `retry` and `defaults` then are for each item.
    """

    id: Identifier
    agent: Identifier
    with_: Mapping[str, Any] = Field(default_factory=dict, alias="with")
    needs: tuple[Identifier, ...] = ()
    wants: tuple[Identifier, ...] = ()
    validates: tuple[Identifier, ...] = ()
    inputs: tuple[ContextPath, ...] = ()
    outputs: tuple[ContextPath, ...] = ()
    context: ContextAccess = shared_default(ContextAccess)
    context_access: str | None = None
    locks: Mapping[Identifier, LockMode] = Field(default_factory=dict)
    resources: Resources = Field(default_factory=lambda: _NOTHING)
    concurrency_limit: ConcurrencyLimit | None = None
    rate_limit: RateLimits | None = None
    timeout: Seconds | None = None
    idle_timeout: Seconds | None = None
    schedule_timeout: Seconds | None = None
    retry: RetryPolicy = shared_default(RetryPolicy)
    priority: Priority | None = None
    queue: Identifier | None = None
    estimated_duration: Estimate | None = None
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    defaults: Mapping[str, Any] | None = None
    cache: CacheUse | None = None
    group: Identifier | None = None
    for_each: Items | None = None
    concurrency: Concurrency | None = None
    chunk_size: PositiveCount | None = None
    item_timeout: Seconds | None = None
    pipeline: tuple[StageSpec, ...] = ()
    fork_join: ForkJoin | None = None
    barrier: BarrierSpec | None = None
    description: str = ""

    @model_validator(mode="after")
    def _mapped(self) -> Self:
        check_mapped(self)
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What a mapped step does with its items; nothing for any other step."""
        return stages_of(self)

    @property
    def agents(self) -> tuple[str, ...]:
        """Every agent that works for the step, its own first."""
        return (self.agent, *(stage.agent for stage in self.stages if stage.agent != self.agent))


class GroupSpec(Frozen):
    """Steps that start together and are joined by one barrier. Its locks are held from its start to its barrier."""

    id: Identifier
    steps: tuple[Identifier, ...]
    parallel_capable: bool = True
    barrier: BarrierSpec = shared_default(BarrierSpec)
    estimated_duration: Estimate | None = None
    locks: Mapping[Identifier, LockMode] = Field(default_factory=dict)
    resource_isolation: bool = False
    name: str = ""
    description: str = ""


class WorkflowSpec(Frozen):
    """A whole definition: steps in the order in which they were written, and the groups among them. Registered in a
    deployment, one with a `schedule` is started by beat, in UTC; a time at which no beat ran is not made up for.

    At most `max_parallel` steps of a run run at a time. Runs with one `fairness_key` (None: each run by itself) share
    what pools give them, in proportion to their `fairness_weight`."""

    name: Identifier
    version: str = "1"
    description: str = ""
    inputs: Mapping[ContextPath, WorkflowInput] = Field(default_factory=dict)
    steps: tuple[StepSpec, ...]
    groups: tuple[GroupSpec, ...] = ()
    merge: MergeRules = shared_default(MergeRules)
    timeout: Seconds | None = None
    schedule: Cron | None = None
    max_parallel: PositiveCount | None = None
    fairness_key: Named | None = None
    fairness_weight: PositiveNumber = 1.0

    @model_validator(mode="after")
    def _starts_by_itself(self) -> Self:
        if self.schedule and self.required_inputs:
            raise ValueError(f"a schedule starts it without inputs: {', '.join(self.required_inputs)} need a default")
        return self

    def step(self, step_id: str) -> StepSpec:
        """The step of that id. Raises KeyError."""
        return self._by_id[step_id]

    @property
    def default_inputs(self) -> dict[str, Any]:
        """Input name -> value, of those that need not be given."""
        return {name: declared.default for name, declared in self.inputs.items() if not declared.required}

    @property
    def required_inputs(self) -> tuple[str, ...]:
        """The inputs that a run has to be given."""
        return tuple(name for name, declared in self.inputs.items() if declared.required)

    @property
    def _by_id(self) -> Mapping[str, StepSpec]:
        cached: Mapping[str, StepSpec] | None = self.__dict__.get("_steps_by_id")
        if cached is None:
            cached = {step.id: step for step in self.steps}
            self.__dict__["_steps_by_id"] = cached
        return cached
