"""What workers publish when they start, so that clients need neither the agents' code nor the engine's file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import redis

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine.agent import Agent
from orchestrator.engine.runtime import Runtime, log
from orchestrator.engine.versions import digest_of
from orchestrator.errors import InvalidDocument
from orchestrator.settings import EngineSettings

if TYPE_CHECKING:
    from orchestrator.workflow.models import WorkflowSpec


def declaration(agent: Agent) -> dict[str, Any]:
    """What a client may know of an agent."""
    return {
        "name": agent.name,
        "queue": agent.queue,
        "version": agent.version,
        "reads": agent.reads,
        "writes": agent.writes,
        "has_defaults": agent.defaults is not None,
    }


def publish(runtime: Runtime, agents: Iterable[Agent], workflows: Iterable[Path]) -> None:
    """Write agents, settings and registered workflows to the store; one transaction. Files that are registered already
    are not parsed again: a worker does little else between its imports and its first step."""
    declared = {agent.name: json.dumps(declaration(agent)) for agent in agents}
    files = tuple(workflows)
    digest = _digest(files)
    with guarded():
        fresh = not digest or runtime.client.get(keys.WORKFLOW_FILES) != digest.encode()
    definitions = _texts(files) if fresh else {}
    with guarded():
        pipe = runtime.client.pipeline(transaction=True)
        if declared:
            pipe.hset(keys.AGENTS, mapping=declared)  # type: ignore[arg-type]
        if definitions:
            pipe.hset(keys.WORKFLOWS, mapping=definitions)  # type: ignore[arg-type]
        if digest and len(definitions) == len(files):  # a file with a mistake is told of at every start
            pipe.set(keys.WORKFLOW_FILES, digest)
        pipe.set(keys.SETTINGS, runtime.settings.model_dump_json())
        pipe.execute()


def _digest(files: Iterable[Path]) -> str:
    """Of the files and of the code that reads them; empty when there are none, or one cannot be read."""
    code = sorted((Path(__file__).parents[1] / "workflow").glob("*.py"))
    try:
        return digest_of([*files, *code]) if files else ""
    except OSError:
        return ""


def _texts(files: Iterable[Path]) -> dict[str, str]:
    from orchestrator.workflow.writer import to_yaml

    return {one.name: to_yaml(one) for one in read(files)}


def read(paths: Iterable[Path]) -> Iterator[WorkflowSpec]:
    """The workflows of a deployment; a file with mistakes is left out, and logged."""
    from orchestrator.workflow.loader import load_workflow

    for path in paths:
        try:
            yield load_workflow(path)
        except InvalidDocument as error:
            log.error("workflow %s is not registered: %s", path, error)


def published_settings(client: redis.Redis) -> EngineSettings:
    """The settings as the workers published them; the defaults before any worker has started."""
    with guarded():
        text = cast("bytes | None", client.get(keys.SETTINGS))
    return EngineSettings() if text is None else EngineSettings.model_validate_json(text)


def known_agents(client: redis.Redis) -> Mapping[str, Mapping[str, Any]]:
    """Agent name -> declaration, as the workers of this deployment published them."""
    with guarded():
        raw: Any = client.hgetall(keys.AGENTS)
    return {name.decode(): json.loads(text) for name, text in raw.items()}
