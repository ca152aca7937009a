"""Reading what other agents wrote: parsed once into models, with an error that names the path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from orchestrator import AgentContext, InvalidValue

T = TypeVar("T")

LATER = ConfigDict(defer_build=True)


def shape(kind: type[T]) -> TypeAdapter[T]:
    """What checks values of a type. It is built with the first of them: a worker that serves others needs it never."""
    says_itself = isinstance(kind, type) and issubclass(kind, BaseModel)
    return TypeAdapter(kind, config=None if says_itself else LATER)


def read_as(ctx: AgentContext, path: str, adapter: TypeAdapter[T]) -> T:
    """The value at a context path. Raises MissingInput when nobody wrote it, InvalidValue when it has another shape."""
    return parse(ctx.read(path), path, adapter)


def read_or(ctx: AgentContext, path: str, adapter: TypeAdapter[T], default: T) -> T:
    """Like `read_as`, with a default for what is missing, or what the workflow does not let this step read."""
    value = look_up(ctx, path)
    return default if value is None else parse(value, path, adapter)


def look_up(ctx: AgentContext, path: str) -> object:
    """The value at a context path; None for what is missing, or what the workflow does not let this step read."""
    return ctx.get(path) if ctx.can_read(path) else None


def parse(value: object, path: str, adapter: TypeAdapter[T]) -> T:
    """A JSON value as what the adapter describes. Raises InvalidValue with every mistake."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, item['loc'])) or 'value'}: {item['msg']}" for item in error.errors()[:5]]
        raise InvalidValue(f"'{path}' has not the expected shape: {'; '.join(mistakes)}") from error


def of_group(ctx: AgentContext, key: str, adapter: TypeAdapter[T]) -> T | None:
    """In a cross-validation: what a step of the group has written as `key`, or inside the one key that a workflow puts
    its whole output under. None when nobody has."""
    for step in (ctx.validates_as, *ctx.validates):
        document = ctx.get(step)
        nested = document.values() if isinstance(document, Mapping) else ()
        for place in (document, *nested):
            if isinstance(place, Mapping) and key in place:
                return parse(place[key], f"{step}.{key}", adapter)
    return None
