"""What agents declare that fields of shared sections have to look like, looked at before a value is committed: as an
agent writes it, and as a merge has made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import OrchestratorError

_FIELD = re.compile(r"^[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}$")
_SHOWN = 5

_SCHEMAS: dict[str, tuple[str, TypeAdapter[Any]]] = {}
"""Field -> the agent that declares it, and what validates it; filled when agents are declared."""


def declare(agent: str, schemas: Mapping[str, Any]) -> None:
    """Register the types of fields. Raises OrchestratorError for what is no field, and for one of another agent."""
    for field, kind in schemas.items():
        if not _FIELD.match(field):
            message = f"agent '{agent}' declares '{field}'; write a field such as requirements.functional"
            raise OrchestratorError(message)
        known = _SCHEMAS.get(field)
        if known is not None and known[0] != agent:
            raise OrchestratorError(f"two agents declare what '{field}' looks like: {known[0]} and {agent}")
        _SCHEMAS[field] = agent, TypeAdapter(kind)


def complaint(field: str, text: str) -> str:
    """Why a value (JSON) is not what its field's owner declares; empty when it is, or when nobody declares anything."""
    known = _SCHEMAS.get(field)
    if known is None:
        return ""
    agent, adapter = known
    try:
        adapter.validate_json(text)
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, one['loc'])) or 'value'}: {one['msg']}" for one in error.errors()[:_SHOWN]]
        return f"'{field}' is not what agent '{agent}' declares: {'; '.join(mistakes)}"
    return ""
