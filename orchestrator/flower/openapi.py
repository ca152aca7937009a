"""The OpenAPI 3.1 document of the API, made from the table of operations and the models that check and answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from orchestrator.fields import Frozen
from orchestrator.flower.catalogue import OPERATIONS, PARTS, Operation
from orchestrator.flower.events import NewsEvents, RunEvents
from orchestrator.flower.messages import FILE_TYPE, Accepted, EventsQuery, File, NewsQuery, Nothing
from orchestrator.flower.problems import MEDIA_TYPE, ProblemDocument
from orchestrator.messages.models import Told

_ROOT = "/workflows"
"""The last part of the API's address stands in every path: an empty one is none."""
_REFERENCE = "#/components/schemas/{model}"
_EVERYWHERE = (400, 401, 403, 422, 503)
_WITH_BODY = (413, 415)
_STREAMS = {
    Operation("GET", "/events", lambda _: Nothing(), Told, query=NewsQuery): ("follow_news", NewsEvents),
    Operation("GET", "/{run}/events", lambda _: Nothing(), Told, query=EventsQuery, fails=(404,)): (
        "follow_events", RunEvents),
}  # fmt: skip
_ALL = (*OPERATIONS, *_STREAMS)
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "The same key starts the same run once.",
}
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[0-9]{1,20}(-[0-9]{1,20})?$"},
    "description": "Events behind this one; browsers send it when they come back.",
}


def openapi(api: str) -> dict[str, Any]:
    """The document; `api` is the address of the API."""
    schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in _ALL:
        paths.setdefault(_ROOT + operation.path, {})[operation.method.lower()] = _told(operation, schemas)
    queries = {one.query.__name__ for one in _ALL} - {Nothing.__name__}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Workflows", "version": version("orchestrator"), "description": _sentence(__doc__)},
        "servers": [{"url": api.removesuffix(_ROOT)}],
        "security": [{"token": []}, {"password": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "One of ORCHESTRATOR_API_TOKENS."},
                "password": {"type": "http", "scheme": "basic", "description": "Flower's basic_auth. Requests that "
                             "change something need the cookie _xsrf, and its value as the header X-XSRFToken."},
            },
        },
    }  # fmt: skip


def _schemas() -> dict[str, Any]:
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ProblemDocument, "serialization")]
    for operation in _ALL:
        if operation.answer is not File:
            wanted.append((operation.answer, "serialization"))
        wanted.append((operation.query, "validation"))
        if operation.body is not None:
            wanted.append((operation.body, "validation"))
    found: dict[str, Any] = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REFERENCE)[1]["$defs"]
    return found


def _told(operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    name, described = _STREAMS.get(operation, (operation.does.__name__, operation.does))
    success: dict[str, Any] = _answer(operation.status, *_content(operation))
    if operation.answer is Accepted:
        success["headers"] = {"Location": {"schema": {"type": "string"}, "description": "The document of the run."}}
    statuses = {*_EVERYWHERE, *operation.fails, *(_WITH_BODY if operation.body is not None else ())}
    about = _sentence(described.__doc__)
    told: dict[str, Any] = {
        "operationId": name,
        "summary": about.partition(". ")[0].rstrip("."),
        "description": about,
        "parameters": [*_in_path(operation.path), *_in_query(operation, schemas)],
        "responses": {str(operation.status): success} | {str(status): _problem(status) for status in sorted(statuses)},
    }
    if operation.answer is Accepted:
        told["parameters"].append(_IDEMPOTENCY_KEY)
    if operation in _STREAMS:
        told["parameters"].append(_LAST_EVENT_ID)
    if operation.body is not None:
        content = {"application/json": {"schema": _reference(operation.body)}}
        told["requestBody"] = {"required": not _may_be_empty(operation.body), "content": content}
    return told


def _content(operation: Operation) -> tuple[str, Mapping[str, str]]:
    """The media type of an answer, and its schema; bytes have none."""
    if operation in _STREAMS:
        return "text/event-stream", {"type": "string"}
    return (FILE_TYPE, {}) if operation.answer is File else ("application/json", _reference(operation.answer))


def _in_path(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        schema = {"type": "string", "pattern": f"^{PARTS[name]}$"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(operation: Operation, schemas: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    described = schemas[operation.query.__name__]
    for name, schema in described.get("properties", {}).items():
        required = name in described.get("required", ())
        yield {"name": name, "in": "query", "required": required, "schema": _without_null(schema)}


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Nothing in a query is null: what is not meant is left out."""
    if "anyOf" not in schema:
        return schema
    given: dict[str, Any] = next(one for one in schema["anyOf"] if one != {"type": "null"})
    return {name: value for name, value in schema.items() if name not in ("anyOf", "default")} | given


def _may_be_empty(body: type[Frozen]) -> bool:
    try:
        body.model_validate({})
    except ValidationError:
        return False
    return True


def _problem(status: int) -> dict[str, Any]:
    return _answer(status, MEDIA_TYPE, _reference(ProblemDocument))


def _answer(status: int, media: str, schema: Mapping[str, str]) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": {media: {"schema": schema}}}


def _reference(model: type[Frozen]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())
