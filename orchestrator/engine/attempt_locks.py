"""The locks of one attempt: those that its agent takes, and those that its workflow declares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from celery import Celery

from orchestrator import keys
from orchestrator.connection import connect_async
from orchestrator.context.lock_models import Holder, Lock, Request
from orchestrator.context.locks import Locks
from orchestrator.context.reader import ContextReader
from orchestrator.engine import recovery
from orchestrator.engine.runtime import runtime_of
from orchestrator.errors import AgentError, LeaseLost


class AttemptLocks:
    """Taken, kept until what was written under them is committed, and released. Raises as `Locks.acquire`."""

    def __init__(
        self, app: Celery, run_id: str, definition: Mapping[str, Any], token: int, reader: ContextReader
    ) -> None:
        self._app = app
        self._run_id = run_id
        self._definition = definition
        self._reader = reader
        self._token = token
        self._kept: dict[str, Lock] = {}

    @cached_property
    def _locks(self) -> Locks:  # most attempts ask for none
        return runtime_of(self._app).locks(self._run_id)

    @cached_property
    def _holder(self) -> Holder:
        group = self._definition.get("group")
        node = keys.barrier_node(group) if group else ""
        return Holder(self._definition["id"], self._token, runtime_of(self._app).owner, node)

    @property
    def tokens(self) -> dict[str, int]:
        """Section -> fencing token, of the locks under which something was written."""
        return {section: lock.token for section, lock in self._kept.items()}

    def take(self, section: str, write: bool, timeout: float | None) -> Lock:
        """Take a section's lock; one that was declared, or kept for what was written under it, is there already."""
        held = self._held(section, write)
        return held or self._taken(self._locks.obtain(self._request(section, write, timeout)))

    async def take_async(self, section: str, write: bool, timeout: float | None) -> Lock:  # noqa: ASYNC109 - as above
        """The same, without holding up the event loop."""
        held = self._held(section, write)
        if held is not None:
            return held
        client = connect_async(runtime_of(self._app).store_url)
        try:
            return self._taken(await self._locks.obtain_async(self._request(section, write, timeout), client))
        finally:
            await client.aclose()

    def release(self, lock: Lock, wrote: bool) -> None:
        """Release a lock, unless it is declared, or something was written under it: then it is kept until that is
        committed."""
        if wrote:
            self._kept[lock.section] = lock
        elif lock.section not in self._kept and lock.request:
            recovery.admit(self._app, self._run_id, self._locks.release(lock))

    def _held(self, section: str, write: bool) -> Lock | None:
        declared = self._definition.get("locks", {}).get(section)
        of_group = self._definition.get("group_locks", {}).get(section)
        if write and "read" in (declared, of_group):
            whose = f"step '{self._holder.step}'" if declared == "read" else f"group '{self._definition['group']}'"
            raise AgentError(f"{whose} locks '{section}' to read; to write it, declare `{section}: write`")
        if declared is not None:
            lock = self._locks.declared(section, self._holder.step)
            if lock is None:
                raise LeaseLost(f"attempt {self._holder.token} of step '{self._holder.step}' is over, and its locks")
            return lock
        kept = self._kept.get(section)
        if kept is not None:
            self._locks.extend(kept)
        return kept

    def _request(self, section: str, write: bool, timeout: float | None) -> Request:
        covered = section in self._definition.get("group_locks", {})
        priority = self._definition["priority"]
        return self._locks.request(
            section, self._holder, write=write, priority=priority, timeout=timeout, covered=covered
        )

    def _taken(self, lock: Lock) -> Lock:
        if "group" not in self._definition:  # members of a group write to branches, which their barrier merges
            self._reader.refresh(lock.section)
        return lock
