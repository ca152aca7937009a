"""Jinja2, locked down: templates come from declared folders only, and can neither reach nor change Python objects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from orchestrator.errors import AgentError


class TemplateFailed(AgentError):
    """A template is missing, is wrong, or uses a variable that was not given."""


@lru_cache(maxsize=16)
def _environment(folders: tuple[Path, ...]) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader([str(folder) for folder in folders]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # agents write source code and Markdown, not web pages
    )


def render(folders: tuple[Path, ...], template: str, variables: Mapping[str, Any]) -> str:
    """The text of `template` (a name relative to one of `folders`). Raises TemplateFailed."""
    try:
        return _environment(folders).get_template(template).render(variables)
    except TemplateError as error:
        raise TemplateFailed(f"template '{template}': {type(error).__name__}: {error}") from error
