"""Templates as agents render them: in a process of its own, a few at a time on a host, and once for the same variables.

A render is work of the processor, and what it needs is not known before: so a host renders `concurrent_renders` at a
time, whichever worker asks, each in a child that may have MEMORY_BYTES and `render_timeout`. A child is kept for the
next render of its process, and leaves when there is none for a minute.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from orchestrator.cache.store import Cache
from orchestrator.engine.versions import digest_of
from orchestrator.errors import AgentError, OrchestratorError
from orchestrator.processes import die_with_parent

MEMORY_BYTES = 256_000_000
"""What a render may take beside the interpreter."""
LOOK_SECONDS = 1.0
"""How often a process looks whether templates have changed."""
_LENGTH = 8
_CHILD = Path(__file__).with_name("render_child.py")


class TemplateFailed(AgentError):
    """A template is missing, is wrong, uses a variable that was not given, or takes too much time or memory."""


@dataclass(frozen=True, slots=True)
class Templates:
    """The folders of a deployment's templates, and how they are rendered: `concurrent` at a time on this host, each for
    at most `timeout` seconds and `limit` characters. `cache` gives the place for what was rendered."""

    folders: tuple[Path, ...] = ()
    concurrent: int = 3
    timeout: float = 120.0
    limit: int = 8_000_000
    memory: int = MEMORY_BYTES
    cache: Callable[[], Cache] | None = field(default=None, repr=False)

    def render(self, template: str, variables: Mapping[str, Any]) -> str:
        """The text of `template`, a name relative to one of the folders. Raises TemplateFailed.

        Variables reach it as JSON: models as mappings, tuples and sets as lists, dates as texts.
        """
        try:
            given = to_json(variables, inf_nan_mode="constants")
        except (PydanticSerializationError, ValueError) as error:
            raise TemplateFailed(f"template '{template}': a variable is no JSON: {error}") from error
        if self.cache is None:
            return self._rendered(template, given)
        key = hashlib.blake2b(digest_size=16)
        for part in (template.encode(), _content(self.folders).encode(), given):
            key.update(hashlib.blake2b(part, digest_size=16).digest())
        text = self.cache().compute(
            key.hexdigest(), template, lambda: self._rendered(template, given).encode(errors="surrogatepass")
        )
        return text.decode(errors="surrogatepass")

    def warm(self, names: Iterable[str]) -> None:
        """Have a child load templates that will be rendered soon, without waiting for it; those that it has loaded
        so before are not asked for again."""
        _CHILDREN.warm(frozenset(names), lambda left: self._request(warm=sorted(left)), self.memory)

    def _rendered(self, template: str, given: bytes) -> str:
        request = self._request(template=template, limit=self.limit)
        request = request[:-1] + b',"variables":' + given + b"}"
        with _turn(self.concurrent):
            try:
                reply = _CHILDREN.ask(request, self.timeout, self.memory)
            except TimeoutError:
                reply = {"error": f"it took longer than {self.timeout:g} s"}
        if "text" not in reply:
            raise TemplateFailed(f"template '{template}': {reply['error']}")
        return str(reply["text"])

    def _request(self, **asked: Any) -> bytes:
        return to_json({"folders": [str(folder) for folder in self.folders], **asked})


class _Child:
    """One process that renders. It belongs to one caller at a time."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.warmed: frozenset[str] = frozenset()
        self.owes = 0
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", str(_CHILD), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
        )
        assert self.process.stdin is not None  # noqa: S101 - they are pipes
        assert self.process.stdout is not None  # noqa: S101
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._in, False)

    def send(self, request: bytes, deadline: float) -> None:
        """Raises TimeoutError, and BrokenPipeError when it has ended."""
        left = memoryview(len(request).to_bytes(_LENGTH, "big") + request)
        while left:
            _wait(self._in, select.POLLOUT, deadline)
            left = left[os.write(self._in, left) :]
        self.owes += 1

    def receive(self, deadline: float) -> Any:
        """The last reply. Raises TimeoutError, and EOFError when it has ended."""
        text = b"{}"
        while self.owes:
            text = self._read(int.from_bytes(self._read(_LENGTH, deadline), "big"), deadline)
            self.owes -= 1
        return from_json(text)

    def _read(self, size: int, deadline: float) -> bytes:
        parts, left = [], size
        while left:
            _wait(self._out, select.POLLIN, deadline)
            part = os.read(self._out, min(left, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def end(self) -> int:
        """Kill it, unless it has ended; how it did."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return self.process.wait()


class _Children:
    """The children of this process that nobody uses at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Child] = []

    def ask(self, request: bytes, timeout: float, memory: int) -> Any:
        """A child's reply. Raises TimeoutError; the child is gone then."""
        deadline = monotonic() + timeout
        for _ in range(2):
            child = self._take(memory)
            try:
                child.send(request, deadline)
                reply = child.receive(deadline)
            except (BrokenPipeError, EOFError):
                if child.end() == 0:  # nobody had asked for long, and it left just now
                    continue
                return {"error": "the process that rendered it was ended from outside"}
            except BaseException:
                child.end()
                raise
            self._give(child)
            return reply
        return {"error": "the process that renders cannot be kept"}

    def warm(self, names: frozenset[str], request: Callable[[frozenset[str]], bytes], memory: int) -> None:
        """A child of ours for later, which has loaded these templates: asked for those that it was not yet."""
        child = self._take(memory)
        left = names - child.warmed
        try:
            if left:
                child.send(request(left), monotonic() + 1.0)
                child.warmed |= left
        except OSError:  # BrokenPipeError and TimeoutError too: it was only for later
            child.end()
        else:
            self._give(child)

    def _take(self, memory: int) -> _Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.memory == memory and child.process.poll() is None:
                    return child
                child.end()
        return _Child(memory)

    def _give(self, child: _Child) -> None:
        with self._lock:
            self._idle.append(child)

    def end(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().end()

    def forget(self) -> None:
        """After a fork: they are the parent's."""
        self._lock = threading.Lock()
        self._idle = []


_CHILDREN = _Children()


def forget_children() -> None:
    """End the children of this process that nobody uses, as they do by themselves after a minute."""
    _CHILDREN.end()


os.register_at_fork(after_in_child=_CHILDREN.forget)


def _wait(pipe: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - monotonic()) * 1000):
        raise TimeoutError


def _turns() -> Path:
    """Where the files are that stand for turns: a folder that nobody else can write to."""
    folder = Path(tempfile.gettempdir()) / f"orchestrator-renders-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise OrchestratorError(f"{folder} belongs to somebody else")
    return folder


@contextmanager
def _turn(concurrent: int) -> Iterator[None]:
    """One of so many turns of this host's user: locks of files, which end with their holder. Whoever finds none waits
    for one of them; renders are short."""
    folder = _turns()
    for slot in range(concurrent):
        file = os.open(folder / str(slot), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if slot < concurrent - 1 else 0))
        except BlockingIOError:
            os.close(file)
            continue
        except BaseException:
            os.close(file)
            raise
        break
    try:
        yield
    finally:
        os.close(file)


_contents: dict[tuple[Path, ...], tuple[float, str]] = {}


def _content(folders: tuple[Path, ...]) -> str:
    """A hash of all templates; a template may include any other."""
    looked, digest = _contents.get(folders, (float("-inf"), ""))
    if monotonic() - looked > LOOK_SECONDS:
        files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
        digest = digest_of(files)
        _contents[folders] = monotonic(), digest
    return digest
