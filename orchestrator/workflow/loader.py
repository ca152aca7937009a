"""The front of this room: a file, a text or a mapping in, a checked WorkflowSpec out, or every mistake in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from orchestrator.documents import (
    Document,
    Doubtful,
    Location,
    doubtful_scalars,
    load_document,
    parse_document,
    shown,
    wrap_value,
)
from orchestrator.errors import InvalidWorkflow, Problem
from orchestrator.problems import boolean_keys, doubtful_problems, in_file_order, translate
from orchestrator.settings import ENGINE_BLOCKS, EngineSettings, check_engine
from orchestrator.workflow.checks import check_limits, check_workflow
from orchestrator.workflow.collector import collector_paused
from orchestrator.workflow.drafts import Draft, Reading
from orchestrator.workflow.models import BarrierSpec, GroupSpec, StepSpec, WorkflowSpec
from orchestrator.workflow.references import resolve
from orchestrator.workflow.seed_forms import read_barrier, read_execution_groups, read_parallel_group
from orchestrator.workflow.step_forms import read_step, read_step_defaults
from orchestrator.workflow.structure import conflicting_writes

Kind = Literal["workflow", "engine"]
Model = TypeVar("Model", bound=BaseModel)

_LISTS = ("steps", "workflow_steps", "enhanced_workflow_step")
_KEYS = frozenset(
    {
        "name",
        "version",
        "description",
        "inputs",
        "timeout",
        "schedule",
        "max_parallel",
        "fairness_key",
        "fairness_weight",
        "defaults",
        "barrier",
        "merge",
        "execution_groups",
        *_LISTS,
    }
)
_BOOLEANS = boolean_keys(WorkflowSpec)


class Validation(Struct, frozen=True):
    """What the check of a file found. `workflow` is there if it is a workflow without errors."""

    kind: Kind
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    workflow: WorkflowSpec | None = None

    @property
    def valid(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """`{"valid", "kind", "errors": [{"path", "line", "column", "message", "hint"}], "warnings": [...]}`."""
        return {
            "valid": self.valid,
            "kind": self.kind,
            "errors": [_problem_json(problem) for problem in self.problems],
            "warnings": [_problem_json(warning) for warning in self.warnings],
        }


def load_workflow(
    source: str | Path | Mapping[str, Any] | Document, *, engine: EngineSettings | None = None
) -> WorkflowSpec:
    """Read a workflow from a path, or from a mapping in the file's form.

    `engine` gives the pools, words and owners to check against, by default those of `EngineSettings()`.
    Raises InvalidWorkflow with every mistake.
    """
    with collector_paused():
        found = _check_workflow(_document(source), engine or EngineSettings())
    if found.workflow is None:
        raise InvalidWorkflow(found.problems)
    return found.workflow


def load_workflow_text(text: str, *, source: str = "", engine: EngineSettings | None = None) -> WorkflowSpec:
    """Read a workflow from YAML or JSON text; `source` names it in messages. Raises InvalidWorkflow."""
    return load_workflow(parse_document(text, source), engine=engine)


def inspect_document(path: str | Path) -> Kind:
    """Whether a file holds a workflow or engine settings. What is neither, or unreadable, counts as a workflow."""
    return _kind(load_document(path))


def validate(source: str | Path | Mapping[str, Any], *, engine: EngineSettings | None = None) -> Validation:
    """Check a workflow file or an engine file, whichever it is. Raises nothing."""
    with collector_paused():
        document = _document(source)
        if _kind(document) == "workflow":
            return _check_workflow(document, engine or EngineSettings())
    _, problems = check_engine(document)
    return Validation("engine", tuple(problems), ())


def _document(source: str | Path | Mapping[str, Any] | Document) -> Document:
    if isinstance(source, Document):
        return source
    return wrap_value(source) if isinstance(source, Mapping) else load_document(source)


def _kind(document: Document) -> Kind:
    keys = set(document.value) if isinstance(document.value, dict) else set()
    return "engine" if keys & ENGINE_BLOCKS and not keys & {"execution_groups", *_LISTS} else "workflow"


def _check_workflow(document: Document, engine: EngineSettings) -> Validation:
    reading = Reading(document, list(document.problems))
    spec = _read(reading, engine) if document.value is not None or not document.problems else None
    problems = in_file_order(reading.problems)
    if problems or spec is None:
        return Validation("workflow", tuple(problems), tuple(in_file_order(reading.warnings)))
    for sentence in conflicting_writes(spec):
        reading.warn((), sentence)
    return Validation("workflow", (), tuple(in_file_order(reading.warnings)), spec)


def _read(reading: Reading, engine: EngineSettings) -> WorkflowSpec | None:
    raw = reading.document.value
    if not isinstance(raw, dict):
        what = "the document is empty" if raw is None else f"a mapping is expected, found {shown(raw)}"
        reading.wrong((), what, "begin with `steps:` or `execution_groups:`")
        return None
    workflow = Draft(())
    reading.doubtful = any(True for _ in doubtful_scalars(raw))
    _read_top(reading, workflow, raw)
    if not check_limits(reading):
        return None
    resolve(reading, workflow, engine.owners)
    specs = _build(reading, workflow)
    check_workflow(reading, engine)
    seen = {problem.path for problem in reading.problems}
    doubtful = doubtful_problems(reading.document, raw, _BOOLEANS) if reading.doubtful else []
    reading.problems += [problem for problem in doubtful if problem.path not in seen]
    return specs if not reading.problems else None


def _read_top(reading: Reading, workflow: Draft, raw: dict[str, Any]) -> None:
    reading.flat_ids = frozenset(_flat_ids(raw))
    if raw.get("defaults") is not None:
        reading.step_defaults = read_step_defaults(reading, raw["defaults"], ("defaults",))
    if raw.get("barrier") is not None:
        reading.barrier_defaults = Draft(("barrier",))
        read_barrier(reading, reading.barrier_defaults, raw["barrier"], ("barrier",))
    for key, value in raw.items():
        if key in ENGINE_BLOCKS:
            reading.wrong((key,), f"'{key}' does not belong into a workflow", "put it into engine.yaml", of_key=True)
        elif key not in _KEYS:
            reading.unknown((key,), _KEYS)
        elif key == "execution_groups" and value is not None:
            read_execution_groups(reading, value, (key,))
        elif key in _LISTS and value is not None:
            _read_list(reading, value, (key,))
        elif key not in ("defaults", "barrier") and value is not None:
            reading.put(workflow, key, value, (key,))
    _complete_top(reading, workflow, raw)


def _complete_top(reading: Reading, workflow: Draft, raw: dict[str, Any]) -> None:
    version = workflow.values.get("version")
    if isinstance(version, int | float) and not isinstance(version, bool):
        workflow.values["version"] = reading.document.text(("version",)) or str(version)
    if isinstance(workflow.values.get("inputs"), list):
        names = reading.references(raw["inputs"], ("inputs",))
        workflow.values["inputs"] = {name.text: None for name in names}
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(reading.document.source).stem)[:64].strip("-")
    workflow.values.setdefault("name", stem or "workflow")


def _flat_ids(raw: dict[str, Any]) -> Iterator[str]:
    """Ids of the steps that are written on their own: a group may name them as its members."""
    for key in _LISTS:
        items = raw.get(key)
        for item in items if isinstance(items, list) else [items]:
            if isinstance(item, dict) and item.get("type") != "parallel_group":
                name = item.get("id", item.get("agent"))
                if isinstance(name, str):
                    yield name


def _read_list(reading: Reading, value: object, location: Location) -> None:
    if isinstance(value, dict) and location[0] == "enhanced_workflow_step":
        _read_item(reading, value, location)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _read_item(reading, item, (*location, index))
    else:
        reading.wrong(location, f"a list of steps is expected, found {shown(value)}", "write `- id: ...` lines")


def _read_item(reading: Reading, raw: object, location: Location) -> None:
    if isinstance(raw, dict) and ("type" in raw or "agents" in raw):
        read_parallel_group(reading, raw, location)
    else:
        reading.steps.append(read_step(reading, raw, location))


def _build(reading: Reading, workflow: Draft) -> WorkflowSpec | None:
    """Every draft into its model; None if one of them does not hold."""
    steps = [_model(reading, StepSpec, draft) for draft in reading.steps]
    groups = []
    for draft in reading.groups:
        barrier = _model(reading, BarrierSpec, draft.barrier)
        if barrier is not None:
            draft.values["barrier"] = barrier
        groups.append(_model(reading, GroupSpec, draft))
    workflow.values |= {"steps": (), "groups": ()}
    top = _model(reading, WorkflowSpec, workflow)
    if top is None or None in steps or None in groups:
        return None
    return top.model_copy(update={"steps": tuple(steps), "groups": tuple(groups)})


def _model(reading: Reading, kind: type[Model], draft: Draft) -> Model | None:
    try:
        return kind.model_validate(_undoubted(draft.values) if reading.doubtful else draft.values)
    except ValidationError as error:
        reading.problems += translate(error, reading.document, kind, draft.locate)
        return None


def _undoubted(value: Any) -> Any:
    """Doubtful scalars as plain text: models keep nothing of the document."""
    if isinstance(value, dict):
        return {key: _undoubted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_undoubted(item) for item in value]
    return str(value) if isinstance(value, Doubtful) else value


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in ("path", "line", "column", "message", "hint")}
