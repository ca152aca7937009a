"""Every error this library raises, under one root, each with the exit status the command line gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct


class OrchestratorError(Exception):
    """Root of all errors of this library. `exit_code` is what the command line exits with."""

    exit_code: ClassVar[int] = 1


class Problem(Struct, frozen=True):
    """One mistake in a document: where it stands, what was found, what would be right.

    `path` is dotted with list indexes in brackets (`steps[2].timeout`); `line` and `column` count from 1,
    and are None for definitions that were written in Python.
    """

    path: str
    message: str
    hint: str = ""
    line: int | None = None
    column: int | None = None
    source: str = ""

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.source, self.line, self.column) if part not in ("", None))
        text = ": ".join(part for part in (where, self.path, self.message) if part)
        return f"{text} ({self.hint})" if self.hint else text


class InvalidDocument(OrchestratorError):
    """A workflow or engine file that cannot be used; `problems` holds every mistake in it, in file order."""

    exit_code = 3

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[InvalidDocument], tuple[Sequence[Problem]]]:
        return type(self), (self.problems,)


class InvalidWorkflow(InvalidDocument):
    """A workflow definition that cannot be planned or run."""


class SettingsError(InvalidDocument):
    """An environment variable or a setting that is unknown or has an unusable value."""

    exit_code = 2


class NotFound(OrchestratorError):
    """A run, step, agent or workflow of that name does not exist."""

    exit_code = 4


class Conflict(OrchestratorError):
    """The request contradicts what is stored, such as an idempotency key that was used with other content."""


class IdempotencyConflict(Conflict):
    """The idempotency key belongs to `run_id`, which was submitted with another workflow or other inputs."""

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message, run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return str(self.args[0])


class RunStateError(Conflict):
    """The run is in a state in which the request makes no sense, such as cancelling a finished run."""


class StoreUnavailable(OrchestratorError):
    """Redis or the broker cannot be reached, or no worker answers."""

    exit_code = 69


class BackpressureError(OrchestratorError):
    """The store or a queue takes no more work now; `retry_after` is in seconds. Nothing was enqueued."""

    exit_code = 75

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after)  # as arguments, both outlive Celery's result backend
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class WaitTimeout(OrchestratorError):
    """The run had not ended within the time that the caller was willing to wait. It goes on."""

    exit_code = 124


class RunFailed(OrchestratorError):
    """The run ended in another state than success or partial."""


class AgentError(OrchestratorError):
    """An agent could not do its work."""


class ItemsFailed(AgentError):
    """Too many items of a pattern that an agent has called failed."""


class MissingInput(AgentError):
    """A step started without a value that it reads and that has no default."""


class OwnershipError(AgentError):
    """A step read or wrote a path outside what it declared or owns; the message names the rule."""


class InvalidValue(AgentError):
    """A value is no JSON document, or larger than allowed, or does not match the declared schema."""


class CorruptValue(AgentError):
    """A stored value is damaged or larger than allowed; the message names its key."""


class LeaseLost(AgentError):
    """The attempt is no longer the current one of its step; whatever it writes is refused."""


class LockTimeout(AgentError):
    """The lock of a section was not free in time, or at once where nobody may wait; the message names its holders."""


class StepTimeout(AgentError):
    """An attempt ran longer than its timeout."""


class WorkerLost(AgentError):
    """The process that ran an attempt died."""


class Cancelled(AgentError):
    """The run was cancelled while the attempt was running."""
