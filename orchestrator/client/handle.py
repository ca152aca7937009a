"""One run, as a service sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestrator import keys
from orchestrator.cache.levels import Level
from orchestrator.client.watch import Watch
from orchestrator.connection import BLOCK_SECONDS, guarded
from orchestrator.context.lock_models import LockStatus
from orchestrator.context.locks import Locks
from orchestrator.context.merge_models import ABSENT
from orchestrator.context.models import ContextConflict, Difference, Version
from orchestrator.engine import decisions, milestones, patterns, steering
from orchestrator.engine.runtime import message_limits, runtime_of
from orchestrator.errors import OrchestratorError, WaitTimeout
from orchestrator.messages.channel import BLOCK_MS, Channel, look
from orchestrator.messages.cursor import Cursor
from orchestrator.messages.models import Event
from orchestrator.run.models import FINAL_RUN_STATES, LogLine, RunState, RunStatus

if TYPE_CHECKING:
    from orchestrator.client.blocking import Client


class RunHandle:
    """One run. Every method asks the store; nothing is cached."""

    def __init__(self, client: Client, run_id: str) -> None:
        self._client = client
        self.id = run_id

    def __repr__(self) -> str:
        return f"RunHandle({self.id!r})"

    def status(self) -> RunStatus:
        """The run and all its steps."""
        return self._client.reader.status(self.id)

    def wait(self, timeout: float | None = None) -> RunStatus:
        """Block until the run has ended in any way; `timeout` in seconds. Raises WaitTimeout: the run goes on.

        Woken by Redis, it does not poll. Not for use inside an event loop: there `AsyncClient` waits.
        """
        refuse_in_event_loop()
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ended(deadline):
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(f"run {self.id} has not ended within {timeout:g} s")
        return self.status()

    def _ended(self, deadline: float | None) -> bool:
        if self._client.reader.state(self.id) in FINAL_RUN_STATES:
            return True
        left = BLOCK_MS if deadline is None else max(1, min(BLOCK_MS, int((deadline - time.monotonic()) * 1000)))
        with guarded():
            entry = self._client.waiting.xread({keys.run_key(self.id, "end"): "0"}, count=1, block=left)
        return bool(entry)

    def result(self) -> dict[str, Any]:
        """Step id -> the document that it wrote. Complete when the run has ended."""
        return self._client.contexts.outputs(self.id)

    def items(self, step: str = patterns.STEP) -> Iterator[Any]:
        """The results of a mapped step in the order of its items, read chunk by chunk; that of a merge or reduce
        alone."""
        return patterns.results(runtime_of(self._client.app), self.id, step)

    def context(self, version: int | str | None = None) -> dict[str, Any]:
        """Section -> document: the shared context as the latest version has it, or one by its number or by the name of
        its snapshot (`barrier:<group>`). Raises NotFound."""
        client, contexts = self._client, self._client.contexts
        client.reader.state(self.id)
        cache = client.caches[Level.CONTEXT_SNAPSHOT]
        return milestones.documents(client.redis, contexts, cache, self.id, contexts.number(self.id, version))

    def marks(self, version: int | str | None = None) -> dict[str, str]:
        """Field of the context -> `filled:<impact>`, for every value that a barrier filled in. Raises NotFound."""
        contexts = self._client.contexts
        self._client.reader.state(self.id)
        return contexts.marks(self.id, contexts.number(self.id, version))

    def history(self, limit: int = 100) -> list[Version]:
        """The versions of the context that are kept, the newest first."""
        self._client.reader.state(self.id)
        return self._client.contexts.history(self.id, limit)

    def diff(self, a: int | str, b: int | str) -> list[Difference]:
        """What changed in the context from one version to another. Raises NotFound."""
        contexts = self._client.contexts
        self._client.reader.state(self.id)
        return contexts.diff(self.id, contexts.number(self.id, a) or 0, contexts.number(self.id, b) or 0)

    def restore(self, version: int | str) -> int:
        """Make the context what it was, as a new version, whose number is returned. Running attempts go on reading what
        they have read. Raises NotFound."""
        contexts = self._client.contexts
        self._client.reader.state(self.id)
        return contexts.restore(self.id, contexts.number(self.id, version) or 0)

    def locks(self) -> dict[str, LockStatus]:
        """Section of the context -> its lock: who holds it, who waits, and how long it was waited for."""
        self._client.reader.state(self.id)
        return Locks(self._client.redis, self.id).status()

    def conflicts(self) -> list[ContextConflict]:
        """What the steps of the run wrote that could not be merged; those that are `open` wait for `resolve`."""
        self._client.reader.state(self.id)
        return self._client.contexts.conflicts(self.id)

    def resolve(self, conflict_id: str, choice: str | None = None, *, value: Any = ABSENT) -> ContextConflict:
        """Decide an open conflict: for the side `ours`, `theirs` or `base`, or for a value at its place. With the last
        open one the run goes on. Raises NotFound, InvalidValue, RunStateError."""
        client = self._client
        return decisions.resolve(client.app, client._ledger, client.contexts, self.id, conflict_id, choice, value=value)

    def artifacts(self) -> dict[str, bytes]:
        """`<step>/<name>` -> content of every file that the steps kept."""
        return self._client.reader.files(self.id)

    def logs(self, step: str, attempt: int | None = None) -> list[LogLine]:
        """What the attempts of a step logged, oldest first."""
        return self._client.reader.logs(self.id, step, attempt)

    def events(self, after: str = "0", *, follow: bool = True) -> Iterator[Event]:
        """Changes of the run, from the one behind `after` on; with `follow` until the run has ended. A MissedEvent
        stands for those that are not kept any more: read the state anew."""
        refuse_in_event_loop()
        cursor = Cursor(keys.run_key(self.id, "events"), after)
        wait = follow
        self._client.reader.state(self.id)
        while True:
            found = look(self._client.waiting, cursor, BLOCK_MS if wait else None)
            for event in found:
                yield event
                wait = follow and not event.ends_run
            if not found:
                if not follow or self._client.reader.state(self.id) in FINAL_RUN_STATES:
                    return
                wait = True  # it had ended, and was retried

    def watch(self) -> Iterator[RunStatus]:
        """The run as it is now, and again whenever something has happened to it, until it has ended. Changes that come
        together are one."""
        refuse_in_event_loop()
        watch = self.watching()
        yield watch.status
        while not watch.status.ended:
            changed = watch.wait(BLOCK_SECONDS)
            if changed is not None:
                yield changed

    def watching(self) -> Watch:
        """The same, for whoever has other things to do in between. Raises NotFound."""
        return Watch(self._client.waiting, self._client.reader, self.id)

    @property
    def messages(self) -> Channel:
        """What the agents of the run tell each other, and services tell them."""
        return Channel(self._client.waiting, self.id, message_limits(self._client.settings))

    def cancel(self, reason: str = "") -> RunState:
        """Cancel the run: what waits is cancelled now, what runs gets the grace period. Raises RunStateError when it
        has ended."""
        client = self._client
        return steering.cancel(client.app, client._ledger, self.id, reason, client.settings.engine.cancel_grace)

    def pause(self) -> RunState:
        """Nothing of the run starts from now on; what runs goes on to its end. Raises RunStateError when it has ended
        or is being cancelled."""
        return steering.pause(self._client.app, self._client._ledger, self.id)

    def resume(self) -> RunState:
        """Let a paused run go on; one that is not paused does anyway. Raises RunStateError when it has ended."""
        return steering.resume(self._client.app, self._client._ledger, self.id)

    def retry(self, step: str | None = None, *, failed: bool = False) -> RunState:
        """Begin anew: from `step`, from all steps that ended badly (`failed`), or from the start. What comes behind
        those runs again too; other good steps stay. Raises NotFound, RunStateError."""
        return steering.retry(self._client.app, self._client._ledger, self.id, step, failed=failed)


def refuse_in_event_loop() -> None:
    """Raises OrchestratorError where blocking would hold up others."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise OrchestratorError("this call would block the running event loop; use orchestrator.AsyncClient here")
