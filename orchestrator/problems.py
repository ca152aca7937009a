"""What pydantic found wrong, told as problems of a document: position, what was found, what would be right."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.documents import Document, Location, doubtful_scalars, shown
from orchestrator.errors import Problem

MAX_PROBLEMS = 200
_IDENTIFIER_HINT = "use letters, digits, _ and -; 1 to 64 characters"
_PATH_HINT = "join names by dots, such as pm.user_stories"
_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "mapping_type": "a mapping",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
_BOUND_WORDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "did you mean 'pm'?" if something known is close, else the known names, else nothing."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    if not names or len(names) > 40:
        return ""
    return f"known: {', '.join(names)}"


def unknown_key(document: Document, location: Location, known: Iterable[str]) -> Problem:
    """A key that does not belong where it stands."""
    key = str(location[-1])
    return document.problem(location, f"unknown key '{key}'", did_you_mean(key, known), of_key=True)


def translate(
    error: ValidationError,
    document: Document,
    model: type[BaseModel],
    locate: Callable[[Location], Location] = lambda location: location,
) -> list[Problem]:
    """Every mistake of a ValidationError; `locate` leads from the place in the model to the place in the document."""
    return [_translated(dict(detail), document, model, locate) for detail in error.errors(include_url=False)]


def doubtful_problems(document: Document, value: object, known_booleans: frozenset[str]) -> list[Problem]:
    """Scalars that YAML readers disagree about, unless they stand where a boolean is expected."""
    found = []
    for location, scalar in doubtful_scalars(value):
        if scalar.is_boolean and location and location[-1] in known_booleans:
            continue
        reading = "true or false" if scalar.is_boolean else "a number or a date"
        hint = (
            "write true or false, or put it in quotes if a text is meant" if scalar.is_boolean else "put it in quotes"
        )
        found.append(
            document.problem(location, f"`{scalar}` is {reading} to some YAML readers and text to others", hint)
        )
    return found


def boolean_keys(*models: type[BaseModel]) -> frozenset[str]:
    """The names of every boolean field of the models and of the models inside them."""
    names: set[str] = set()
    for model in models:
        for name, field in model.model_fields.items():
            if field.annotation is bool:
                names.add(field.alias or name)
            names |= boolean_keys(*_models_in(field.annotation))
    return frozenset(names)


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sorted by position, each mistake once, and cut at MAX_PROBLEMS with a note of how many there are."""
    unique = list({(p.path, p.message, p.line, p.column): p for p in problems}.values())
    unique.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
    if len(unique) > MAX_PROBLEMS:
        more = Problem("", f"and {len(unique) - MAX_PROBLEMS} more", source=unique[0].source)
        return [*unique[:MAX_PROBLEMS], more]
    return unique


def _translated(
    detail: dict[str, Any], document: Document, model: type[BaseModel], locate: Callable[[Location], Location]
) -> Problem:
    location, kind = tuple(detail["loc"]), detail["type"]
    is_key = bool(location) and location[-1] == "[key]"
    location = location[:-1] if is_key else location
    place = locate(location)
    if kind == "extra_forbidden":
        return unknown_key(document, place, _known_keys(model, location[:-1]))
    if kind == "missing":
        return document.problem(place[:-1], f"the key '{location[-1]}' is missing", "")
    written = document.text(place) if not is_key else None
    found = f"'{written}'" if written else shown(detail["input"])
    message, hint = _sentence(kind, detail.get("ctx", {}), found, detail)
    return document.problem(place, message, hint, of_key=is_key)


def _sentence(kind: str, context: dict[str, Any], found: str, detail: dict[str, Any]) -> tuple[str, str]:
    if kind == "value_error":
        message, _, hint = str(context["error"]).partition("; ")
    elif kind in ("enum", "literal_error"):
        message, hint = f"{found} is not accepted", _expected_hint(str(detail["input"]), str(context["expected"]))
    elif kind == "string_pattern_mismatch":
        is_path = "\\." in context["pattern"]
        message = f"{found} is no {'path of the context' if is_path else 'id'}"
        hint = _PATH_HINT if is_path else _IDENTIFIER_HINT
    elif kind in _BOUNDS:
        bound = _BOUNDS[kind]
        message, hint = f"{found} is out of range", f"it must be {_BOUND_WORDS[bound]} {context[bound]}"
    elif kind in _EXPECTED:
        message = f"{_EXPECTED[kind]} is expected, found {found}"
        hint = "put it in quotes" if kind == "string_type" and isinstance(detail["input"], int | float) else ""
    else:
        message, hint = f"{detail['msg']}, found {found}", ""
    return message, hint


def _expected_hint(found: str, expected: str) -> str:
    words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    words = [word.lower() if word in ("True", "False") else word for word in words]
    return f"the only value is '{words[0]}'" if len(words) == 1 else did_you_mean(found, words)


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    """The keys of the model that stands at a location inside `model`."""
    current: type[BaseModel] | None = model
    for part in location:
        field = _field_named(current, part) if current is not None else None
        if field is None:
            continue
        inner = _models_in(field.annotation)
        current = inner[0] if inner else None
    return [field.alias or name for name, field in current.model_fields.items()] if current is not None else []


def _field_named(model: type[BaseModel], part: str | int) -> Any:
    for name, field in model.model_fields.items():
        if part in (name, field.alias):
            return field
    return None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
