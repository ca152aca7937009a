"""What an agent's context rests on: a consistent version of what it reads, and the way to its run; and both for a test
of an agent, without Celery and Redis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.context.lock_models import Holder, Lock
from orchestrator.errors import AgentError

if TYPE_CHECKING:
    from orchestrator.workflow.builder import Workflow


class Snapshot(Protocol):
    """One consistent version of the run's context."""

    def fetch(self, names: Sequence[str]) -> None:
        """Bring in sections and fields (`<section>.<key>`) at once."""
        ...

    def section(self, name: str) -> Mapping[str, Any] | None:
        """The document of a step's namespace or of a shared section, or None."""
        ...

    def field(self, name: str, absent: Any = None) -> Any:
        """The value of `<section>.<key>`."""
        ...

    def mark(self, name: str) -> str:
        """`draft`, `filled:<quality impact>`, or empty."""
        ...


class Link(Protocol):
    """The way from an attempt to the run that it belongs to."""

    def progress(self, fraction: float, message: str) -> None: ...

    def cancelled(self) -> bool: ...

    def publish(self, field: str, value: Any) -> None: ...

    def lock(self, section: str, write: bool, timeout: float | None) -> Lock: ...

    async def alock(self, section: str, write: bool, timeout: float | None) -> Lock: ...  # noqa: ASYNC109

    def unlock(self, lock: Lock, wrote: bool) -> None: ...

    def pattern(self, workflow: Workflow, items: Iterable[Any] | None) -> Iterator[Any]: ...


class Documents:
    """A snapshot that is given."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self._documents = documents

    def fetch(self, names: Sequence[str]) -> None:
        return None

    def section(self, name: str) -> Mapping[str, Any] | None:
        return self._documents.get(name)

    def field(self, name: str, absent: Any = None) -> Any:
        section, _, key = name.partition(".")
        return self._documents.get(section, {}).get(key, absent)

    def mark(self, name: str) -> str:
        return ""


class NoLink:
    """No run: nothing is cancelled, every lock is free."""

    def progress(self, fraction: float, message: str) -> None:
        return None

    def cancelled(self) -> bool:
        return False

    def publish(self, field: str, value: Any) -> None:
        return None

    def lock(self, section: str, write: bool, timeout: float | None) -> Lock:
        return Lock(section, Holder("test", 1), write, 1, 0.0, "")

    async def alock(self, section: str, write: bool, timeout: float | None) -> Lock:  # noqa: ASYNC109
        return self.lock(section, write, timeout)

    def unlock(self, lock: Lock, wrote: bool) -> None:
        return None

    def pattern(self, workflow: Workflow, items: Iterable[Any] | None) -> Iterator[Any]:
        raise AgentError("patterns need workers; test the agent of the items by itself")
