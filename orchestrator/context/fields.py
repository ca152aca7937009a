"""A document as the fields that the store keeps, and back. A field is `<section>.<key>`; a section is a step's
namespace or a shared part of the context. A document without keys is the field `<section>`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from orchestrator.context.codec import pack
from orchestrator.context.normal import MAX_KEY
from orchestrator.context.values import canonical, content_hash
from orchestrator.errors import InvalidValue

FILLED = "filled"
"""Mark of a value that stands in for one that a step did not give."""
NO_VALUE = "-"
"""The hash of a field that has no value."""
DRAFT = "draft"
"""Mark of a value whose author has not finished."""


class FieldWrite(Struct, frozen=True):
    """A value that a step commits, as canonical JSON; None takes the field away. `read_at` is the version of the field
    that the step has seen, 0 when it had none; None in its own namespace, where nobody else writes."""

    field: str
    text: str | None
    read_at: int | None = None
    mark: str = ""

    def payload(self) -> tuple[str | bytes, ...]:
        """What `payload.lua` reads."""
        expected = "" if self.read_at is None else str(self.read_at)
        if self.text is None:
            return self.field, expected, NO_VALUE, b"", self.mark
        return self.field, expected, content_hash(self.text), pack(self.text), self.mark


def base_payload(field: str, text: str | None) -> tuple[str | bytes, ...]:
    """What a writer started from, as `payload.lua` reads it."""
    return (field, NO_VALUE, b"") if text is None else (field, content_hash(text), pack(text))


def split(section: str, document: Mapping[str, Any], *, limit: int, mark: str = "") -> list[FieldWrite]:
    """The fields of a document, each of at most `limit` bytes. Raises InvalidValue, naming the field."""
    fields = []
    for key, value in document.items():
        name = field_name(section, key)
        fields.append(FieldWrite(name, canonical(value, limit=limit, what=f"'{name}'"), mark=mark))
    return fields or [FieldWrite(section, "{}", mark=mark)]


def field_name(section: str, key: str) -> str:
    """`<section>.<key>`. Raises InvalidValue for keys that no store can keep."""
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"a key of '{section}' is no text: {error}") from error
    if "\0" in key or len(key) > MAX_KEY:
        raise InvalidValue(f"a key of '{section}' holds a NUL character or is longer than {MAX_KEY:,} characters")
    return f"{section}.{key}"


def section_of(field: str) -> str:
    """The section that a field belongs to."""
    return field.partition(".")[0]


def assemble(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Section -> document, from (field, value) pairs; later ones win."""
    documents: dict[str, Any] = {}
    for field, value in values:
        section, dot, key = field.partition(".")
        document = documents.setdefault(section, {})
        if dot:
            document[key] = value
    return documents
