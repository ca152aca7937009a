"""Engine settings and environment: defaults, every mistake at once, and no secret in any message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from orchestrator.documents import parse_document
from orchestrator.environment import INTERNAL
from orchestrator.errors import InvalidDocument, SettingsError
from orchestrator.settings import ENGINE_BLOCKS, EngineSettings, Environment, check_engine, load_engine

ROOT = Path(__file__).parents[2]
ENGINE_FILE = ROOT / "config" / "engine.yaml"
SEEDS = sorted((ROOT / "tests" / "fixtures" / "seeds").glob("0[134567]_*.yaml"))


def keys(value: Any, path: str = "") -> set[str]:
    """Every key of a nest of mappings, as a dotted path."""
    if not isinstance(value, dict):
        return set()
    return {f"{path}{key}" for key in value} | {name for key in value for name in keys(value[key], f"{path}{key}.")}


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_the_documents_values_are_the_defaults(path: Path) -> None:
    assert load_engine(path) == EngineSettings()


def test_the_shipped_file_has_every_knob_with_its_default() -> None:
    assert load_engine(ENGINE_FILE) == EngineSettings()
    shipped = keys(yaml.safe_load(ENGINE_FILE.read_text()))
    known = keys(EngineSettings().model_dump())
    assert shipped == known


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_the_shipped_file_has_every_key_of_the_documents(path: Path) -> None:
    assert keys(yaml.safe_load(path.read_text())) <= keys(yaml.safe_load(ENGINE_FILE.read_text()))


def test_settings_travel_as_json() -> None:
    settings = load_engine(ENGINE_FILE)
    assert EngineSettings.model_validate_json(settings.model_dump_json()) == settings


def test_an_empty_file_is_all_defaults() -> None:
    assert check_engine(parse_document(""))[0] == EngineSettings()
    assert check_engine(parse_document("engine:\n"))[0] == EngineSettings()


def test_capacities_pools_and_owners() -> None:
    document = parse_document(
        """
resource_manager:
  resource_pool: {computational: {total_cpu_units: 50, total_memory_units: 40}, pools: {gpu: 2}}
  allocation_strategy: {resource_sharing: {cpu_oversubscription: 2, memory_strict: no}}
