"""Names of limits and fairness keys that depend on the inputs of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from orchestrator.demand import PLACE, fill_places
from orchestrator.errors import InvalidWorkflow, Problem

if TYPE_CHECKING:
    from orchestrator.run.nodes import Node

_KEYS = ("demand", "fairness_key")


def filled(nodes: tuple[Node, ...], inputs: Mapping[str, str]) -> tuple[Node, ...]:
    """The nodes of a run with its inputs (name -> JSON) in their places. Raises InvalidWorkflow for those not given."""
    if not any(PLACE.search(node.definition.get(key, "")) for node in nodes for key in _KEYS):
        return nodes
    texts = {name: _text(value) for name, value in inputs.items()}
    problems: list[Problem] = []
    found = tuple(_filled(node, texts, problems) for node in nodes)
    if problems:
        raise InvalidWorkflow(problems)
    return found


def _filled(node: Node, inputs: Mapping[str, str], problems: list[Problem]) -> Node:
    values: dict[str, Any] = {}
    for key in _KEYS:
        try:
            if key in node.definition:
                values[key] = fill_places(node.definition[key], inputs)
        except KeyError as error:
            name = str(error.args[0])
            hint = f"give it: --input {name}=VALUE"
            message = f"{{inputs.{name}}} stands for an input that is not given"
            problems.append(Problem(f"steps.{node.id}", message, hint))
    return replace(node, definition={**node.definition, **values})


def _text(value: str) -> str:
    """A text as it is, and anything else as JSON."""
    found = json.loads(value)
    return found if isinstance(found, str) else value
