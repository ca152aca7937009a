"""What the user names on the command line: definitions by file or name, inputs as `key=value`."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from orchestrator.cli.output import talk
from orchestrator.errors import NotFound

if TYPE_CHECKING:
    from orchestrator.fleet.learning import Durations
    from orchestrator.settings import EngineSettings
    from orchestrator.workflow.plan import Plan

P = ParamSpec("P")
R = TypeVar("R")

WORKFLOWS = Path("config") / "workflows"
"""Folder, below the current one, whose files can be called by name."""

_SUFFIXES = (".yaml", ".yml", ".json")
_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def find_definition(text: str) -> Path | None:
    """The file that `text` means: a path, or the name of a file in `config/workflows`; None for another name.

    Raises click.UsageError for a path that does not lead to a file.
    """
    path = Path(text)
    if path.is_dir():
        raise click.UsageError(f"{text} is a folder; name a workflow file")
    if path.exists():
        return path
    if os.sep in text or path.suffix in _SUFFIXES:
        hint = _similar(path.name, (file.name for file in _files(path.parent)))
        raise click.UsageError(f"there is no file {text}{hint}")
    for suffix in _SUFFIXES:
        if (WORKFLOWS / (text + suffix)).is_file():
            return WORKFLOWS / (text + suffix)
    return None


def need_definition(text: str) -> Path:
    """As `find_definition`, for commands that read files only. Raises NotFound for an unknown name."""
    found = find_definition(text)
    if found is None:
        raise unknown_workflow(text)
    return found


def unknown_workflow(name: str, registered: Iterable[str] = ()) -> NotFound:
    """The error for a workflow name that nobody knows, with the names that are known."""
    known = sorted({file.stem for file in _files(WORKFLOWS)} | set(registered))
    listed = f"; known: {', '.join(known)}" if known else "; name a file"
    return NotFound(f"no workflow is called '{name}'{_similar(name, known)}{listed}")


def plan_of(path: Path, durations: Durations | None = None) -> Plan:
    """Read and analyse a definition. Raises InvalidWorkflow with every mistake."""
    from orchestrator.workflow.loader import load_workflow
    from orchestrator.workflow.plan import make_plan

    settings = engine_settings()
    spec = load_workflow(path, engine=settings)
    finds = settings.performance_monitoring.optimises("increase_parallelization_opportunities")
    if not durations:
        return make_plan(spec, find_groups=finds)
    from orchestrator.fleet.learning import of_steps

    return make_plan(spec, learned=of_steps(durations, spec, None if spec.inputs else 0), find_groups=finds)


def learned_here() -> Durations:
    """What the agents of the deployment took lately; nothing when its store cannot be asked, for a plan needs none."""
    from orchestrator.environment import Environment
    from orchestrator.errors import OrchestratorError

    environment = Environment.load()
    if environment.is_embedded and not (environment.home / "data").is_dir():
        return {}
    from orchestrator.cli.connect import store_url
    from orchestrator.connection import connect
    from orchestrator.fleet.learning import durations

    try:
        with store_url(environment) as url:
            return durations(connect(url))
    except OrchestratorError as error:
        if not environment.is_embedded:
            talk(f"estimates only, nothing learned: {error}")
        return {}


def engine_settings() -> EngineSettings:
    """The settings to check definitions against. Raises InvalidDocument."""
    from orchestrator.settings import EngineSettings, Environment, load_engine

    file = Environment.load().engine_file
    return EngineSettings() if file is None else load_engine(file)


def check_id(text: str, what: str) -> str:
    """A run or step id that can exist. Raises NotFound, so that nothing else ever reaches a key of the store."""
    if not _ID.fullmatch(text):
        raise NotFound(f"'{text[:80]}' is no {what} id")
    return text


def duration(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Callback of options that take a duration above zero, in any notation of workflow files; seconds."""
    from orchestrator.units import parse_duration

    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    if seconds <= 0:
        raise click.BadParameter("it must be above zero", ctx, param)
    return seconds


def timeout_option(text: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`--timeout`, as seconds; nobody waits for ever without having said so."""
    return click.option("--timeout", callback=duration, default="1d", show_default=True, metavar="DURATION", help=text)


def parse_agents(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Callback of `--agents a,b`: the names of agent classes."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    wrong = [name for name in names if not _ID.fullmatch(name)]
    if wrong:
        raise click.BadParameter(f"'{wrong[0]}' is no agent class; write names, separated by commas", ctx, param)
    return names


def parse_inputs(pairs: Sequence[str]) -> dict[str, Any]:
    """Read `--input` values: `k=text`, `k=@file` (its text; of a .json file the value), `k=@-` (standard input),
    `k:=json`, `k:=@file` (JSON, whatever its name).

    Raises click.UsageError for a malformed or repeated key, and for a file that is not readable text.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        as_json = key.endswith(":")
        key = key.removesuffix(":")
        if not equals or not _KEY.fullmatch(key):
            raise _wrong_input(pair, "write key=value, key=@file, key=@-, key:=json or key:=@file")
        if key in values:
            raise click.UsageError(f"--input {key} is given twice")
        as_json = as_json or (value.startswith("@") and value.endswith(".json"))
        text = _text(pair, value)
        values[key] = _json(pair, text) if as_json else text
    return values


def _json(pair: str, value: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON value")

    try:
        return json.loads(value, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise _wrong_input(pair, f"that is no JSON: {error}") from error


def _text(pair: str, value: str) -> str:
    if not value.startswith("@"):
        return value
    name = value.removeprefix("@")
    try:
        content = _stdin() if name == "-" else Path(name).read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _wrong_input(pair, f"{name} is no text file (it is not UTF-8)") from None
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise _wrong_input(pair, f"{name or 'a file without a name'} cannot be read: {reason}") from None


def _stdin() -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise ValueError("standard input is closed")
    return sys.stdin.buffer.read()


def _wrong_input(pair: str, why: str) -> click.UsageError:
    return click.UsageError(f"--input {pair[:60]}: {why}")


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)


def _similar(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
