"""Who may do what: Flower's own rules, with answers that programs understand."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from flower.views import BaseHandler
from tornado.web import HTTPError, RequestHandler

from orchestrator.flower.messages import FILE_TYPE, File
from orchestrator.flower.problems import MEDIA_TYPE, ProblemDocument, document, problem_of
from orchestrator.flower.service import Service, service_of

READING = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = "Bearer "


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

    def admit(self) -> None:
        """Let a request in, or raise HTTPError with 401 or 403. Whoever shows a token of ORCHESTRATOR_API_TOKENS is in;
        all others are asked for what Flower asks for, and, to change something, for the XSRF token as well: browsers
        add cookies and passwords by themselves, also to what another site makes them send."""
        reading = self.request.method in READING
        if not self._shows_token():
            if not self.current_user:
                raise HTTPError(HTTPStatus.UNAUTHORIZED)
            if not (self.has_credentials or self.unauthenticated_api or (reading and self._open_reading)):
                raise HTTPError(HTTPStatus.UNAUTHORIZED, "no credentials are configured: set FLOWER_BASIC_AUTH, or "
                                "ORCHESTRATOR_API_TOKENS, or FLOWER_UNAUTHENTICATED_API=true")  # fmt: skip
            if not reading:
                self._check_origin()
        if not reading and self.application.options.read_only:
            raise HTTPError(HTTPStatus.FORBIDDEN, "this Flower is read-only")

    def _shows_token(self) -> bool:
        given = self.request.headers.get("Authorization", "")
        if not given.startswith(_BEARER):
            return False
        token = given.removeprefix(_BEARER).strip().encode()
        known = [hmac.compare_digest(token, one.get_secret_value().encode()) for one in self.service.tokens]
        if not any(known):
            raise HTTPError(HTTPStatus.UNAUTHORIZED, "this token is not known")
        return True

    def _check_origin(self) -> None:
        site, origin = self.request.headers.get("Sec-Fetch-Site"), self.request.headers.get("Origin")
        if site not in (None, "same-origin", "none") or (origin and urlsplit(origin).netloc != self.request.host):
            raise HTTPError(HTTPStatus.FORBIDDEN, "another site has sent this request")
        if self.has_credentials:
            try:
                RequestHandler.check_xsrf_cookie(self)
            except HTTPError:
                told = "send the value of the cookie _xsrf as the header X-XSRFToken as well; programs send a token of "
                raise HTTPError(HTTPStatus.FORBIDDEN, told + "ORCHESTRATOR_API_TOKENS instead") from None

    def send(self, body: str, status: int = HTTPStatus.OK, location: str | None = None) -> None:
        """Answer with a JSON text. What is shown of a run changes: nobody keeps it."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        if location is not None:
            self.set_header("Location", location)
        self.finish(body)

    def send_file(self, file: File) -> None:
        """Answer with a file to save. An agent made it: no browser runs it or guesses what it is."""
        name = PurePosixPath(file.name).name
        self.set_header("Content-Type", FILE_TYPE)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("Cache-Control", "no-store")
        self.finish(file.content)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A problem document, whatever went wrong."""
        error = kwargs["exc_info"][1] if kwargs.get("exc_info") else None
        found = problem_of(error) if error is not None else None
        if found is None:
            told = error.get_message() if isinstance(error, HTTPError) and status_code < 500 else ""
            found = document(status_code, told or "")
        self.problem(found)

    def problem(self, found: ProblemDocument) -> None:
        """Answer with a problem document."""
        self.set_status(found.status)
        if found.status == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", 'Basic realm="flower"' if self.has_credentials else "Bearer")
        if found.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.methods()))
        if found.retry_after is not None:
            self.set_header("Retry-After", str(max(1, round(found.retry_after))))
        self.set_header("Content-Type", MEDIA_TYPE)
        self.set_header("Cache-Control", "no-store")
        told = found.model_copy(update={"instance": self.request.path})
        self.finish(told.model_dump_json(exclude_defaults=True))

    def methods(self) -> tuple[str, ...]:
        """What this address can be asked for."""
        return ("GET", "OPTIONS")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if problem_of(value) is None:
            super().log_exception(typ, value, tb)
