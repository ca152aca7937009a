"""What waits in the queues as a metric, and the manifest that scales by it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from orchestrator import Client
from orchestrator.engine.backlog import Backlog
from orchestrator.fleet.learning import Sample, learn
from tests.conftest import Store
from tests.flowers import Flower
from tests.workers import announce

METRIC = "orchestrator_queue_backlog"


@pytest.fixture(scope="module")
def waiting(module_store: Store) -> Store:
    """A deployment without workers in which steps of two priorities wait."""
    announce(module_store.url)
    with Client(module_store.url) as client:
        steps = [{"id": f"s{n}", "agent": "noop", "priority": n % 10} for n in range(7)]
        client.submit({"name": "backlog", "steps": steps})
        learn(client.redis, [Sample(agent="noop", size=0, seconds=2.0)] * 3)
    return module_store


def value(registry: CollectorRegistry, name: str, agent_class: str) -> float | None:
    return registry.get_sample_value(name, {"queue": f"agents.{agent_class}", "agent_class": agent_class})


def test_every_priority_of_a_queue_counts(waiting: Store) -> None:
    registry = CollectorRegistry()
    registry.register(Backlog(lambda: (waiting.broker_url, waiting.url)))
    assert value(registry, METRIC, "drills") == 7
    assert value(registry, METRIC, "pm") == 0
    assert value(registry, "orchestrator_queue_work_seconds", "drills") == 14


def test_nothing_is_told_when_the_store_does_not_answer(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(Backlog(lambda: (f"unix://{tmp_path}/none", f"unix://{tmp_path}/none")))
    assert list(registry.collect()) == []


def test_flower_serves_it(waiting: Store, tmp_path: Path) -> None:
    with Flower(waiting.url, tmp_path) as flower:
        text = flower.ask("/metrics", authorization=None).text
    found = {
        sample.labels["agent_class"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == METRIC
    }
    assert found["drills"] == 7


@pytest.fixture(scope="module")
def schema(root: Path) -> Draft7Validator:
    crd = yaml.safe_load((root / "tests/fixtures/keda/keda.sh_scaledobjects.yaml").read_text())
    (version,) = [one for one in crd["spec"]["versions"] if one["name"] == "v1alpha1"]
    return Draft7Validator(_closed(version["schema"]["openAPIV3Schema"]))


def _closed(schema: Any) -> Any:
    """As the API server reads it: a field that is not in the schema is a mistake."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(item) for key, item in schema.items()}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object":
        is_metadata = found["properties"] == {}
        found.setdefault("additionalProperties", is_metadata)
    return found


@pytest.fixture(scope="module")
def manifest(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "config/deploy/keda.yaml").read_text())
    return found


def test_the_manifest_follows_kedas_schema_and_asks_for_our_metric(
    manifest: dict[str, Any], schema: Draft7Validator
) -> None:
    assert [f"{error.json_path}: {error.message}" for error in schema.iter_errors(manifest)] == []
    (trigger,) = manifest["spec"]["triggers"]
    assert f"{METRIC}{{agent_class=" in trigger["metadata"]["query"]
    assert {"serverAddress", "query", "threshold"} <= set(trigger["metadata"])  # what its Prometheus scaler requires


@pytest.mark.parametrize(
    ("key", "wrong"), [("minReplicaCount", "one"), ("maxReplicas", 3), ("triggers", [{"metadata": {}}])]
)
def test_the_schema_would_refuse_a_mistake(
    manifest: dict[str, Any], schema: Draft7Validator, key: str, wrong: Any
) -> None:
    spoilt = copy.deepcopy(manifest)
    spoilt["spec"][key] = wrong
    assert list(schema.iter_errors(spoilt))
