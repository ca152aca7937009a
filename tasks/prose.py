"""What a person wrote where an agent would have: plain text, or a list of sentences, becomes the structured value by
the very rules that the analyst and the product manager apply to a brief. JSON in a text is taken as what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from tasks.analyst import analyse
from tasks.making.requirements import make_requirements
from tasks.making.stories import make_stories
from tasks.models import AnalystOutput, Requirements
from tasks.reading import language
from tasks.reading.brief import checked_text, parse_brief

_HEADINGS: Final[Mapping[str, str]] = {
    "pm.user_stories": "Features",
    "pm.requirements": "Features",
    "pm.functional_requirements": "Features",
    "analyst.target_users": "Users",
    "analyst.technical_constraints": "Technical constraints",
}


def structured(value: object, path: str) -> object:
    """The value that an agent would have written at `path`; anything but prose is returned as it is.

    Raises InvalidValue for a text that is empty or binary.
    """
    if isinstance(value, str):
        value = _from_json(value)
    lines = _lines(value)
    if lines is None or path not in _HEADINGS:
        return value
    text = checked_text(f"# Product\n\n## {_HEADINGS[path]}\n\n" + "\n".join(lines))
    return _MAKERS[path](analyse(parse_brief(text), len(language.words(text)), "input"))


def _from_json(text: str) -> object:
    try:
        found: object = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, list | dict) else text


def _lines(value: object) -> list[str] | None:
    if isinstance(value, str):
        return value.splitlines()
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return [f"- {item}" for item in value]
    return None


def _stories(found: AnalystOutput) -> object:
    data = found.project_brief.structured_data
    return make_stories(data.features, data.goals, ())


def _requirements(found: AnalystOutput) -> Requirements:
    data = found.project_brief.structured_data
    return make_requirements(make_stories(data.features, data.goals, ()), found.technical_constraints, data.features)


_MAKERS: Final[Mapping[str, Callable[[AnalystOutput], object]]] = {
    "pm.user_stories": _stories,
    "pm.requirements": _requirements,
    "pm.functional_requirements": lambda found: _requirements(found).functional,
    "analyst.target_users": lambda found: found.target_users,
    "analyst.technical_constraints": lambda found: found.technical_constraints,
}
