"""Who may do what: Flower's own rules, with answers that programs understand."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flower.views import BaseHandler
from tornado.web import HTTPError

from orchestrator.flower.problems import MEDIA_TYPE, ProblemDocument, document, problem_of
from orchestrator.flower.service import Service, service_of

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Handler(BaseHandler):  # type: ignore[misc]
    """What our pages and our API have in common."""

    @property
    def service(self) -> Service:
        """What all handlers of this Flower share."""
        return service_of(self.application)

    @property
    def has_credentials(self) -> bool:
        """Whether this Flower asks for credentials at all."""
        options = self.application.options
        return bool(options.basic_auth or options.auth)

    @property
    def may_act(self) -> bool:
        """Whether requests that change something are taken: as Flower's API does, not without credentials."""
        return (self.has_credentials or bool(self.unauthenticated_api)) and not self.application.options.read_only


class ApiHandler(Handler):
    """Answers with JSON. `open_reading`: the pages' own way to the data, which may be read wherever pages may be;
    the API itself needs credentials, unless FLOWER_UNAUTHENTICATED_API says otherwise."""

    def initialize(self, *, open_reading: bool = False) -> None:
        self._open_reading = open_reading

    def prepare(self) -> None:
        reading = self.request.method in READING
        if not self.current_user:
            raise HTTPError(HTTPStatus.UNAUTHORIZED)
        if not (self.has_credentials or self.unauthenticated_api or (reading and self._open_reading)):
            raise HTTPError(
                HTTPStatus.UNAUTHORIZED,
                "this Flower has no credentials configured; set FLOWER_BASIC_AUTH, or FLOWER_UNAUTHENTICATED_API=true",
            )
        if not reading and self.application.options.read_only:
            raise HTTPError(HTTPStatus.FORBIDDEN, "this Flower is read-only")

    def send(self, body: str | bytes, status: int = HTTPStatus.OK) -> None:
        """Answer with a JSON text. What is shown of a run changes: nobody keeps it."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A problem document, whatever went wrong."""
        error = kwargs["exc_info"][1] if kwargs.get("exc_info") else None
        found = problem_of(error) if error is not None else None
        if found is None:
            told = error.log_message if isinstance(error, HTTPError) and status_code < 500 else ""
            found = document(status_code, told or "")
        self.problem(found)

    def problem(self, found: ProblemDocument) -> None:
        """Answer with a problem document."""
        self.set_status(found.status)
        if found.status == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        if found.retry_after is not None:
            self.set_header("Retry-After", str(max(1, round(found.retry_after))))
        self.set_header("Content-Type", MEDIA_TYPE)
        self.set_header("Cache-Control", "no-store")
        told = found.model_copy(update={"instance": self.request.path})
        self.finish(told.model_dump_json(exclude_defaults=True))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if problem_of(value) is None:
            super().log_exception(typ, value, tb)
