"""What goes wrong, as problem documents (RFC 9457): `application/problem+json` with a status that a client can act
on."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import Field

from orchestrator.errors import (
    BackpressureError,
    Conflict,
    InvalidDocument,
    InvalidValue,
    NotFound,
    OrchestratorError,
    StoreUnavailable,
)
from orchestrator.fields import Frozen

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2


class Mistake(Frozen):
    """One mistake in what was sent: where, what was found, and what would be right."""

    path: str = ""
    message: str
    hint: str = ""
    line: int | None = None
    column: int | None = None


class ProblemDocument(Frozen):
    """`status` is the HTTP status, `title` its name, `detail` says what happened this time. `errors` are all mistakes
    of a document that was refused; `run_id` is the run that a request contradicts, `differences` where."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: tuple[Mistake, ...] = ()
    run_id: str | None = None
    differences: tuple[str, ...] = ()
    retry_after: float | None = Field(default=None, exclude=True)


class Rejected(Exception):
    """A request that is answered with a problem document."""

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.document = document(status, detail, **more)


def document(status: int, detail: str = "", **more: Any) -> ProblemDocument:
    """A problem document whose title is that of the status."""
    return ProblemDocument(status=status, title=HTTPStatus(status).phrase, detail=detail, **more)


_STATUS: Mapping[type[OrchestratorError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    InvalidDocument: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidValue: HTTPStatus.UNPROCESSABLE_ENTITY,
    Conflict: HTTPStatus.CONFLICT,
    BackpressureError: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def problem_of(error: BaseException) -> ProblemDocument | None:
    """The document for an error of ours; None for one that nobody expected."""
    if isinstance(error, Rejected):
        return error.document
    found = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    if found is None:
        return None
    more: dict[str, Any] = {}
    if isinstance(error, InvalidDocument):
        more["errors"] = tuple(
            Mistake(path=one.path, message=one.message, hint=one.hint, line=one.line, column=one.column)
            for one in error.problems
        )
        return document(found, "what was sent cannot be used", **more)
    if found is HTTPStatus.SERVICE_UNAVAILABLE:
        more["retry_after"] = getattr(error, "retry_after", RETRY_SECONDS)
    return document(found, str(error), **more)
