"""What a client sends, read strictly: JSON with nothing twice in it, queries with nothing unknown in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from orchestrator.documents import Document, wrap_value
from orchestrator.errors import InvalidDocument, Problem
from orchestrator.flower.problems import Rejected
from orchestrator.problems import translate

Model = TypeVar("Model", bound=BaseModel)

BODY_BYTES = 16_000_000
"""A larger body is refused before it is read."""


def read_body(body: bytes, content_type: str, model: type[Model]) -> Model:
    """The body of a request as a model. Raises Rejected (400, 415), InvalidDocument with every mistake. A body without
    anything in it stands for an empty mapping."""
    kind = content_type.partition(";")[0]
    if body and kind.strip().lower() != "application/json":
        raise Rejected(415, f"the body is {kind.strip()[:80] or 'of no type'}; send application/json")
    return checked(wrap_value(_parsed(body) if body else {}), model, strict=True)


def read_query(arguments: Mapping[str, Sequence[bytes]], model: type[Model]) -> Model:
    """The query of a request as a model. Raises Rejected (400), InvalidDocument with every mistake."""
    values: dict[str, Any] = {}
    for name, given in arguments.items():
        field = model.model_fields.get(name)
        try:
            texts = [text.decode() for text in given]
        except UnicodeDecodeError:
            raise Rejected(400, f"the query is not UTF-8: {name[:80]!r}") from None
        many = field is not None and get_origin(field.annotation) is tuple
        if len(texts) > 1 and not many:
            raise InvalidDocument([Problem(name[:80], "it is given more than once")])
        values[name] = texts if many else texts[0]
    return checked(wrap_value(values), model, strict=False)


def checked(document: Document, model: type[Model], *, strict: bool) -> Model:
    """A document as a model. Raises InvalidDocument with every mistake in it."""
    if document.problems:
        raise InvalidDocument(document.problems)
    try:
        return model.model_validate(document.value, strict=strict)
    except ValidationError as error:
        raise InvalidDocument(translate(error, document, model)) from None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise Rejected(400, f"the body is not UTF-8: byte 0x{body[error.start]:02x} at {error.start}") from None
    except json.JSONDecodeError as error:
        raise Rejected(400, f"the body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise Rejected(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Rejected(400, f"the body is no JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one mapping")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
