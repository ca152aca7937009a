"""The inputs that a workflow declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from orchestrator.fields import Frozen


class InputSpec(Frozen):
    """A value that a run is given at the start. It has to be given unless `default` is there."""

    required: bool = True
    default: Any = None
    description: str = ""
    example: Any = None


def _input_spec(value: object) -> object:
    """A declaration in full, or just the default value, or nothing for a required input.

    A default that is itself a mapping has to stand under `default`.
    """
    if isinstance(value, InputSpec):
        return value
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {"required": "default" not in value, **value}
    return {"required": False, "default": value}


WorkflowInput = Annotated[InputSpec, BeforeValidator(_input_spec)]
