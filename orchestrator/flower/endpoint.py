"""One address of the API: reads the request, calls the operation in a thread, sends what it returns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from tornado.web import HTTPError, stream_request_body

from orchestrator.fields import Frozen
from orchestrator.flower.access import ApiHandler
from orchestrator.flower.bodies import BODY_BYTES, read_body, read_query
from orchestrator.flower.catalogue import Operation
from orchestrator.flower.messages import Accepted, File, Nothing
from orchestrator.flower.openapi import openapi
from orchestrator.flower.operations import Call
from orchestrator.flower.problems import Rejected

_KEY = re.compile(r"[!-~]{1,255}")


@stream_request_body
class Endpoint(ApiHandler):
    """`operations` are those of this address by method, `base` is the name of the route of the API's root."""

    def initialize(  # type: ignore[override]
        self, *, operations: Mapping[str, Operation], base: str, open_reading: bool = False
    ) -> None:
        super().initialize(open_reading=open_reading)
        self._operations = operations
        self._base = base
        self._body = bytearray()

    def check_xsrf_cookie(self) -> None:
        """Checked by `admit`: who is nobody is told that first."""

    def prepare(self) -> None:
        """Refuse a large body at once to a client that waits for leave to send it. Any other one is busy sending, and
        would see its connection break instead of the answer."""
        declared = self.request.headers.get("Content-Length", "")
        if "Expect" in self.request.headers and declared.isdecimal() and int(declared) > BODY_BYTES:
            raise Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {BODY_BYTES:,} bytes")

    def data_received(self, chunk: bytes) -> None:
        """What is beyond the limit is not kept, and refused when it has all come."""
        if len(self._body) <= BODY_BYTES:
            self._body += chunk

    async def get(self, **path: str) -> None:
        await self._do(path)

    async def post(self, **path: str) -> None:
        await self._do(path)

    async def _do(self, path: Mapping[str, str]) -> None:
        operation = self._operations.get(self.request.method or "")
        if operation is None:
            raise HTTPError(HTTPStatus.METHOD_NOT_ALLOWED)
        self.admit()
        if len(self._body) > BODY_BYTES:
            raise Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {BODY_BYTES:,} bytes")
        done = await self.service.call(self._called, operation, path)
        if isinstance(done, File):
            self.send_file(done)
        else:
            self.send(*done)

    def _called(self, operation: Operation, path: Mapping[str, str]) -> File | tuple[str, int, str | None]:
        """In a thread: the answer, its status, and where what was made is."""
        request, service = self.request, self.service
        body: Frozen = Nothing()
        if operation.body is not None:
            body = read_body(bytes(self._body), request.headers.get("Content-Type", ""), operation.body)
        call: Call[Any, Any] = Call(
            client=service.client,
            views=service.views,
            path=path,
            query=read_query(request.query_arguments, operation.query),
            body=body,
            api=self.reverse_url(self._base),
            idempotency_key=self._idempotency_key(),
        )
        answer = operation.does(call)
        if isinstance(answer, File):
            return answer
        location = answer.url if isinstance(answer, Accepted) else None
        return answer.model_dump_json(), operation.status, location

    def _idempotency_key(self) -> str | None:
        key: str | None = self.request.headers.get("Idempotency-Key")
        if key is not None and not _KEY.fullmatch(key):
            raise Rejected(
                HTTPStatus.BAD_REQUEST, "an Idempotency-Key has 1 to 255 printable ASCII characters and no blanks"
            )
        return key

    def methods(self) -> tuple[str, ...]:
        return (*self._operations, "OPTIONS")


class Description(ApiHandler):
    """`GET openapi.json`: what the API can do, as an OpenAPI document."""

    def initialize(self, *, base: str, open_reading: bool = False) -> None:  # type: ignore[override]
        super().initialize(open_reading=open_reading)
        self._base = base

    async def get(self) -> None:
        self.admit()
        self.send(await self.service.call(_described, self.reverse_url(self._base)))


@cache
def _described(api: str) -> str:
    return json.dumps(openapi(api))


class Unknown(ApiHandler):
    """What is below the API's address and is nothing."""

    def check_xsrf_cookie(self) -> None:
        """Nothing is changed here."""

    def prepare(self) -> None:
        self.admit()
        raise HTTPError(HTTPStatus.NOT_FOUND, "there is nothing at this address")
