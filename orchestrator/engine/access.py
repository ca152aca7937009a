"""What an attempt may read and write: from the workflow, the agent's declaration, and the deployment's ownership."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.context.ownership import Access
from orchestrator.errors import OwnershipError

if TYPE_CHECKING:
    from orchestrator.engine.runtime import Runtime


class StepAccess(Struct, frozen=True):
    """The rules for one step of a run. `is_step` tells whether a name is the id of a step of that run, and `agent_of`
    which agent works it; both are asked only where the rules alone do not settle it."""

    rules: Access
    is_step: Callable[[str], bool]
    agent_of: Callable[[str], str | None] = lambda step: None

    def may_read(self, path: str) -> None:
        """Raises OwnershipError, naming the rule. Agents declare what they read by the names of agents."""
        try:
            self.rules.may_read(path)
        except OwnershipError:
            section, dot, rest = path.partition(".")
            if not dot and section not in self.rules.owners and not self.is_step(section):
                return  # it can only be an input of the workflow, given or not
            agent = self.agent_of(section)
            if self.rules.agent_reads is None or agent in (None, section):
                raise
            self.rules.model_copy(update={"agent_reads": None}).may_read(path)
            self.rules.model_copy(update={"reads": None}).may_read(f"{agent}{dot}{rest}")

    def can_read(self, path: str) -> bool:
        """Whether `may_read` lets the path pass."""
        try:
            self.may_read(path)
        except OwnershipError:
            return False
        return True

    def may_write(self, path: str) -> None:
        """Raises OwnershipError, naming the rule."""
        self.rules.may_write(path, is_step=self.is_step)

    def absolute(self, path: str) -> str:
        """Where the step writes when it says `path`."""
        return self.rules.absolute(path)

    def place(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result of the step as it is kept: whole under the one key that its write list names, unless it names it
        itself. Raises OwnershipError for keys that the step may not write."""
        key = self.rules.place
        if key is not None and key not in document:
            document = {key: document}
        for name in document:
            self.may_write(f"{self.rules.step}.{name}")
        return document


def rules_of(
    definition: Mapping[str, Any],
    owners: Mapping[str, str],
    agent_reads: tuple[str, ...] | None,
    agent_writes: tuple[str, ...] | None,
) -> Access:
    """The rules for a step, from the definition that travels with it and what its agent declares."""
    reads, writes = definition.get("read"), definition.get("write")
    return Access(
        step=definition["id"],
        agent=definition["agent"],
        reads=None if reads is None else tuple(reads),
        writes=None if writes is None else tuple(writes),
        agent_reads=agent_reads,
        agent_writes=agent_writes,
        inputs=tuple(definition.get("inputs", ())),
        word=definition.get("access", ""),
        owners=owners,
    )


def step_access(
    runtime: Runtime,
    run_id: str,
    definition: Mapping[str, Any],
    agent_reads: tuple[str, ...] | None,
    agent_writes: tuple[str, ...] | None,
) -> StepAccess:
    """The rules for a step as this deployment has them."""
    defs, client = keys.run_key(run_id, "defs"), runtime.client

    def is_step(name: str) -> bool:
        with guarded():
            return bool(client.hexists(defs, name))

    def agent_of(name: str) -> str | None:
        with guarded():
            text = cast("bytes | None", client.hget(defs, name))
        return None if text is None else str(json.loads(text).get("agent", ""))

    return StepAccess(rules_of(definition, runtime.owners, agent_reads, agent_writes), is_step, agent_of)
