"""What an attempt may read and write: from the workflow, the agent's declaration, and the deployment's ownership."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.engine.agent_context import Access, OwnSections
from orchestrator.engine.runtime import Runtime


def access_of(runtime: Runtime, definition: Mapping[str, Any]) -> Access:
    """The rules for one step, whose definition says what the workflow lets it read and write."""
    owned = [section for section, agent in runtime.settings.owners.items() if agent == definition["agent"]]
    return OwnSections(definition["id"], owned)
