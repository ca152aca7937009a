"""The OpenAPI document: valid, and about every operation there is."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from orchestrator.flower.catalogue import OPERATIONS, Operation
from orchestrator.flower.openapi import openapi
from orchestrator.flower.routes import routes

DOCUMENT: Any = openapi("/ops/api/workflows")


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).validate()
    assert DOCUMENT["servers"] == [{"url": "/ops/api"}]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_every_operation_is_described_and_leads_somewhere(operation: Operation) -> None:
    told = DOCUMENT["paths"][f"/workflows{operation.path}"][operation.method.lower()]
    assert told["description"].endswith(".")
    assert str(operation.status) in told["responses"]
    sample = re.sub(r"{(\w+)}", lambda part: "1-2" if part[1] == "message" else "x1", operation.path)
    assert operation in _handled(f"/api/workflows{sample}")


def test_operation_ids_are_unique() -> None:
    ids = [told["operationId"] for path in DOCUMENT["paths"].values() for told in path.values()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS) + 2


@pytest.mark.parametrize(
    "path", ["/api/workflows/../../x", "/api/workflows/%00", "/api/workflows/*", "/api/workflows/" + "x" * 10_000,
             "/api/workflows/a/steps/../log", "/api/workflows/a/steps/b%2fc/log"],
)  # fmt: skip
def test_no_other_address_reaches_an_operation(path: str) -> None:
    assert _handled(path) == []


def _handled(path: str) -> list[Operation]:
    """The operations of the handler to which an address leads."""
    found = next(one for one in routes() if one.regex.fullmatch(path))
    return list((found.kwargs or {}).get("operations", {}).values())