context_conflicts: {resolution_mechanisms: {conflict_prevention: {ownership_rules: {pm: [a, b], qa: [c]}}}}
"""
    )
    settings, problems = check_engine(document)
    assert problems == []
    assert settings is not None
    assert (settings.cpu_capacity, settings.memory_capacity) == (100, float("inf"))
    assert settings.pools == {"template_engine": 3, "gpu": 2}
    assert settings.owners == {"a": "pm", "b": "pm", "c": "qa"}
    assert EngineSettings().memory_capacity == 100


MISTAKES = [
    ("enginee: {}", "enginee", "unknown key 'enginee'", "did you mean 'engine'?"),
    ("engine: {lease_second: 1}", "engine.lease_second", "unknown key", "did you mean 'lease_seconds'?"),
    ("engine: {lease_seconds: 0}", "engine.lease_seconds", "'0' is out of range", "more than 0"),
    ("engine: {lease_seconds: 1:30}", "engine.lease_seconds", "'1:30' is not a duration", "10m"),
    ("engine: {lease_seconds: 2}", "engine", "renew_seconds 1.5 is too long for a lease of 2 seconds", "half"),
    ("engine: {max_value_bytes: 8XB}", "engine.max_value_bytes", "'8XB' is not a size", "50MB"),
    ("engine: {segment_links: true}", "engine.segment_links", "true is no number", ""),
    ("engine: 3", "engine", "a mapping is expected, found '3'", ""),
    ("words: {cpu: {low: no}}", "words.cpu.low", "a number is expected, found 'no'", ""),
    (
        "dependency_analyzer: {dependency_graph_generation: {algorithm: bfs}}",
        "dependency_analyzer.dependency_graph_generation.algorithm",
        "'bfs' is not accepted",
        "the only value is 'topological_sort_with_parallel_identification'",
    ),
    (
        "dependency_analyzer: {dependency_types: {context_dependency: {blocking: true}}}",
        "dependency_analyzer.dependency_types.context_dependency.blocking",
        "'true' is not accepted",
        "the only value is 'false'",
    ),
    (
        "resource_manager: {resource_pool: {computational: {concurrent_agent_limit: 0}}}",
        "resource_manager.resource_pool.computational.concurrent_agent_limit",
        "'0' is out of range",
        "at least 1",
    ),
    (
        "resource_manager: {load_balancing: {resource_monitoring: {metrics: [cpu_usag]}}}",
        "resource_manager.load_balancing.resource_monitoring.metrics[0]",
        "'cpu_usag' is not accepted",
        "did you mean 'cpu_usage'?",
    ),
    (
        "caching_system: {cache_levels: {agent_output_cache: {ttl: forever}}}",
        "caching_system.cache_levels.agent_output_cache.ttl",
        "'forever' is not a duration",
        "",
    ),
    (
        "context_conflicts: {resolution_mechanisms: {conflict_prevention: {ownership_rules: {pm: [a], qa: [a]}}}}",
        "context_conflicts.resolution_mechanisms.conflict_prevention.ownership_rules",
        "'a' has two owners, pm and qa",
        "give it to one of them",
    ),
    (
        "barrier_synchronization: {phases: {phase_4_synchronization: [merge_parallel_results]}}",
        "barrier_synchronization.phases.phase_4_synchronization",
        "barriers always do resolve_any_conflicts, prepare_context_for_next_group",
        "",
    ),
    ("engine: {}\nengine: {}", "engine", "stands here twice", "remove one"),
    ("[1]", "", "a mapping is expected, found a list of 1", ""),
]


@pytest.mark.parametrize(("text", "path", "message", "hint"), MISTAKES, ids=[mistake[0][:60] for mistake in MISTAKES])
def test_a_mistake(text: str, path: str, message: str, hint: str) -> None:
    settings, problems = check_engine(parse_document(text, "engine.yaml"))
    assert settings is None
    (problem,) = problems
    assert problem.path == path
    assert message in problem.message
    assert hint in problem.hint
    assert problem.line


def test_all_mistakes_of_a_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text("x: 1\nengine:\n  lease_seconds: no\n  max_log_bytes: -1\n")
    with pytest.raises(InvalidDocument) as caught:
        load_engine(path)
    assert [problem.line for problem in caught.value.problems] == [1, 3, 4]
    with pytest.raises(InvalidDocument, match="cannot be read"):
        load_engine(tmp_path / "missing.yaml")


def frozen_models(model: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [field.annotation for field in model.model_fields.values()]
    return [
        model,
        *(m for one in inner if isinstance(one, type) and issubclass(one, BaseModel) for m in frozen_models(one)),
    ]


def test_every_model_is_frozen_and_refuses_unknown_keys() -> None:
    models = frozen_models(EngineSettings)
    assert len(models) > 40
    for model in models:
        assert model.model_config["frozen"]
        assert model.model_config["extra"] == "forbid"
    assert set(EngineSettings.model_fields) == ENGINE_BLOCKS


# ------------------------------------------------------------------------------------------------- environment
def test_an_empty_environment_means_the_embedded_server(tmp_path: Path) -> None:
    environment = Environment.load({"PATH": "/bin", "ORCHESTRATOR_STORE_URL": ""}, folder=tmp_path)
    assert environment == Environment()
    assert environment.is_embedded
    assert environment.engine() == EngineSettings()
    assert environment.masked() == {
        "ORCHESTRATOR_HOME": ".orchestrator",
        "ORCHESTRATOR_APP": "config.celery_app",
        "ORCHESTRATOR_LOG_LEVEL": "INFO",
    }


def test_the_engine_file_is_found_where_it_is_kept(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "engine.yaml").write_text("engine: {segment_links: 3}")
    assert Environment.load({}, folder=tmp_path).engine().engine.segment_links == 3


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "rediss://user:pw@host:6379/1?ssl_cert_reqs=none",
        "redis+socket:///tmp/x.sock?virtual_host=0",
        "unix:///tmp/x.sock",
        "sentinel://:pw@a:26379;sentinel://:pw@b:26379",
    ],
)
def test_urls_that_are_accepted(url: str, tmp_path: Path) -> None:
    environment = Environment.load({"ORCHESTRATOR_BROKER_URL": url}, folder=tmp_path)
    assert environment.broker_url == url
    assert not environment.is_embedded
    assert "pw" not in environment.masked()["ORCHESTRATOR_BROKER_URL"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BROKER_URL", "redis//x", "this is no URL of a Redis server"),
        ("BROKER_URL", "amqp://x", "this is no URL of a Redis server"),
        ("STORE_URL", "redis://h:99999", "Port out of range"),
        ("STORE_URL", "redis://h:hunter2", "Port could not be cast"),
        ("LOG_LEVEL", "loud", "'loud' is no log level"),
        ("APP", "config/celery_app.py", "is no Python module"),
        ("ENGINE_FILE", "/nowhere/engine.yaml", "there is no file /nowhere/engine.yaml"),
        ("BROKER_URI", "redis://x", "unknown environment variable (did you mean 'ORCHESTRATOR_BROKER_URL'?)"),
    ],
)
def test_a_variable_that_cannot_be_used(name: str, value: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        Environment.load({f"ORCHESTRATOR_{name}": value}, folder=tmp_path)
    assert caught.value.exit_code == 2
    assert f"environment: ORCHESTRATOR_{name}: " in str(caught.value)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_all_variables_are_checked_at_once_and_secrets_are_kept(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        Environment.load(
            {
                "ORCHESTRATOR_BROKER_URL": "redis//:hunter2@x",
                "ORCHESTRATOR_STORE_URL": "http://:hunter2@x",
                "ORCHESTRATOR_LOG_LEVEL": "x",
                "ORCHESTRATOR_PASSWORD": "hunter2",
                **dict.fromkeys(INTERNAL, "3"),
            },
            folder=tmp_path,
        )
    assert [problem.path for problem in caught.value.problems] == [
        "ORCHESTRATOR_PASSWORD",
        "ORCHESTRATOR_BROKER_URL",
        "ORCHESTRATOR_STORE_URL",
        "ORCHESTRATOR_LOG_LEVEL",
    ]
    assert "hunter2" not in str(caught.value)


def test_levels_are_read_in_any_case(tmp_path: Path) -> None:
    assert Environment.load({"ORCHESTRATOR_LOG_LEVEL": "debug"}, folder=tmp_path).log_level == "DEBUG"
