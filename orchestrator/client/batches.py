"""Submissions in batches, for services whose requests each start a run: a handler for `orchestrator.batch`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from orchestrator.batch.lane import PASSING
from orchestrator.batch.threads import Handler
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.client.blocking import Client
    from orchestrator.client.handle import RunHandle


@dataclass(frozen=True, slots=True)
class Submission:
    """A run to start, as `Client.submit` takes it. Without an idempotency key it gets one of its own, so that it is not
    started twice when its batch has to be sent again."""

    workflow: Any
    inputs: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    sequential: bool | None = None
    _own_key: str = field(default_factory=lambda: token_hex(16), init=False, repr=False)

    @property
    def key(self) -> str:
        return self.idempotency_key or self._own_key

    @property
    def alike(self) -> Hashable:
        """What those have in common that are prepared together."""
        return (self.workflow if isinstance(self.workflow, str) else id(self.workflow)), self.sequential


def submissions(client: Client) -> Handler[Submission, RunHandle]:
    """Those of one workflow go in a few round trips; one that is invalid is refused alone."""

    def start(some: Sequence[Submission]) -> Sequence[RunHandle]:
        first = some[0]
        return client.submit_many(
            first.workflow, [one.inputs for one in some], idempotency_keys=[one.key for one in some],
            sequential=first.sequential,
        )  # fmt: skip

    def apart(some: Sequence[Submission]) -> Sequence[RunHandle | BaseException]:
        try:
            return start(some)
        except Exception as error:  # noqa: BLE001 - the outcome of those that it belongs to
            if len(some) == 1 or isinstance(error, PASSING) or not isinstance(error, OrchestratorError):
                return [error] * len(some)
            middle = len(some) // 2
            return [*apart(some[:middle]), *apart(some[middle:])]

    def handle(batch: Sequence[Submission]) -> Sequence[RunHandle | BaseException]:
        groups: dict[Hashable, list[int]] = {}
        for place, one in enumerate(batch):
            groups.setdefault(one.alike, []).append(place)
        found: dict[int, RunHandle | BaseException] = {}
        for places in groups.values():
            found |= zip(places, apart([batch[place] for place in places]), strict=True)
        return [found[place] for place in range(len(batch))]

    return handle
