"""`run --output DIR`: what a run made, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import click

from orchestrator.errors import InvalidValue


def prepare_folder(text: str) -> Path:
    """Create the folder before anything runs. Raises click.UsageError."""
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--output {text}: {error.strerror}") from error
    return folder.resolve()


def write_results(
    folder: Path, document: Mapping[str, Any], outputs: Mapping[str, Any], artifacts: Mapping[str, bytes]
) -> int:
    """Write `run.json`, `<step>/output.json` and every artifact below its step's folder; the number of files.

    Raises InvalidValue for a name that would leave the folder.
    """
    files = {"run.json": _json(document)}
    files |= {f"{step}/output.json": _json(output) for step, output in outputs.items()}
    files |= artifacts
    for name, content in files.items():
        target = _inside(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return len(files)


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    target = folder.joinpath(*parts)
    if name.startswith("/") or ".." in parts or "\0" in name or not target.resolve().is_relative_to(folder):
        raise InvalidValue(f"the artifact '{name}' would be written outside {folder}")
    return target


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
