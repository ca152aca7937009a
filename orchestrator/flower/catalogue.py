"""The table of the API: which method and address does what, with which query, body and answer. Routes, checks and the
OpenAPI document are made from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from orchestrator.fields import Frozen
from orchestrator.flower import messages, operations
from orchestrator.views.models import ConflictView, RunView

PARTS = {
    "run": r"[A-Za-z0-9_-]{1,64}",
    "step": r"[A-Za-z0-9_-]{1,64}",
    "conflict": r"[A-Za-z0-9_-]{1,64}",
    "message": r"[0-9]{1,20}-[0-9]{1,20}",
    "version": r"[A-Za-z0-9_:.-]{1,128}",
}
"""What may stand for a part of an address. Nothing else reaches an operation, or a key in the store."""


class Operation(Struct, frozen=True):
    """`path` is behind the API's own; `does` is called with an `operations.Call` and its docstring is told. `answer` is
    the model of what it returns, sent with `status`. `fails` are statuses beside those that every operation has."""

    method: str
    path: str
    does: Callable[[Any], Frozen]
    answer: type[Frozen]
    query: type[Frozen] = messages.Nothing
    body: type[Frozen] | None = None
    status: int = 200
    fails: tuple[int, ...] = ()


_RUN, _STEP = "/{run}", "/{run}/steps/{step}"
OPERATIONS = (
    Operation("GET", "", operations.list_runs, messages.RunList, query=messages.ListQuery),
    Operation("POST", "", operations.submit, messages.Accepted, body=messages.Submission, status=202, fails=(404, 409)),
    Operation("GET", "/definitions", operations.list_definitions, messages.DefinitionList),
    Operation("GET", "/dead-letters", operations.list_dead_letters, messages.DeadLetters),
    Operation("POST", "/dead-letters/steps/{run}/{step}/drop", operations.drop_dead_step, messages.Nothing,
              body=messages.Nothing, fails=(404,)),
    Operation("POST", "/dead-letters/messages/{message}/drop", operations.drop_dead_message, messages.Nothing,
              body=messages.Nothing, fails=(404,)),
    Operation("GET", _RUN, operations.show_run, RunView, query=messages.RunQuery, fails=(404,)),
    Operation("POST", f"{_RUN}/cancel", operations.cancel, messages.RunAnswer, body=messages.CancelRequest,
              fails=(404, 409)),
    Operation("POST", f"{_RUN}/pause", operations.pause, messages.RunAnswer, body=messages.Nothing, fails=(404, 409)),
    Operation("POST", f"{_RUN}/resume", operations.resume, messages.RunAnswer, body=messages.Nothing, fails=(404, 409)),
    Operation("POST", f"{_RUN}/retry", operations.retry, messages.RunAnswer, body=messages.RetryRequest,
              fails=(404, 409)),
    Operation("POST", f"{_RUN}/conflicts/{{conflict}}/resolve", operations.resolve, ConflictView,
              body=messages.ResolveRequest, fails=(404, 409)),
    Operation("GET", f"{_RUN}/inputs", operations.run_inputs, messages.Values, fails=(404,)),
    Operation("GET", f"{_STEP}/log", operations.step_log, messages.StepLog, query=messages.LogQuery, fails=(404,)),
    Operation("GET", f"{_STEP}/output", operations.step_output, messages.Values, fails=(404,)),
    Operation("GET", f"{_STEP}/artifact", operations.step_artifact, messages.File, query=messages.FileQuery,
              fails=(404,)),
    Operation("GET", f"{_RUN}/versions", operations.versions, messages.VersionList, fails=(404,)),
    Operation("GET", f"{_RUN}/versions/{{version}}", operations.version, messages.Values, fails=(404,)),
    Operation("GET", f"{_RUN}/diff", operations.diff, messages.DifferenceList, query=messages.DiffQuery, fails=(404,)),
)  # fmt: skip
