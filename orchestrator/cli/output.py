"""Data to standard output, talk to standard error, and nothing that breaks when nobody reads any more."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Session:
    """What every command is told: `--quiet`, `--debug`."""

    quiet: bool = False
    debug: bool = False


session = Session()


def common_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add `--quiet` and `--debug`, which are kept in `session`."""

    @click.option("-q", "--quiet", is_flag=True, help="No talk on standard error; lists print ids only.")
    @click.option("--debug", is_flag=True, help="Show tracebacks.")
    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        session.quiet |= bool(kwargs.pop("quiet"))
        session.debug |= bool(kwargs.pop("debug"))
        return command(*args, **kwargs)

    return wrapper


output_option = click.option(
    "-o",
    "--format",
    "form",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How data is printed.",
)


def emit(text: str) -> None:
    """Write data to standard output. A reader that has gone is no error: the exit status still tells the outcome."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()


def emit_data(value: Any, form: str, human: Callable[[], str]) -> None:
    """Write a JSON-like value in the wanted form; `human` gives the text for `table`."""
    if form == "json":
        emit(json.dumps(value, indent=2, ensure_ascii=False))
    elif form == "yaml":
        import yaml

        emit(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    else:
        emit(human())


def talk(text: str) -> None:
    """Tell the person at the terminal something that is no data."""
    if not session.quiet:
        _to_stderr(text)


def complain(text: str) -> None:
    """Say what is wrong; not silenced by `--quiet`."""
    _to_stderr(f"error: {text}")


def _to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process


def _forget_stdout() -> None:
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def close_stdout() -> None:
    """Flush what is left, so that the interpreter does not complain about a broken pipe on its way out."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()


def stderr_console() -> Console:
    """Where live progress goes; plain when NO_COLOR is set or standard error is no terminal."""
    from rich.console import Console

    return Console(stderr=True, no_color=True if os.environ.get("NO_COLOR") else None, highlight=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], colours: Mapping[str, str] | None = None) -> str:
    """Aligned columns, as wide as their content: nothing is ever cut, so that an id can always be copied.

    `colours` maps a cell's text to a rich style; used on a terminal only.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[index]) for row in cells)]) for index, name in enumerate(columns)]
    lines = ["  ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True)).rstrip()]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(_coloured(text, cell, colours) for text, cell in zip(padded, row, strict=True)).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _coloured(padded: str, cell: str, colours: Mapping[str, str] | None) -> str:
    colour = (colours or {}).get(cell)
    if colour is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return padded
    return click.style(padded, fg=colour)
