"""The API as an OpenAPI 3.1 document. Every operation names its requirements under `x-requirements`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

from tasks.making.criteria import listing
from tasks.making.resources import Operation, Resource
from tasks.models import FieldHint, TechnologyStack
from tasks.reading import language

_KINDS: Final[dict[str, dict[str, str]]] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "date-time": {"type": "string", "format": "date-time"},
    "email": {"type": "string", "format": "email"},
    "uri": {"type": "string", "format": "uri-reference"},
}
_ABOUT: Final = "Derived from the functional requirements; `x-requirements` names those that an operation serves."
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A mistake, in the form of RFC 9457.",
    "required": ["title", "status"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "The field that is wrong, if it is one."},
    },
}
_ERRORS: Final = {
    "Invalid": "The request does not match the schema; `field` names the first mistake.",
    "Unauthorized": "No one is signed in.",
    "NotFound": "There is nothing under this id.",
    "Conflict": "The thing is already in the state that was asked for.",
}


def make_openapi(resources: Sequence[Resource], stack: TechnologyStack) -> dict[str, Any]:
    """The whole document, with keys in a fixed order."""
    things = listing([language.plural(resource.entity) for resource in resources])
    paths: dict[str, dict[str, Any]] = {}
    for resource in resources:
        for operation in resource.operations:
            paths.setdefault(operation.path, {})[operation.method] = _operation(resource, operation)
    for resource in resources:
        for path, item in paths.items():
            if f"{{{resource.parameter}}}" in path:
                item["parameters"] = [{"$ref": f"#/components/parameters/{resource.parameter}"}]
    return {
        "openapi": "3.1.0",
        "info": {"title": f"API for {things}", "version": "0.1.0", "description": _ABOUT},
        "tags": [{"name": resource.collection, "description": _about(resource)} for resource in resources],
        "security": [{"signedIn": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"signedIn": _security(stack)},
            "parameters": {resource.parameter: _parameter(resource) for resource in resources},
            "responses": {name: _error_response(text) for name, text in _ERRORS.items()},
            "schemas": {
                "Problem": _PROBLEM,
                **{name: body for one in resources for name, body in _schemas(one).items()},
            },
        },
    }


def _about(resource: Resource) -> str:
    return f"{language.upper_first(language.plural(resource.entity))}; states: {', '.join(resource.statuses)}."


def _security(stack: TechnologyStack) -> dict[str, Any]:
    provider = next((choice.choice for choice in stack.choices if choice.layer == "identity"), "OpenID Connect")
    return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": f"Token issued by {provider}."}


def _parameter(resource: Resource) -> dict[str, Any]:
    return {
        "name": resource.parameter,
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": f"Id of the {resource.entity}.",
    }


def _error_response(text: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": text, "content": content}


def _schemas(resource: Resource) -> dict[str, Any]:
    """The thing as it is stored, as it is sent, and a page of it."""
    properties = {field.name: _property(field) for field in resource.fields}
    required = [resource.fields[0].name]
    stored = {
        "id": {"type": "string"},
        **properties,
        "status": {"type": "string", "enum": list(resource.statuses)},
        "created_at": {"type": "string", "format": "date-time"},
    }
    page = {
        "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{resource.schema}"}},
        "total": {"type": "integer", "minimum": 0},
    }
    return {
        resource.schema: {
            "type": "object",
            "required": ["id", *required, "status", "created_at"],
            "properties": stored,
        },
        f"{resource.schema}Input": {
            "type": "object",
            "required": required,
            "properties": properties,
            "additionalProperties": False,
        },
        f"{resource.schema}Changes": {
            "type": "object",
            "minProperties": 1,
            "properties": properties,
            "additionalProperties": False,
        },
        f"{resource.schema}Page": {"type": "object", "required": ["items", "total"], "properties": page},
    }


def _property(field: FieldHint) -> dict[str, Any]:
    return {**_KINDS[field.kind], "description": language.upper_first(field.words)}


def _operation(resource: Resource, operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [resource.collection],
        "x-shape": operation.shape,
        "x-requirements": list(operation.requirements),
    }
    if operation.shape in ("list", "export"):
        made["parameters"] = _query(resource, operation)
    body = {"create": "Input", "update": "Changes", "action": "Changes"}.get(operation.shape)
    if body:
        made["requestBody"] = {"required": operation.shape != "action", "content": _json(resource.schema + body)}
    made["responses"] = _responses(resource, operation)
    return made


def _query(resource: Resource, operation: Operation) -> list[dict[str, Any]]:
    status = {"type": "string", "enum": list(resource.statuses)}
    found = [{"name": "status", "in": "query", "schema": status}]
    found += [{"name": field.name, "in": "query", "schema": _KINDS[field.kind]} for field in resource.fields]
    if operation.shape == "list":
        found.append(
            {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}}
        )
        found.append({"name": "offset", "in": "query", "schema": {"type": "integer", "minimum": 0, "default": 0}})
    return found


def _responses(resource: Resource, operation: Operation) -> dict[str, Any]:
    def error(name: str) -> dict[str, str]:
        return {"$ref": f"#/components/responses/{name}"}

    success: dict[str, tuple[str, dict[str, Any]]] = {
        "list": ("200", {"description": "A page of them.", "content": _json(f"{resource.schema}Page")}),
        "create": ("201", {"description": "Stored.", "content": _json(resource.schema)}),
        "read": ("200", {"description": "As it stands.", "content": _json(resource.schema)}),
        "update": ("200", {"description": "Changed.", "content": _json(resource.schema)}),
        "delete": ("204", {"description": "Gone."}),
        "action": ("200", {"description": "Done.", "content": _json(resource.schema)}),
        "export": ("200", {"description": "A row each.", "content": {"text/csv": {"schema": {"type": "string"}}}}),
    }
    code, response = success[operation.shape]
    errors = {"401": error("Unauthorized")}
    if operation.shape != "delete" and operation.shape != "read":
        errors["400"] = error("Invalid")
    if operation.shape in ("read", "update", "delete", "action"):
        errors["404"] = error("NotFound")
    if operation.shape == "action":
        errors["409"] = error("Conflict")
    return {code: response, **dict(sorted(errors.items()))}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def openapi_mistakes(document: dict[str, Any]) -> tuple[str, ...]:
    """What is wrong with a document as OpenAPI 3.1, at most ten mistakes; empty if it is valid."""
    from openapi_spec_validator import OpenAPIV31SpecValidator  # half a second that only the architect pays

    validator = OpenAPIV31SpecValidator(document)
    # Its own iter_errors keeps every validator, and so every document, in a cache that never shrinks.
    errors = itertools.chain(
        validator.schema_validator.iter_errors(document), validator.root_validator(validator.schema_path)
    )
    found = []
    try:
        for error in itertools.islice(errors, 10):
            found.append(f"{'/'.join(map(str, error.path)) or 'document'}: {error.message}")
    except Exception as error:  # noqa: BLE001 - what is no OpenAPI document makes it stumble in many ways
        found.append(f"document: cannot be followed ({type(error).__name__}: {error})")
    return tuple(found)
