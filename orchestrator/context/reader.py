"""What one attempt reads: the context as it was when the attempt was granted, to its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, cast

import redis
from pydantic_core import from_json

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.context.fields import DRAFT, assemble, section_of
from orchestrator.context.store import ContextStore, Reading, Value
from orchestrator.errors import OrchestratorError

ALL = "*"


class _Coming(Thread):
    """A read that somebody will ask for; when it fails, they read themselves."""

    def __init__(self, names: Iterable[str], read: Callable[[list[str]], Reading]) -> None:
        super().__init__(name="context ahead", daemon=True)
        self.names = list(names)
        self.sections = {section_of(name) for name in self.names}
        self.reading: Reading | None = None
        self._read = read
        self.start()

    def run(self) -> None:
        with suppress(OrchestratorError):
            self.reading = self._read(self.names)


class ContextReader:
    """The fields of one version, each fetched once. With `ahead`, the first read also fetches those.

    `branches` are laid over the version; `drafts` names the steps whose unfinished work may be seen.
    """

    def __init__(
        self,
        store: ContextStore,
        run_id: str,
        *,
        version: int,
        branches: Sequence[str] = (),
        drafts: Sequence[str] = (),
        ahead: Sequence[str] = (),
    ) -> None:
        self.version = version
        self._store = store
        self._run_id = run_id
        self._branches = branches
        self._drafts = drafts
        self._ahead = set(ahead)
        self._fetched: set[str] = set()
        self._found: dict[str, Value] = {}
        self._parsed: dict[str, Any] = {}
        self._coming: _Coming | None = None
        self.asked: set[str] = set()
        """Sections and fields that were asked for, there or not."""
        self.steady = True
        """Whether everything was read as it was at the start of the attempt."""

    def fetch(self, names: Sequence[str]) -> None:
        """Bring in sections and fields, those that are missing in one round trip."""
        self.asked.update(names)
        missing = self._missing(names)
        if self._coming is not None and any(section_of(name) in self._coming.sections for name in missing):
            self._settle(self._coming)
            missing = self._missing(names)
        if not missing:
            return
        missing += sorted(self._ahead - self._fetched)
        self._ahead = set()
        self._take(missing, self._read(missing))

    def begin(self, names: Iterable[str]) -> None:
        """Fetch these, and what was to come with the first read, while the agent does something else: whoever asks for
        them waits for the rest of it. No round trip more than without, if any of them is asked for."""
        wanted = self._missing(sorted({*names, *self._ahead}))
        if wanted and self._coming is None:
            self._ahead = set()
            self._coming = _Coming(wanted, self._read)

    def bring(self, names: Sequence[str]) -> None:
        """Leave the large values among these in shared memory, for another reader on this host; one round trip."""
        self._store.bring(self._run_id, self.version, names, self._branches)

    def large(self, least: int) -> tuple[str, ...]:
        """The fields of at least so many characters among those that were asked for."""
        return tuple(sorted(
            field for field, value in self._found.items()
            if len(value.text) >= least and not self.asked.isdisjoint((field, section_of(field)))
        ))  # fmt: skip

    def _missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._fetched and section_of(name) not in self._fetched]

    def _read(self, names: list[str]) -> Reading:
        return self._store.read(
            self._run_id, version=self.version, names=names, branches=self._branches, drafts=self._drafts
        )

    def _take(self, names: Iterable[str], reading: Reading) -> None:
        # What has been seen stays: a draft may have changed since.
        self._found = {**reading.fields, **self._found}
        self._fetched.update(names)

    def _settle(self, coming: _Coming) -> None:
        coming.join()
        if coming.reading is not None:
            self._take(coming.names, coming.reading)
        self._coming = None

    def refresh(self, section: str) -> None:
        """Read a section as it is now, which is for those who hold its lock; one round trip."""
        self.steady = False
        if self._coming is not None:
            self._settle(self._coming)
        reading = self._store.read(self._run_id, names=[section], branches=self._branches, drafts=self._drafts)
        stale = [field for field in self._found if section_of(field) == section]
        for field in stale:
            del self._found[field]
            self._parsed.pop(field, None)
        self._found |= reading.fields
        self._fetched.add(section)

    def section(self, name: str) -> Mapping[str, Any] | None:
        """The document of a step's namespace or shared section, None when nobody has written it."""
        self.fetch([name])
        prefix = f"{name}."
        fields = [field for field in self._found if field == name or field.startswith(prefix)]
        document = assemble((field, self._value(field)) for field in fields).get(name)
        return cast("Mapping[str, Any] | None", document)

    def field(self, name: str, absent: Any = None) -> Any:
        """The value of the field `<section>.<key>`, `absent` when there is none."""
        self.fetch([name])
        return self._value(name) if name in self._found else absent

    def seen(self, name: str) -> Value | None:
        """A field of the main line as this attempt reads it, for those who write it."""
        self.fetch([name])
        found = self._found.get(name)
        return None if found is None else found.main

    def base(self, name: str) -> str | None:
        """The text that this attempt started from when it writes a field: what it read, but for another's draft."""
        self.fetch([name])
        found = self._found.get(name)
        return None if found is None or found.mark == DRAFT else found.text

    def content(self, names: Sequence[str]) -> list[tuple[str, list[tuple[str, str, str]]]]:
        """What there is at sections and fields: name, and the field, text and mark of each value there. Equal content
        gives equal lists."""
        self.fetch(names)
        return [
            (name, sorted((field, value.text, value.mark) for field, value in self._found.items()
                          if field == name or ("." not in name and section_of(field) == name)))
            for name in sorted(names)
        ]  # fmt: skip

    def mark(self, name: str) -> str:
        """`draft`, `filled:<quality impact>`, or empty for a value that its step has committed."""
        self.fetch([name])
        found = self._found.get(name)
        return "" if found is None else found.mark

    def _value(self, field: str) -> Any:
        if field not in self._parsed:
            self._parsed[field] = from_json(self._found[field].text)
        return self._parsed[field]


class Inputs(Mapping[str, Any]):
    """The inputs of the run, fetched when the first of them is used."""

    def __init__(self, client: redis.Redis, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._values: dict[str, Any] | None = None
        self.asked: set[str] = set()
        """Names that were asked for, there or not; ALL when somebody looked which there are."""

    def content(self, names: Iterable[str]) -> dict[str, Any]:
        """Those of the named inputs that there are."""
        values, wanted = self._load(), set(names)
        return {name: value for name, value in values.items() if ALL in wanted or name in wanted}

    def _load(self) -> dict[str, Any]:
        if self._values is None:
            with guarded():
                raw = cast("dict[bytes, bytes]", self._client.hgetall(keys.run_key(self._run_id, "inputs")))
            self._values = {name.decode(): json.loads(text) for name, text in raw.items()}
        return self._values

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return self._load()[name]

    def __iter__(self) -> Iterator[str]:
        self.asked.add(ALL)
        return iter(self._load())

    def __len__(self) -> int:
        self.asked.add(ALL)
        return len(self._load())
