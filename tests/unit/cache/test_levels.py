"""Every key of the engine file's caching_system changes what the caches, the renders or the reads do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tasks  # noqa: F401 - registers the agents
from orchestrator.cache.levels import READS, Level, rules_of
from orchestrator.cache.models import CacheRules
from orchestrator.cache.policy import Boost
from orchestrator.context.reader import ContextReader
from orchestrator.context.segments import LEAST
from orchestrator.context.store import Value
from orchestrator.engine import prefetching, templates
from orchestrator.engine.prefetching import fields_ahead
from orchestrator.engine.runtime import Runtime
from orchestrator.settings import EngineSettings


def rules(level: str, **caching: Any) -> CacheRules:
    return rules_of(EngineSettings.model_validate(caching))[level]


def test_the_documents_own_values() -> None:
    found = rules_of(EngineSettings())
    limits = {name: one.limit for name, one in found.items()}
    assert limits[Level.AGENT_OUTPUT] + limits[READS] == 100_000_000
    assert (limits[Level.TEMPLATE_RENDER], limits[Level.CONTEXT_SNAPSHOT]) == (50_000_000, 200_000_000)
    assert (found[Level.TEMPLATE_RENDER].lifetime, found[Level.TEMPLATE_RENDER].slides) == (3600, False)
    assert (found[Level.AGENT_OUTPUT].lifetime, found[Level.AGENT_OUTPUT].slides) == (604_800, True)
    assert {one.compress_above for one in found.values()} == {10_000}
    assert {one.boost for one in found.values()} == {Boost(True, True, True)}


@pytest.mark.parametrize("level", list(Level))
def test_each_cache_has_its_own_lifetime_and_limit(level: Level) -> None:
    block = {f"{level}_cache": {"ttl": "2_minutes", "size_limit": "1MB"}}
    found = rules_of(EngineSettings.model_validate({"caching_system": {"cache_levels": block}}))
    extra = found[READS].limit if level is Level.AGENT_OUTPUT else 0
    assert (found[level].lifetime, found[level].slides, found[level].limit + extra) == (120, False, 1_000_000)
    assert all(one.limit > 1_500_000 for name, one in found.items() if not name.startswith(level))


def test_a_session_lasts_as_long_as_its_runs_are_kept() -> None:
    found = rules(Level.CONTEXT_SNAPSHOT, engine={"retention": "1h"})
    assert (found.lifetime, found.slides) == (3600, True)


def test_the_template_engines_own_size_bounds_its_cache() -> None:
    manager = {"resource_pool": {"template_engine": {"cache_size": "2MB"}}}
    assert rules(Level.TEMPLATE_RENDER, resource_manager=manager).limit == 2_000_000


def test_threshold_and_factors_reach_the_caches() -> None:
    tuning = {"compression": {"compression_threshold": "1KB"}, "eviction": {"priority_factors": ["computation_cost"]}}
    found = rules(Level.AGENT_OUTPUT, caching_system={"cache_optimization": tuning})
    assert (found.compress_above, found.boost) == (1000, Boost(frequency=False, cost=True, ratio=False))


def test_what_an_entry_is_worth() -> None:
    assert Boost().worth(2.0, 1000) == 0.002
    assert Boost().worth(0.0, 1000) == 1e-6, "what takes no time is still worth its room"
    assert Boost(cost=False).worth(2.0, 1000) == 0.001
    assert not Boost.of([]).any, "without factors it is plain LRU"


def runtime(**prefetching: bool) -> Runtime:
    optimization = {"prefetching": prefetching}
    settings = EngineSettings.model_validate({"caching_system": {"cache_optimization": optimization}})
    return Runtime("redis://127.0.0.1:1", settings)


def test_declared_reads_are_fetched_ahead_unless_the_settings_say_no() -> None:
    definition = {"id": "ux", "agent": "unknown", "read": ["pm.user_stories", "analyst", "ux.spec.pages"]}
    assert fields_ahead(runtime(), definition) == ["pm.user_stories"]
    assert fields_ahead(runtime(prefetch_context=False), definition) == []
    assert fields_ahead(runtime(), {"id": "ux", "agent": "ux_expert"}) == [
        "pm.user_stories", "pm.user_personas", "analyst.target_users"
    ]  # fmt: skip
    assert fields_ahead(runtime(), {"id": "ux", "agent": "ux_expert", "read": []}) == [], "the workflow says otherwise"


def test_large_reads_are_begun_ahead_unless_the_settings_say_no() -> None:
    def ahead(prefetched: bool, read_before: str) -> bool:
        """Whether an attempt's read is under way before anybody has asked."""
        where = runtime(prefetch_context=prefetched)
        held = ContextReader(where.context, "run", version=1)
        held._found["pm.text"] = Value(read_before, 1)
        held.asked.add("pm")
        definition = {"id": "reader", "agent": "unknown"}
        prefetching.learn_reads(definition, held)
        again = ContextReader(where.context, "run", version=1)
        prefetching.read_ahead(where, definition, again, ())
        return again._coming is not None

    assert ahead(True, "x" * LEAST)
    assert not ahead(False, "x" * LEAST)
    assert not ahead(True, "x"), "small values come with the first read"


def test_a_process_that_renders_is_started_ahead_unless_the_settings_say_no(tmp_path: Path) -> None:
    children = templates._CHILDREN
    for child in children._idle:
        child.end()
    children.forget()
    runtime(prefetch_templates=False).foresee({"page.j2"})
    runtime().foresee(())
    assert children._idle == []
    runtime().foresee({"page.j2"})
    assert [child.process.poll() for child in children._idle] == [None]


def test_renders_have_the_limits_of_the_settings() -> None:
    pool = {"concurrent_renders": 2, "render_timeout": "5s"}
    engine = {"max_value_bytes": "1MB"}
    settings = EngineSettings.model_validate(
        {"resource_manager": {"resource_pool": {"template_engine": pool}}, "engine": engine}
    )
    found = Runtime("redis://127.0.0.1:1", settings, templates=(Path("somewhere"),)).rendering
    assert (found.folders, found.concurrent, found.timeout, found.limit) == ((Path("somewhere"),), 2, 5.0, 1_000_000)
