"""The blocks of the engine file. A key with one possible value is a Literal, which refuses every other."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from orchestrator.fields import (
    Count,
    Frozen,
    Identifier,
    Number,
    PositiveCount,
    PositiveNumber,
    Priority,
    Seconds,
    Size,
    shared_default,
)
from orchestrator.units import parse_duration

Percent = Annotated[Number, Field(le=100)]


def _lifetime(value: object) -> object:
    return value if value == "session_lifetime" else parse_duration(value)


Lifetime = Annotated[Literal["session_lifetime"] | float, BeforeValidator(_lifetime)]
"""How long a cache keeps a value: seconds, or for a session, which is as long as the runs that use it are kept."""


class DependencyType(Frozen):
    """One kind of dependency; description and example are shown by `explain`."""

    description: str = ""
    example: str = ""


class BlockingType(DependencyType):
    blocking: Literal[True] = True


class FreeType(DependencyType):
    blocking: Literal[False] = False


class DependencyTypes(Frozen):
    data_dependency: BlockingType = shared_default(
        BlockingType,
        description="Agent B requires structured data from Agent A",
        example="pm requires analyst.project_brief.structured_data",
    )
    context_dependency: FreeType = shared_default(
        FreeType,
        description="Agent B benefits from Agent A's context but can work without it",
        example="ux_expert can use architect.technology_stack if available",
    )
    validation_dependency: FreeType = shared_default(
        FreeType,
        description="Agent B needs Agent A for output validation",
        example="architect validates pm's technical requirements",
    )
    resource_dependency: FreeType = shared_default(
        FreeType,
        description="Agents compete for the same computational resources",
        example="multiple agents using same template engine",
    )


class GraphGeneration(Frozen):
    algorithm: Literal["topological_sort_with_parallel_identification"] = (
        "topological_sort_with_parallel_identification"
    )
    optimization: Literal["minimize_critical_path_length"] = "minimize_critical_path_length"
    output: Literal["execution_groups_with_parallel_opportunities"] = "execution_groups_with_parallel_opportunities"


class DependencyAnalyzer(Frozen):
    analysis_scope: Literal["full_workflow_dependency_graph"] = "full_workflow_dependency_graph"
    dependency_types: DependencyTypes = shared_default(DependencyTypes)
    dependency_graph_generation: GraphGeneration = shared_default(GraphGeneration)


class ComputationalPool(Frozen):
    total_cpu_units: PositiveNumber = 100.0
    total_memory_units: PositiveNumber = 100.0
    concurrent_agent_limit: PositiveCount = 3


class ContextStorePool(Frozen):
    concurrent_readers: PositiveCount = 5
    concurrent_writers: PositiveCount = 1
    lock_timeout: Seconds = 30.0


class TemplateEnginePool(Frozen):
    concurrent_renders: PositiveCount = 3
    cache_size: Size = 50_000_000
    render_timeout: Seconds = 120.0


class ResourcePool(Frozen):
    """What the deployment has; `pools` names any further pool and how much it holds, `agent_classes` how many steps of
    a class may run at a time."""

    computational: ComputationalPool = shared_default(ComputationalPool)
    context_store: ContextStorePool = shared_default(ContextStorePool)
    template_engine: TemplateEnginePool = shared_default(TemplateEnginePool)
    pools: Mapping[Identifier, PositiveNumber] = Field(default_factory=dict)
    agent_classes: Mapping[Identifier, PositiveCount] = Field(default_factory=dict)


class Priorities(Frozen):
    critical_path_agents: Priority = 10
    parallel_group_agents: Priority = 7
    validation_agents: Priority = 5


class ResourceSharing(Frozen):
    cpu_oversubscription: Annotated[Number, Field(ge=1)] = 1.2
    memory_strict: bool = True
    context_queuing: bool = True


class AllocationStrategy(Frozen):
    algorithm: Literal["priority_based_fair_sharing"] = "priority_based_fair_sharing"
    ageing: Seconds = 30.0
    priorities: Priorities = shared_default(Priorities)
    resource_sharing: ResourceSharing = shared_default(ResourceSharing)


class AgentAssignment(Frozen):
    strategy: Literal["least_loaded_instance"] = "least_loaded_instance"
    health_check: Literal["response_time_based"] = "response_time_based"
    failover: Literal["automatic_reassignment"] = "automatic_reassignment"


class AlertThresholds(Frozen):
    cpu_usage: Percent = 90.0
    memory_usage: Percent = 85.0
    response_time: Seconds = 180.0
    queue_depth: Count = 3


ResourceMetric = Literal["cpu_usage", "memory_usage", "response_time", "queue_depth"]


class ResourceMonitoring(Frozen):
    metrics: tuple[ResourceMetric, ...] = ("cpu_usage", "memory_usage", "response_time", "queue_depth")
    sampling_interval: Seconds = 10.0
    alert_thresholds: AlertThresholds = shared_default(AlertThresholds)


class LoadBalancing(Frozen):
    agent_assignment: AgentAssignment = shared_default(AgentAssignment)
    resource_monitoring: ResourceMonitoring = shared_default(ResourceMonitoring)


class Backlog(Frozen):
    """How many steps may wait for the agents of a class before submissions are turned away: `most`, unless
    `agent_classes` says otherwise."""

    most: PositiveCount = 100_000
    agent_classes: Mapping[Identifier, PositiveCount] = Field(default_factory=dict)

    def most_of(self, agent_class: str) -> int:
        """The bound of a class."""
        return self.agent_classes.get(agent_class, self.most)


class ResourceManager(Frozen):
    resource_pool: ResourcePool = shared_default(ResourcePool)
    allocation_strategy: AllocationStrategy = shared_default(AllocationStrategy)
    load_balancing: LoadBalancing = shared_default(LoadBalancing)
    backlog: Backlog = shared_default(Backlog)


Initiation = Literal[
    "start_all_parallel_agents_simultaneously", "establish_shared_context_locks", "begin_progress_monitoring"
]
Monitoring = Literal[
    "track_individual_agent_progress",
    "monitor_resource_utilization",
    "detect_potential_conflicts_early",
    "provide_progress_updates",
]
Detection = Literal[
    "wait_for_all_agents_OR_timeout",
    "collect_completed_results",
    "assess_partial_completion_viability",
    "make_continuation_decision",
]
Synchronization = Literal[
    "merge_parallel_results",
    "resolve_any_conflicts",
    "validate_cross_agent_consistency",
    "prepare_context_for_next_group",
]


OPTIONAL_PHASES = frozenset({
    "start_all_parallel_agents_simultaneously", "establish_shared_context_locks", "monitor_resource_utilization",
    "detect_potential_conflicts_early", "validate_cross_agent_consistency",
})  # fmt: skip


def _complete(words: Any) -> AfterValidator:
    """A list that leaves out what every barrier does would say something that is not so."""
    always = [word for word in get_args(words) if word not in OPTIONAL_PHASES]

    def check(listed: tuple[str, ...]) -> tuple[str, ...]:
        missing = [word for word in always if word not in listed]
        if missing:
            free = ", ".join(word for word in get_args(words) if word in OPTIONAL_PHASES) or "nothing"
            raise ValueError(f"barriers always do {', '.join(missing)}; add it. Only {free} may be left out")
        return listed

    return AfterValidator(check)


class Phases(Frozen):
    """What a barrier does. Leaving a word out switches it off; what a barrier cannot do without has to be there."""

    phase_1_initiation: Annotated[tuple[Initiation, ...], _complete(Initiation)] = (
        "start_all_parallel_agents_simultaneously",
        "establish_shared_context_locks",
        "begin_progress_monitoring",
    )
    phase_2_execution_monitoring: Annotated[tuple[Monitoring, ...], _complete(Monitoring)] = (
        "track_individual_agent_progress",
        "monitor_resource_utilization",
        "detect_potential_conflicts_early",
        "provide_progress_updates",
    )
    phase_3_completion_detection: Annotated[tuple[Detection, ...], _complete(Detection)] = (
        "wait_for_all_agents_OR_timeout",
        "collect_completed_results",
        "assess_partial_completion_viability",
        "make_continuation_decision",
    )
    phase_4_synchronization: Annotated[tuple[Synchronization, ...], _complete(Synchronization)] = (
        "merge_parallel_results",
        "resolve_any_conflicts",
        "validate_cross_agent_consistency",
        "prepare_context_for_next_group",
    )


class ContinueWithPartial(Frozen):
    condition: Literal["at_least_one_agent_completed_successfully"] = "at_least_one_agent_completed_successfully"
    action: Literal["use_completed_results_fill_gaps_with_defaults"] = "use_completed_results_fill_gaps_with_defaults"
    quality_impact: Literal["low", "medium", "high"] = "medium"


class ExtendTimeout(Frozen):
    condition: Literal["agents_making_progress_but_need_more_time"] = "agents_making_progress_but_need_more_time"
    extension: Seconds = 300.0
    max_extensions: Count = 1


class AbortAndFallback(Frozen):
    condition: Literal["no_agents_completing_OR_critical_errors"] = "no_agents_completing_OR_critical_errors"
    action: Literal["fall_back_to_sequential_execution"] = "fall_back_to_sequential_execution"
    notification: Literal["alert_system_administrators"] = "alert_system_administrators"


class TimeoutStrategies(Frozen):
    continue_with_partial: ContinueWithPartial = shared_default(ContinueWithPartial)
    extend_timeout: ExtendTimeout = shared_default(ExtendTimeout)
    abort_and_fallback: AbortAndFallback = shared_default(AbortAndFallback)


class TimeoutHandling(Frozen):
    default_timeout: Seconds = 600.0
    timeout_strategies: TimeoutStrategies = shared_default(TimeoutStrategies)


class BarrierSynchronization(Frozen):
    implementation: Literal["smart_barrier_with_partial_results"] = "smart_barrier_with_partial_results"
    phases: Phases = shared_default(Phases)
    timeout_handling: TimeoutHandling = shared_default(TimeoutHandling)


WriteResolution = Literal[
    "first_writer_wins_with_merge_opportunity",
    "first_writer_wins",
    "last_writer_wins_with_merge_opportunity",
    "last_writer_wins",
    "highest_priority_wins_with_merge_opportunity",
    "highest_priority_wins",
    "three_way_merge_with_validation",
    "manual_conflict_resolution",
]


class WriteWriteConflict(Frozen):
    """With an opportunity to merge, and under the last two words, `resolution` decides only what cannot be merged;
    `three_way_merge_with_validation` then fails, `manual_conflict_resolution` waits for a person."""

    description: str = "Multiple agents trying to write to same context location"
    resolution: WriteResolution = "first_writer_wins_with_merge_opportunity"
    example: str = "both ux_expert and architect updating user_requirements"


class ReadWriteConflict(Frozen):
    description: str = "Agent reading while another agent writing"
    resolution: Literal["consistent_snapshot_isolation"] = "consistent_snapshot_isolation"
    example: str = "pm reading analyst_data while analyst updating"


class ConsistencyConflict(Frozen):
    description: str = "Parallel agents producing inconsistent outputs"
    resolution: Literal["post_completion_conflict_detection_and_resolution"] = (
        "post_completion_conflict_detection_and_resolution"
    )
    example: str = "ux_expert specifies mobile_first while architect assumes desktop_primary"


class ConflictTypes(Frozen):
    write_write_conflict: WriteWriteConflict = shared_default(WriteWriteConflict)
    read_write_conflict: ReadWriteConflict = shared_default(ReadWriteConflict)
    consistency_conflict: ConsistencyConflict = shared_default(ConsistencyConflict)


class OptimisticConcurrency(Frozen):
    strategy: Literal["allow_parallel_execution_detect_conflicts_later"] = (
        "allow_parallel_execution_detect_conflicts_later"
    )
    conflict_detection: Literal["content_hash_comparison"] = "content_hash_comparison"
    resolution: Literal["three_way_merge_with_validation"] = "three_way_merge_with_validation"


class ContextVersioning(Frozen):
    strategy: Literal["version_all_context_changes"] = "version_all_context_changes"
    merge_strategy: Literal["semantic_merge_where_possible"] = "semantic_merge_where_possible"
    fallback: Literal["manual_conflict_resolution"] = "manual_conflict_resolution"


def _owned_once(rules: Any) -> Any:
    """Refuse a section that two agents own. Anything that is no mapping of lists is left to the model."""
    owners: dict[str, str] = {}
    for agent, sections in rules.items() if isinstance(rules, Mapping) else ():
        for section in sections if isinstance(sections, list | tuple) else ():
            first = owners.setdefault(str(section), str(agent))
            if first != agent:
                raise ValueError(f"'{section}' has two owners, {first} and {agent}; give it to one of them")
    return rules


OwnershipRules = Annotated[Mapping[Identifier, tuple[Identifier, ...]], BeforeValidator(_owned_once)]


class ConflictPrevention(Frozen):
    """`ownership_rules` maps an agent to the shared sections of the context that it alone writes."""

    strategy: Literal["pre_allocate_context_ownership"] = "pre_allocate_context_ownership"
    ownership_rules: OwnershipRules = Field(
        default_factory=lambda: {
            "analyst": ("project_metadata", "problem_analysis", "user_research"),
            "pm": ("requirements", "user_stories", "acceptance_criteria"),
            "architect": ("technical_architecture", "system_design", "api_specs"),
            "ux_expert": ("user_experience", "ui_specifications", "design_system"),
        }
    )


class ResolutionMechanisms(Frozen):
    optimistic_concurrency: OptimisticConcurrency = shared_default(OptimisticConcurrency)
    context_versioning: ContextVersioning = shared_default(ContextVersioning)
    conflict_prevention: ConflictPrevention = shared_default(ConflictPrevention)


class ContextConflicts(Frozen):
    conflict_types: ConflictTypes = shared_default(ConflictTypes)
    resolution_mechanisms: ResolutionMechanisms = shared_default(ResolutionMechanisms)
