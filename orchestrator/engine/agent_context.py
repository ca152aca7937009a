"""What an agent is called with: consistent reads, buffered writes, progress, files and a log of its own."""

from __future__ import annotations

import copy
import logging
import re
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from orchestrator.context.lock_models import Lock
from orchestrator.context.ownership import Access
from orchestrator.engine.access import StepAccess
from orchestrator.engine.agent_link import Documents, Link, NoLink, Snapshot
from orchestrator.engine.agent_messages import AgentMessages, Memory, Post
from orchestrator.engine.agent_patterns import Patterns
from orchestrator.engine.templates import Templates
from orchestrator.errors import InvalidValue, MissingInput, OrchestratorError, OwnershipError
from orchestrator.messages.channel import Message
from orchestrator.processes import run_tied

ARTIFACTS = 4
"""All files of an attempt together may be so many times as large as one value."""

_ABSENT = object()
_NO_TEMPLATES = Templates()
_PATH = re.compile(r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")


def _parts(path: str) -> list[str]:
    if not _PATH.match(path):
        raise InvalidValue(f"'{path}' is no context path; write names joined by dots, such as pm.user_stories")
    return path.split(".")


def _put(target: dict[str, Any], keys: Sequence[str], value: Any, path: str) -> None:
    for key in keys[:-1]:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            raise InvalidValue(f"'{path}' leads into '{key}', which holds no mapping")
    target[keys[-1]] = value


class AgentContext(Patterns):
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
        access: StepAccess,
        templates: Templates = _NO_TEMPLATES,
        validates: Sequence[str] = (),
        validates_as: str = "",
        item: Any = None,
        index: int | None = None,
        post: Post,
    ) -> None:
        self.run_id = run_id
        self.step_id = step_id
        self.agent = agent
        self.attempt = attempt
        self.params = params
        self.inputs = inputs
        self.validates_as = validates_as
        """In a cross-validation, the agent's own step in the group; else empty."""
        self.item = item
        """In a mapped step, what this call is about: one item, or for a reduce and a merge the list of them."""
        self._index = index
        self.placed = False
        """Whether the agent has asked for its item's place."""
        self.writes: dict[str, Any] = {}
        """What goes to the step's own namespace, by key."""
        self.shared: dict[str, Any] = {}
        """What goes to shared sections, by field (`<section>.<key>`)."""
        self.artifacts: dict[str, bytes] = {}
        self.messages = AgentMessages(post, step_id, link.cancelled)
        """What this attempt tells other steps and services while it works, and hears from them."""
        self.rendered: set[str] = set()
        """Names of the templates that were rendered."""
        self._snapshot = snapshot
        self._link = link
        self.access = access
        """What this attempt may read and write."""
        self._templates = templates
        self._validates = tuple(validates)

    @property
    def log(self) -> logging.Logger:
        """What is logged with it is kept with the attempt."""
        return logging.getLogger(f"agent.{self.agent}")

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
        owns: Iterable[str] = (),
        validates: Sequence[str] = (),
        validates_as: str = "",
        item: Any = None,
        index: int | None = None,
        inbox: Sequence[Message] | Memory = (),
    ) -> AgentContext:
        """A context without Celery and Redis: `context` maps step ids and shared sections to what is written there,
        `owns` names the shared sections that the step may write. `item` and `index` are for agents of mapped steps.
        `inbox` are messages of others; a `Memory` of them has what the agent says, too."""
        return cls(
            run_id="test",
            step_id=step_id,
            agent=step_id,
            attempt=attempt,
            params=params or {},
            inputs=inputs or {},
            snapshot=Documents(context or {}),
            link=NoLink(),
            access=StepAccess(
                Access(step=step_id, agent=step_id, owners=dict.fromkeys(owns, step_id)), (context or {}).__contains__
            ),
            templates=Templates(tuple(templates)),
            validates=validates,
            validates_as=validates_as,
            item=item,
            index=index,
            post=inbox if isinstance(inbox, Memory) else Memory(inbox),
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

    def can_read(self, path: str) -> bool:
        """Whether this step may read the path: an agent that can do without something asks before it looks."""
        return path in self.inputs or self.access.can_read(path)

    def read_many(self, paths: Sequence[str]) -> dict[str, Any]:
        """The values at several paths, fetched together; those that nobody has written are left out."""
        self._snapshot.fetch([".".join(_parts(path)[:2]) for path in paths])
        found = {path: self._find(path) for path in paths}
        return {path: value for path, value in found.items() if value is not _ABSENT}

    def mark(self, path: str) -> str:
        """How a value came about: empty when its step has committed it, `filled:<quality impact>` when a default stands
        in for it, `draft` when its step has not finished."""
        return self._snapshot.mark(".".join(_parts(path)[:2]))

    def _find(self, path: str) -> Any:
        namespace, *keys = _parts(path)
        try:
            self.access.may_read(path)
        except OwnershipError:
            if path in self.inputs:
                return self.inputs[path]
            raise
        value: Any = self._snapshot.field(f"{namespace}.{keys[0]}", _ABSENT) if keys else _ABSENT
        if not keys:
            section = self._snapshot.section(namespace)
            value = _ABSENT if section is None else section
        for key in keys[1:]:
            value = value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        return self.inputs.get(path, _ABSENT) if value is _ABSENT else value

    def write(self, path: str, value: Any, *, publish: bool = False) -> None:
        """Buffer a value: under the step's own namespace (`ui_spec` or `<step id>.ui_spec`), or in a shared section
        that its agent owns (`requirements.functional`; what is not written there stays).

        It becomes visible when the attempt succeeds, together with everything else that it wrote. With `publish`, steps
        that want this one see it before, marked as a draft, until the attempt ends. Raises OwnershipError.
        """
        place = self.access.absolute(".".join(_parts(path)))
        self.access.may_write(place)
        section, *keys = place.split(".")
        if not keys and not isinstance(value, Mapping):
            raise InvalidValue(f"section '{section}' holds keys; write a mapping, or a value at {section}.<key>")
        parts = [(tuple(keys), value)] if keys else [((key,), item) for key, item in value.items()]
        for way, item in parts:
            field, kept = self._buffer(section, way, item, path)
            if publish:
                self._link.publish(field, kept)

    def _buffer(self, section: str, keys: Sequence[str], value: Any, path: str) -> tuple[str, Any]:
        key, *deeper = keys
        field = f"{section}.{key}"
        target, name = (self.writes, key) if section == self.step_id else (self.shared, field)
        if deeper and name not in target and section != self.step_id:
            target[name] = copy.deepcopy(self._snapshot.field(field, {}))
        _put(target, [name, *deeper], value, path)
        return field, target[name]

    @contextmanager
    def lock(self, section: str, *, write: bool = False, timeout: float | None = None) -> Iterator[Lock]:
        """Hold a section of the context: alone to `write`, else together with other readers.

        Inside, the section is read as it is now (in a group, as the group began). If the attempt writes to it, the lock
        is kept until that is committed with the attempt's end. `timeout` (seconds) bounds the wait; the deployment's
        `lock_timeout` is the default. Raises LockTimeout, and LeaseLost when the lease was over before the end;
        AgentError for a lock that this attempt holds already, but for one that its workflow declares.
        """
        with self._holding(self._link.lock(section, write, timeout), section, write) as lock:
            yield lock

    @asynccontextmanager
    async def alock(
        self,
        section: str,
        *,
        write: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - as `lock`
    ) -> AsyncIterator[Lock]:
        """As `lock`, for agents that are coroutines: other coroutines of the attempt go on while it waits."""
        with self._holding(await self._link.alock(section, write, timeout), section, write) as lock:
            yield lock

    @contextmanager
    def _holding(self, lock: Lock, section: str, write: bool) -> Iterator[Lock]:
        try:
            yield lock
        except BaseException:
            with suppress(OrchestratorError):  # the agent's own error says more
                self._link.unlock(lock, False)
            raise
        self._link.unlock(lock, write and self._wrote(section))

    def _wrote(self, section: str) -> bool:
        prefix = f"{section}."
        return bool(section == self.step_id and self.writes) or any(field.startswith(prefix) for field in self.shared)

    @property
    def index(self) -> int | None:
        """The place of the item among all, from 0; None outside mapped steps."""
        self.placed = True
        return self._index

    @property
    def validates(self) -> tuple[str, ...]:
        """The steps whose work this one is there to check, as far as there is any."""
        self._snapshot.fetch(self._validates)
        return tuple(step for step in self._validates if self._snapshot.section(step) is not None)

    @property
    def _patterns(self) -> Link:
        return self._link

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

    def check_artifacts(self, limit: int) -> None:
        """Raises InvalidValue for a file above `limit` bytes, or when all together exceed ARTIFACTS times as much."""
        for name, content in self.artifacts.items():
            if len(content) > limit:
                raise InvalidValue(f"artifact '{name}' has {len(content):,} bytes; at most {limit:,} are kept")
        total = sum(map(len, self.artifacts.values()))
        if total > ARTIFACTS * limit:
            raise InvalidValue(f"the artifacts have {total:,} bytes together; at most {ARTIFACTS * limit:,} are kept")

    def render(self, template: str, **variables: Any) -> str:
        """Render a Jinja2 template of the declared folders, sandboxed, in a process with bounded time and memory; an
        undefined variable is an error. Variables are data, and never templates themselves. Raises TemplateFailed."""
        text = self._templates.render(template, variables)
        self.rendered.add(template)
        return text

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
