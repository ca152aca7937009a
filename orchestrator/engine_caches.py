"""The engine file's blocks on caching and on performance monitoring."""

from typing import Literal

from orchestrator.engine_blocks import Lifetime
from orchestrator.fields import Frozen, Size, shared_default


class AgentOutputCache(Frozen):
    scope: Literal["completed_agent_outputs"] = "completed_agent_outputs"
    key_strategy: Literal["content_hash_based"] = "content_hash_based"
    ttl: Lifetime = "session_lifetime"
    size_limit: Size = 100_000_000


class TemplateRenderCache(Frozen):
    scope: Literal["rendered_template_outputs"] = "rendered_template_outputs"
    key_strategy: Literal["template_id_plus_variable_hash"] = "template_id_plus_variable_hash"
    ttl: Lifetime = 3600.0
    size_limit: Size = 50_000_000


class ContextSnapshotCache(Frozen):
    scope: Literal["context_state_at_major_milestones"] = "context_state_at_major_milestones"
    key_strategy: Literal["workflow_step_plus_content_hash"] = "workflow_step_plus_content_hash"
    ttl: Lifetime = "session_lifetime"
    size_limit: Size = 200_000_000


class CacheLevels(Frozen):
    agent_output_cache: AgentOutputCache = shared_default(AgentOutputCache)
    template_render_cache: TemplateRenderCache = shared_default(TemplateRenderCache)
    context_snapshot_cache: ContextSnapshotCache = shared_default(ContextSnapshotCache)


class Prefetching(Frozen):
    strategy: Literal["predict_next_likely_agent_needs"] = "predict_next_likely_agent_needs"
    prefetch_templates: bool = True
    prefetch_context: bool = True


class Compression(Frozen):
    algorithm: Literal["lz4_fast_compression"] = "lz4_fast_compression"
    compression_threshold: Size = 10_000


PriorityFactor = Literal["access_frequency", "computation_cost", "cache_hit_ratio"]


class Eviction(Frozen):
    policy: Literal["lru_with_priority_boosting"] = "lru_with_priority_boosting"
    priority_factors: tuple[PriorityFactor, ...] = ("access_frequency", "computation_cost", "cache_hit_ratio")


class CacheOptimization(Frozen):
    prefetching: Prefetching = shared_default(Prefetching)
    compression: Compression = shared_default(Compression)
    eviction: Eviction = shared_default(Eviction)


class CachingSystem(Frozen):
    cache_levels: CacheLevels = shared_default(CacheLevels)
    cache_optimization: CacheOptimization = shared_default(CacheOptimization)


ExecutionMetric = Literal[
    "total_workflow_time",
    "individual_agent_execution_time",
    "parallel_efficiency_ratio",
    "context_lock_wait_time",
    "resource_utilization_percentage",
]
QualityMetric = Literal["output_quality_scores", "validation_failure_rate", "context_conflict_frequency", "retry_rate"]
SystemMetric = Literal["memory_usage_peak", "cpu_utilization_average", "cache_hit_ratios", "network_latency_impact"]
AdaptiveAction = Literal[
    "increase_cpu_allocation", "adjust_parallel_group_sizes", "modify_timeout_values", "enable_aggressive_caching"
]
AutomaticOptimization = Literal[
    "reorder_non_critical_operations", "increase_parallelization_opportunities", "optimize_context_access_patterns"
]


class MetricsCollection(Frozen):
    """What is measured and shown: of runs by `orchestrator analyze`, of workers and caches by `orchestrator fleet`. A
    word that is left out is not looked at."""

    execution_metrics: tuple[ExecutionMetric, ...] = (
        "total_workflow_time",
        "individual_agent_execution_time",
        "parallel_efficiency_ratio",
        "context_lock_wait_time",
        "resource_utilization_percentage",
    )
    quality_metrics: tuple[QualityMetric, ...] = (
        "output_quality_scores",
        "validation_failure_rate",
        "context_conflict_frequency",
        "retry_rate",
    )
    system_metrics: tuple[SystemMetric, ...] = (
        "memory_usage_peak",
        "cpu_utilization_average",
        "cache_hit_ratios",
        "network_latency_impact",
    )


class AdaptiveResourceAllocation(Frozen):
    """What is done by itself as long as an alarm of `alert_thresholds` stands, or agents take longer than they were
    given; a word that is left out switches it off."""

    trigger: Literal["performance_below_threshold"] = "performance_below_threshold"
    actions: tuple[AdaptiveAction, ...] = (
        "increase_cpu_allocation",
        "adjust_parallel_group_sizes",
        "modify_timeout_values",
        "enable_aggressive_caching",
    )


class BottleneckDetection(Frozen):
    """What follows from the critical path, and from what agents have been seen to read; a word that is left out
    switches it off."""

    algorithm: Literal["critical_path_analysis"] = "critical_path_analysis"
    automatic_optimization: tuple[AutomaticOptimization, ...] = (
        "reorder_non_critical_operations",
        "increase_parallelization_opportunities",
        "optimize_context_access_patterns",
    )


class PerformanceOptimization(Frozen):
    adaptive_resource_allocation: AdaptiveResourceAllocation = shared_default(AdaptiveResourceAllocation)
    bottleneck_detection: BottleneckDetection = shared_default(BottleneckDetection)


class PerformanceMonitoring(Frozen):
    metrics_collection: MetricsCollection = shared_default(MetricsCollection)
    performance_optimization: PerformanceOptimization = shared_default(PerformanceOptimization)

    def measures(self, metric: ExecutionMetric | QualityMetric | SystemMetric) -> bool:
        found = self.metrics_collection
        return metric in (*found.execution_metrics, *found.quality_metrics, *found.system_metrics)

    def adapts(self, action: AdaptiveAction) -> bool:
        return action in self.performance_optimization.adaptive_resource_allocation.actions

    def optimises(self, what: AutomaticOptimization) -> bool:
        return what in self.performance_optimization.bottleneck_detection.automatic_optimization
