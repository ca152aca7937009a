"""What requests of the API say, and what is answered, beside the documents in `views`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from orchestrator.context.merge_models import ABSENT
from orchestrator.context.models import Version
from orchestrator.documents import shown
from orchestrator.fields import Frozen, Identifier
from orchestrator.run.dead_letters import DeadMessage, DeadStep
from orchestrator.run.models import LogLine, RunState
from orchestrator.views.models import RunRow, Shown

MOST_ROWS = 200
FILE_TYPE = "application/octet-stream"
Choice = Literal["ours", "theirs", "base", "accept"]


def _flag(text: object) -> object:
    if text in ("true", "false", True, False):
        return text in ("true", True)
    raise ValueError(f"{str(text)[:40]!r} is neither true nor false")


Flag = Annotated[bool, BeforeValidator(_flag)]
"""`true` or `false` in a query."""
Moment = Annotated[float, Field(ge=0, le=1e11)]
"""Seconds since the epoch."""


class Nothing(Frozen):
    """A query, or a body, that says nothing."""


_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CURSOR = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?_[A-Za-z0-9_-]{1,64}")
_CURSOR_SCHEMA = {"type": "string", "pattern": f"^{_CURSOR.pattern}$"}
_WORKFLOW_SCHEMA = {"anyOf": [{"type": "string", "pattern": f"^{_NAME.pattern}$"}, {"type": "object"}]}


def _workflow(value: object) -> object:
    if isinstance(value, dict) or (isinstance(value, str) and _NAME.fullmatch(value)):
        return value
    raise ValueError(f"{shown(value)} is no workflow; send the name of a registered one, or a definition as a mapping")


def _cursor(value: str) -> str:
    if not _CURSOR.fullmatch(value):
        raise ValueError(f"{shown(value)} is no cursor; send next_cursor of the page before")
    return value


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class Submission(Frozen):
    """A run to start: the name of a registered workflow, or a whole definition in the form of a workflow file. With
    `sequential` its steps run one after another; null is what the deployment's settings say."""

    workflow: Annotated[str | Mapping[str, Any], BeforeValidator(_workflow), WithJsonSchema(_WORKFLOW_SCHEMA)]
    inputs: Mapping[str, Any] = Field(default_factory=dict)
    sequential: bool | None = None


class CancelRequest(Frozen):
    """`reason` is shown with the run."""

    reason: Annotated[str, Field(max_length=500)] = ""


class RetryRequest(Frozen):
    """Where to begin anew: at a `step`, at all steps that ended badly (`failed`), or, with neither, at the start."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["step", "failed"]}})

    step: Identifier | None = None
    failed: bool = False

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if {"step", "failed"} <= self.model_fields_set:
            raise ValueError("a step and failed exclude each other; send step, or failed, or neither")
        return self


class ResolveRequest(Frozen):
    """A decision: one of the conflict's `choices`, or a `value` for its place, which may be null."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["choice"]}, {"required": ["value"]}]})

    choice: Annotated[Choice | None, WithJsonSchema({"enum": list(get_args(Choice))})] = Field(
        default=None, json_schema_extra=_without_default
    )
    value: Any = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.choice is None) != ("value" in self.model_fields_set):
            raise ValueError("a decision is one choice, or a value; send choice, or value")
        return self

    @property
    def decided(self) -> Any:
        """The value; ABSENT when a choice was made."""
        return self.value if self.choice is None else ABSENT


class ListQuery(Frozen):
    """Which runs: those in one of the states, of that `workflow`, whose id or workflow contains `search`, created
    between two times. At most `limit` of them, behind `cursor`, which the page before has told."""

    state: tuple[RunState, ...] = ()
    workflow: Identifier | None = None
    search: Annotated[str, Field(max_length=200)] = ""
    created_after: Moment | None = None
    created_before: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 50
    cursor: Annotated[str, AfterValidator(_cursor), WithJsonSchema(_CURSOR_SCHEMA)] | None = None


class RunQuery(Frozen):
    """Without `values` inputs, outputs and the sides of conflicts are left out."""

    values: Flag = True


class LogQuery(Frozen):
    """Only the lines of one `attempt`, counted from 1; those behind the first `after` lines of the step, which is the
    `cursor` of what was read before."""

    attempt: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    after: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0


class DiffQuery(Frozen):
    """Two versions of the context, by number or by the name of a snapshot."""

    a: Annotated[str, Field(min_length=1, max_length=128)]
    b: Annotated[str, Field(min_length=1, max_length=128)]


class EventsQuery(Frozen):
    """Events behind `after`, as the header `Last-Event-ID`; without `follow` only what has happened so far. With `logs`
    it is told as well when steps have logged something, from now on."""

    after: Annotated[str, Field(max_length=100)] = ""
    follow: Flag = True
    logs: Flag = False


class NewsQuery(Frozen):
    """Events behind `after`, as the header `Last-Event-ID`; of the runs that are named, how far they are as well."""

    after: Annotated[str, Field(max_length=100)] = ""
    run: Annotated[tuple[Identifier, ...], Field(max_length=MOST_ROWS)] = ()


class RunList(Frozen):
    """One page of runs, newest first. `next_cursor` leads to the next one; null when there is none."""

    runs: tuple[RunRow, ...]
    next_cursor: str | None = None


class Accepted(Frozen):
    """A run that was started, or one that the same key had started before. `url` is where its document is."""

    run_id: str
    url: str


class RunAnswer(Frozen):
    """The state of a run after what was asked for."""

    run_id: str
    state: RunState


class StepLog(Frozen):
    """The lines that a step has logged, oldest first, of all its attempts or of one. `cursor` is how many it had logged
    by then, those included that are not kept any more."""

    run_id: str
    step: str
    lines: tuple[LogLine, ...]
    cursor: int


class Values(Frozen):
    """Named values, masked but whole."""

    values: Mapping[str, Shown]


class FileQuery(Frozen):
    """Which artifact of a step: its `name`, as the document of the run tells it."""

    name: Annotated[str, Field(min_length=1, max_length=1024)]


class File(Frozen):
    """A file as it is, sent to be saved and never to be shown by a browser."""

    name: str
    content: bytes


class VersionList(Frozen):
    """The versions of a run's context that are kept, newest first."""

    versions: tuple[Version, ...]


class ShownDifference(Frozen):
    """A field that differs between two versions. A side without a value is null."""

    field: str
    kind: Literal["added", "removed", "changed"]
    before: Shown | None = None
    after: Shown | None = None


class DifferenceList(Frozen):
    """What changed in the context from version `a` to `b`."""

    a: str
    b: str
    differences: tuple[ShownDifference, ...]


class DeadLetters(Frozen):
    """What is parked, newest first: steps that killed every process that tried them, and messages that nobody could
    run."""

    steps: tuple[DeadStep, ...]
    messages: tuple[DeadMessage, ...]


class Definition(Frozen):
    """A workflow that is registered under its name, with the inputs that it has to be given."""

    name: str
    required_inputs: tuple[str, ...] = ()


class DefinitionList(Frozen):
    """The registered workflows, by name."""

    definitions: tuple[Definition, ...]
