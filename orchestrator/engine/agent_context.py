"""What an agent is called with: consistent reads, buffered writes, progress, files and a log of its own."""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from orchestrator.errors import InvalidValue, MissingInput, OwnershipError
from orchestrator.processes import run_tied

_ABSENT = object()
_PATH = re.compile(r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")


class Snapshot(Protocol):
    """One consistent version of the run's context."""

    def namespace(self, name: str) -> Mapping[str, Any] | None:
        """The document that the step of that id has committed, or None."""
        ...


class Link(Protocol):
    """The way from an attempt to the run that it belongs to."""

    def progress(self, fraction: float, message: str) -> None: ...

    def cancelled(self) -> bool: ...


class _Documents:
    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self._documents = documents

    def namespace(self, name: str) -> Mapping[str, Any] | None:
        return self._documents.get(name)


class _NoLink:
    def progress(self, fraction: float, message: str) -> None:
        return None

    def cancelled(self) -> bool:
        return False


class AgentContext:
    """One attempt, as its agent sees it. Everything written is kept back until the attempt succeeds."""

    def __init__(
        self,
        *,
        run_id: str,
        step_id: str,
        agent: str,
        attempt: int,
        params: Mapping[str, Any],
        inputs: Mapping[str, Any],
        snapshot: Snapshot,
        link: Link,
        templates: Iterable[Path] = (),
    ) -> None:
        self.run_id = run_id
        self.step_id = step_id
        self.agent = agent
        self.attempt = attempt
        self.params = params
        self.inputs = inputs
        self.log = logging.getLogger(f"agent.{agent}")
        self.writes: dict[str, Any] = {}
        self.artifacts: dict[str, bytes] = {}
        self._snapshot = snapshot
        self._link = link
        self._templates = tuple(templates)

    @classmethod
    def for_test(
        cls,
        *,
        inputs: Mapping[str, Any] | None = None,
        context: Mapping[str, Mapping[str, Any]] | None = None,
        params: Mapping[str, Any] | None = None,
        step_id: str = "step",
        attempt: int = 1,
        templates: Iterable[Path] = (),
    ) -> AgentContext:
        """A context without Celery and Redis: `context` maps step ids to what they have written."""
        return cls(
            run_id="test",
            step_id=step_id,
            agent=step_id,
            attempt=attempt,
            params=params or {},
            inputs=inputs or {},
            snapshot=_Documents(context or {}),
            link=_NoLink(),
            templates=templates,
        )

    # -- the shared context -------------------------------------------------------------------------------------

    def read(self, path: str, default: Any = _ABSENT) -> Any:
        """The value at `pm.user_stories` or of the workflow input of that name, as one consistent snapshot has it.

        Raises MissingInput when nothing is there and no default is given.
        """
        value = self._find(path)
        if value is not _ABSENT:
            return value
        if default is not _ABSENT:
            return default
        raise MissingInput(f"step '{self.step_id}' reads '{path}', which nobody has written and no input gives")

    def get(self, path: str, default: Any = None) -> Any:
        """Like `read`, with None for what is missing."""
        return self.read(path, default)

    def _find(self, path: str) -> Any:
        if not _PATH.match(path):
            raise InvalidValue(f"'{path}' is no context path; write names joined by dots, such as pm.user_stories")
        namespace, *keys = path.split(".")
        value: Any = self._snapshot.namespace(namespace)
        if value is not None:
            for key in keys:
                value = value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT
                if value is _ABSENT:
                    break
            if value is not _ABSENT:
                return value
        return self.inputs.get(path, _ABSENT)

    def write(self, path: str, value: Any) -> None:
        """Buffer a value under the step's own namespace (`ui_spec` or `<step id>.ui_spec`).

        It becomes visible when the attempt succeeds, together with everything else the attempt wrote.
        Raises OwnershipError for a path outside the namespace.
        """
        if not _PATH.match(path):
            raise InvalidValue(f"'{path}' is no context path; write names joined by dots, such as pm.user_stories")
        namespace, _, rest = path.partition(".")
        if rest and namespace != self.step_id:
            raise OwnershipError(
                f"step '{self.step_id}' may not write '{path}': a step owns its own namespace '{self.step_id}.*'"
            )
        keys = (rest or path).split(".")
        target = self.writes
        for key in keys[:-1]:
            target = target.setdefault(key, {})
        target[keys[-1]] = value

    # -- signs of life ------------------------------------------------------------------------------------------

    def progress(self, fraction: float, message: str = "") -> None:
        """Say how far the work is, from 0 to 1. Progress is what extends a timeout."""
        self._link.progress(min(1.0, max(0.0, float(fraction))), message)

    @property
    def cancelled(self) -> bool:
        """True once the run is being cancelled or this attempt has been replaced: stop as soon as you can."""
        return self._link.cancelled()

    # -- files, templates, commands -------------------------------------------------------------------------------

    def artifact(self, name: str, content: str | bytes) -> None:
        """Keep a file as a result of the run. `name` is relative, with `/` between folders.

        Raises InvalidValue for a name that is empty, absolute or leaves its folder.
        """
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
            raise InvalidValue(f"'{name}' is no usable artifact name; write a relative path such as design/api.json")
        self.artifacts[str(PurePosixPath(name))] = content.encode() if isinstance(content, str) else bytes(content)

    def render(self, template: str, **variables: Any) -> str:
        """Render a Jinja2 template of the declared folders, sandboxed; an undefined variable is an error."""
        from orchestrator.engine.templates import render

        return render(self._templates, template, variables)

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path | str | None = None,
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that ends with this attempt, whatever happens. Raises subprocess.TimeoutExpired."""
        return run_tied(command, timeout=timeout, cwd=cwd, env=env)
