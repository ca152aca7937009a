"""What one attempt reads: the context as it was when the attempt was granted, to its end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import redis
from pydantic_core import from_json

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.context.fields import DRAFT, assemble, section_of
from orchestrator.context.store import ContextStore, Value

ALL = "*"


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
        self.asked: set[str] = set()
        """Sections and fields that were asked for, there or not."""
        self.steady = True
        """Whether everything was read as it was at the start of the attempt."""

    def fetch(self, names: Sequence[str]) -> None:
        """Bring in sections and fields, those that are missing in one round trip."""
        self.asked.update(names)
        missing = [name for name in names if name not in self._fetched and section_of(name) not in self._fetched]
        if not missing:
            return
        missing += sorted(self._ahead - self._fetched)
        self._ahead = set()
        reading = self._store.read(
            self._run_id, version=self.version, names=missing, branches=self._branches, drafts=self._drafts
        )
        # What has been seen stays: a draft may have changed since.
        self._found = {**reading.fields, **self._found}
        self._fetched.update(missing)

    def refresh(self, section: str) -> None:
        """Read a section as it is now, which is for those who hold its lock; one round trip."""
        self.steady = False
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
