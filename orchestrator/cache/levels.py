"""The three caches of a deployment, as its engine file says."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec.structs import replace

from orchestrator.cache.models import CacheRules
from orchestrator.cache.policy import Boost
from orchestrator.settings import EngineSettings


class Level(StrEnum):
    """`agent_output`: what steps have written, by everything that their agent could read. `template_render`: rendered
    texts, by template and variables. `context_snapshot`: whole versions of a context, by their author and content."""

    AGENT_OUTPUT = "agent_output"
    TEMPLATE_RENDER = "template_render"
    CONTEXT_SNAPSHOT = "context_snapshot"


READS = "agent_output.reads"
"""A part of the first: what agents have been seen to read, without which their results are not found."""
READS_SHARE = 50


def rules_of(settings: EngineSettings, *, hoarding: bool = False) -> Mapping[str, CacheRules]:
    """The rules of each, and of READS. A session lasts as long as the runs that use a value are kept. `hoarding`: the
    time of every value begins anew whenever it is used."""
    levels, tuning = settings.caching_system.cache_levels, settings.caching_system.cache_optimization
    templates = settings.resource_manager.resource_pool.template_engine
    limits = {
        Level.AGENT_OUTPUT: (levels.agent_output_cache.ttl, levels.agent_output_cache.size_limit),
        Level.TEMPLATE_RENDER: (
            levels.template_render_cache.ttl,
            min(levels.template_render_cache.size_limit, templates.cache_size),
        ),
        Level.CONTEXT_SNAPSHOT: (levels.context_snapshot_cache.ttl, levels.context_snapshot_cache.size_limit),
    }
    rules: dict[str, CacheRules] = {
        level: CacheRules(
            name=level.value,
            limit=limit,
            lifetime=settings.engine.retention if ttl == "session_lifetime" else ttl,
            slides=hoarding or ttl == "session_lifetime",
            compress_above=tuning.compression.compression_threshold,
            boost=Boost.of(tuning.eviction.priority_factors),
            lease=settings.engine.lease_seconds,
        )
        for level, (ttl, limit) in limits.items()
    }
    outputs = rules[Level.AGENT_OUTPUT]
    reads = replace(outputs, name=READS, limit=outputs.limit // READS_SHARE)
    return {**rules, READS: reads, Level.AGENT_OUTPUT: replace(outputs, limit=outputs.limit - reads.limit)}
