"""What is written of a run's nodes: made once for a workflow that is submitted again, anew where inputs fill places."""

from __future__ import annotations

import json

from orchestrator.engine.submission import Compiler, prepare_many
from orchestrator.settings import EngineSettings
from orchestrator.workflow.loader import load_workflow

SETTINGS = EngineSettings()
AGENTS = {"echo": {"queue": "echo"}}
TENANTS = [{"tenant": "a"}, {"tenant": "b"}]


def texts(compiler: Compiler, **step: object) -> list[tuple[str, ...]]:
    """For each tenant, of one step."""
    document = {"name": "w", "inputs": {"tenant": {"required": True}}, "steps": [{"id": "s", "agent": "echo", **step}]}
    prepared = prepare_many(load_workflow(document), TENANTS, AGENTS, SETTINGS, compiler)
    return [one.texts for one in prepared]


def test_the_same_nodes_are_written_once() -> None:
    one, other = texts(Compiler())
    assert one is other


def test_places_are_filled_in_what_is_written() -> None:
    found = texts(Compiler(), concurrency={"group": "deploy {inputs.tenant}", "limit": 1})
    demands = [json.loads(text)["demand"] for *_, text in found]
    assert demands == ["key:deploy%20a=1000/1000", "key:deploy%20b=1000/1000"]
