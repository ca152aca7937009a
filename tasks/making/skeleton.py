"""From an OpenAPI document to the parts of a code skeleton: resources, routes, fields, tests. Works on any document
whose paths are `/things`, `/things/{id}`, `/things/{id}/verb` and `/things/export`; what is none of these is left out
and said."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from tasks.making.resources import RESERVED_FIELDS, Shape
from tasks.reading import language

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_HANDLERS: Final[dict[str, str]] = {"read": "get"}
_OWN_METHODS: Final = frozenset(
    ("list", "create", "get", "update", "delete", "export", "move", "name", "fields", "statuses")
)
_SAMPLES: Final[dict[str, Any]] = {
    "string": "an example",
    "number": 12.5,
    "integer": 3,
    "boolean": True,
    "date": "2030-05-17",
    "date-time": "2030-05-17T09:30:00+00:00",
    "email": "somebody@example.org",
    "uri": "photo-1.jpg",
}
_FORMATS: Final = {"date": "date", "date-time": "date-time", "email": "email", "uri": "uri", "uri-reference": "uri"}


class Route(Struct, frozen=True):
    """An operation as code: which method of which module answers it."""

    operation: str
    method: str
    path: str
    module: str
    shape: Shape
    handler: str
    summary: str
    requirements: tuple[str, ...]
    status: str = ""

    @property
    def test_method(self) -> str:
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.operation)
        return f"test_{language.identifier(snake, 'operation')}"


class FieldCode(Struct, frozen=True):
    name: str
    kind: str
    required: bool


class Module(Struct, frozen=True):
    """A kind of thing as a Python module with one class."""

    name: str
    class_name: str
    entity: str
    collection: str
    fields: tuple[FieldCode, ...]
    statuses: tuple[str, ...]
    routes: tuple[Route, ...]


def package_name(title: str) -> str:
    """A package name from a product's title that hides no module of the standard library."""
    short = re.split(r"\s*[:–—(]\s*|\s-\s", title)[0]
    name = "_".join(language.identifier(short, "product").split("_")[:4])
    taken = name in sys.stdlib_module_names or name in ("tests", "test", "resources", "docs")
    return f"{name}_app" if taken else language.identifier(name, "product")


def make_modules(document: Mapping[str, Any]) -> tuple[tuple[Module, ...], tuple[str, ...]]:
    """The modules for a document, and the operations that fit no known shape."""
    grouped: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, method, operation in operations_of(document):
        grouped.setdefault(path.strip("/").split("/")[0], []).append((path, method, operation))
    modules: list[Module] = []
    left_out: list[str] = []
    for collection, found in grouped.items():
        shaped = [(path, method, operation, _shape(path, method)) for path, method, operation in found]
        left_out += [str(operation.get("operationId", path)) for path, _, operation, shape in shaped if shape is None]
        usable = [(path, method, operation, shape) for path, method, operation, shape in shaped if shape is not None]
        if {"create", "read"} <= {shape for *_, shape in usable} and not collection.startswith("{"):
            modules.append(_module(document, collection, usable))
        else:
            left_out += [str(operation.get("operationId", path)) for path, _, operation, _ in usable]
    return tuple(modules), tuple(left_out)


def operations_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Path, method and body of every operation, in the order of the document."""
    for path, item in document.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _shape(path: str, method: str) -> Shape | None:
    parts = path.strip("/").split("/")
    ids = [part.startswith("{") for part in parts]
    known: dict[tuple[str, tuple[bool, ...]], Shape] = {
        ("get", (False,)): "list",
        ("post", (False,)): "create",
        ("get", (False, True)): "read",
        ("patch", (False, True)): "update",
        ("put", (False, True)): "update",
        ("delete", (False, True)): "delete",
        ("post", (False, True, False)): "action",
    }
    if method == "get" and len(parts) == 2 and parts[1] == "export":
        return "export"
    return known.get((method, tuple(ids)))


def _module(
    document: Mapping[str, Any], collection: str, found: Sequence[tuple[str, str, Mapping[str, Any], Shape]]
) -> Module:
    name = language.identifier(collection, "items")
    fields, statuses = _fields(document, found)
    routes = tuple(_route(name, path, method, operation, shape, statuses) for path, method, operation, shape in found)
    extra = [route.status for route in routes if route.status and route.status not in statuses]
    return Module(
        name=name,
        class_name=language.camel(collection, "Items"),
        entity=language.singular(collection.replace("-", " ")),
        collection=f"/{collection}",
        fields=fields,
        statuses=(*statuses, *dict.fromkeys(extra)),
        routes=routes,
    )


def _route(
    module: str, path: str, method: str, operation: Mapping[str, Any], shape: Shape, statuses: Sequence[str]
) -> Route:
    action = language.identifier(path.rsplit("/", 1)[-1], "act") if shape == "action" else ""
    status = language.past(action.replace("_", "-")).replace("-", "_").replace(" ", "_") if action else ""
    handler = f"{action}_one" if action in _OWN_METHODS else action
    return Route(
        operation=str(operation.get("operationId", f"{method} {path}")),
        method=method.upper(),
        path=path,
        module=module,
        shape=shape,
        handler=handler or _HANDLERS.get(shape, shape),
        summary=str(operation.get("summary", "")),
        requirements=tuple(map(str, operation.get("x-requirements", ()))),
        status=status,
    )


def _fields(
    document: Mapping[str, Any], found: Sequence[tuple[str, str, Mapping[str, Any], Shape]]
) -> tuple[tuple[FieldCode, ...], tuple[str, ...]]:
    """The fields of what is sent to create a thing, and the states of what comes back."""
    create = next(operation for _, _, operation, shape in found if shape == "create")
    sent = _schema(document, create.get("requestBody", {}))
    got = _schema(document, create.get("responses", {}).get("201", {}))
    required = set(sent.get("required", ()))
    fields = tuple(
        FieldCode(name, _kind(schema), name in required)
        for name, schema in sent.get("properties", {}).items()
        if name not in RESERVED_FIELDS
    )
    statuses = tuple(map(str, got.get("properties", {}).get("status", {}).get("enum", ()))) or ("new",)
    if not any(field.required for field in fields):
        fields = (FieldCode(fields[0].name, fields[0].kind, True), *fields[1:]) if fields else ()
    return fields or (FieldCode("name", "string", True),), statuses


def _schema(document: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = part.get("content", {}).get("application/json", {}).get("schema", {})
    reference = str(schema.get("$ref", ""))
    found: Mapping[str, Any] = schema
    if reference.startswith("#/components/schemas/"):
        found = document.get("components", {}).get("schemas", {}).get(reference.rsplit("/", 1)[1], {})
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    if schema.get("type") == "string":
        return _FORMATS.get(str(schema.get("format", "")), "string")
    kind = str(schema.get("type", "string"))
    return kind if kind in _SAMPLES else "string"


def sample(kind: str) -> str:
    """A valid value of a kind, as Python source."""
    return literal(_SAMPLES[kind])


def literal(value: object) -> str:
    """A plain value as Python source in double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def docstring(text: str, limit: int = 100) -> str:
    """Brief text that may stand inside a docstring."""
    return language.clip(text.replace("\\", "/").replace('"', "'"), limit).rstrip(".")
