"""The context of runs, as clients and attempts read it. Every value is checked when it is unpacked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import redis
from msgspec import Struct

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.context.codec import unpack
from orchestrator.context.fields import assemble
from orchestrator.context.merge import merge
from orchestrator.context.merge_models import ABSENT, Chosen
from orchestrator.context.models import ContextConflict, Difference, FieldChange, Version
from orchestrator.context.policy import Writer
from orchestrator.context.scripts import BRANCHES, DIFF, PUBLISH, READ, RESTORE
from orchestrator.context.segments import Segments
from orchestrator.context.values import canonical, content_hash
from orchestrator.errors import NotFound

MAX_VALUE_BYTES = 64_000_000
"""Nothing larger is ever unpacked, whatever the header of a compressed value says."""
_HELD = b"\2"
"""Leads a hash that stands for a value which the reader has itself, as overlay.lua gives it."""


class Value(Struct, frozen=True):
    """A field as it was read. `version` is the one that set it, 0 in a branch or draft; `mark` is empty, `draft`, or
    `filled:<quality impact>`; `text` is canonical JSON. `hidden` is the main line's value below that of a branch."""

    text: str
    version: int
    mark: str = ""
    hidden: Value | None = None

    @property
    def main(self) -> Value | None:
        """The main line's value, None when it has none."""
        return self if self.version else self.hidden


class Reading(Struct, frozen=True):
    """What one read found: field -> value, all as they were at `version`."""

    version: int
    fields: Mapping[str, Value]


class SharedWrite(Struct, frozen=True):
    """What a member of a group has written into a shared section: its text, the one it started from and the one that
    the main line has now, None for no value. `writer` wrote it, `standing` what the main line has, as `version`."""

    writer: Writer
    field: str
    version: int
    standing: Writer
    ours: str | None
    base: str | None
    theirs: str


class _Gone(Exception):
    """A value is not on this host any more."""


class ContextStore:
    """Contexts on one Redis. `keep` versions of each are kept, as long as the values take less than `keep_bytes`. With
    `segments`, large values that are on this host are taken from there."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        keep: int = 1000,
        keep_bytes: int = 64_000_000,
        segments: Segments | None = None,
    ) -> None:
        self._client = client
        self._segments = segments
        self._policy = {"keep": keep, "keep_bytes": keep_bytes}

    def read(
        self,
        run_id: str,
        *,
        version: int | None = None,
        names: Sequence[str] | None = None,
        branches: Sequence[str] = (),
        drafts: Sequence[str] = (),
    ) -> Reading:
        """One consistent read of sections and fields (None: of everything); one round trip, and another one when a
        value was on this host and is gone just now.

        `branches` are laid over the main line, merged where both have changed a field: of the latest version only those
        that it does not hold yet. Raises NotFound when the version is gone.
        """
        arguments: dict[str, Any] = {"branches": list(branches), "drafts": list(drafts)}
        if version is not None:
            arguments["version"] = version
        if names is not None:
            arguments["names"] = list(dict.fromkeys(names))
        at, rows = self._rows(run_id, version, arguments)
        found: dict[str, Value] = {}
        bases: dict[str, str | None] = {}
        for name, number, text, mark in rows:
            below = found.get(name)
            if number < 0:
                bases[name] = text
                continue
            value = text or "null"
            if name in bases:
                value = _laid_over(bases.pop(name), None if below is None else below.text, value, name)
            found[name] = Value(value, number, mark, below.main if below else None)
        return Reading(at, found)

    def bring(self, run_id: str, version: int, names: Sequence[str], branches: Sequence[str] = ()) -> None:
        """Leave the large values among sections and fields in shared memory, for whoever reads them here soon; one
        round trip. Those that are there are kept for another lease."""
        if self._segments is None or not self._segments.limit:
            return
        asked = {"version": version, "names": list(names), "branches": list(branches), "drafts": []}
        raw = READ(self._client, run_id, {**asked, "held": self._segments.held(run_id)})
        if raw[0] == b"gone":
            return
        for field, packed in zip(raw[1::4], raw[3::4], strict=True):
            if packed[:1] == _HELD:
                self._segments.touch(run_id, packed[1:].decode())
            elif packed:
                text = unpack(packed, field.decode(), limit=MAX_VALUE_BYTES)
                if len(text) >= self._segments.least:
                    self._segments.put(run_id, [(content_hash(text), text)])

    def _rows(
        self, run_id: str, version: int | None, arguments: Mapping[str, Any]
    ) -> tuple[int, list[tuple[str, int, str | None, str]]]:
        """What `read.lua` gives: the version, and field, version, text and mark of each value."""
        held = [] if self._segments is None else self._segments.held(run_id)
        for asked in ({**arguments, "held": held}, arguments) if held else (arguments,):
            raw = READ(self._client, run_id, asked)
            _still_there(raw, version)
            try:
                return int(raw[0]), [
                    (field.decode(), int(number), self._text(run_id, field.decode(), packed), mark.decode())
                    for field, number, packed, mark in zip(*(raw[first::4] for first in range(1, 5)), strict=True)
                ]
            except _Gone:
                continue
        raise AssertionError("the store gives values, unless it was told that they are here")

    def _text(self, run_id: str, field: str, packed: bytes) -> str | None:
        if packed[:1] != _HELD or self._segments is None:
            return unpack(packed, field, limit=MAX_VALUE_BYTES) if packed else None
        text = self._segments.get(run_id, packed[1:].decode())
        if text is None:
            raise _Gone
        return text

    def documents(self, run_id: str, version: int | None = None) -> dict[str, Any]:
        """Section -> document, of a version or of the latest one."""
        found = self.read(run_id, version=version).fields
        return assemble((name, json.loads(value.text)) for name, value in found.items())

    def marks(self, run_id: str, version: int | None = None) -> dict[str, str]:
        """Field -> what is special about its value (`filled:<impact>`: it stands for one that a step did not give), of
        a version or of the latest one. Plain values are left out."""
        found = self.read(run_id, version=version).fields
        return {name: value.mark for name, value in found.items() if value.mark}

    def outputs(self, run_id: str) -> dict[str, Any]:
        """Step id -> the document that it committed, members of groups that are not joined yet included."""
        with guarded():
            nodes = cast("list[bytes]", self._client.hkeys(keys.run_key(run_id, "defs")))
        steps = [node.decode() for node in nodes if node[:1] not in (b"@", b"^")]
        found = self.read(run_id, branches=steps).fields
        documents = assemble((name, json.loads(value.text)) for name, value in found.items())
        return {step: documents[step] for step in steps if step in documents}

    def history(self, run_id: str, limit: int = 100) -> list[Version]:
        """The newest versions first, of those that are kept."""
        with guarded():
            pipe = self._client.pipeline(transaction=False)
            pipe.xrevrange(keys.run_key(run_id, "ctx:versions"), count=limit)
            pipe.zrange(keys.run_key(run_id, "ctx:names"), 0, -1, withscores=True)
            entries, named = pipe.execute()
        names: dict[int, list[str]] = {}
        for name, version in named:
            names.setdefault(int(version), []).append(name.decode())
        return [_version(entry, fields, names) for entry, fields in entries]

    def number(self, run_id: str, version: int | str | None) -> int | None:
        """The number of a version that is given as one, or by the name of its snapshot. Raises NotFound."""
        if version is None or isinstance(version, int):
            return version
        if version.isdecimal():
            return int(version)
        with guarded():
            found = self._client.zscore(keys.run_key(run_id, "ctx:names"), version)
        if found is None:
            raise NotFound(f"no snapshot of this run is called '{version}'")
        return int(found)

    def conflicts(self, run_id: str) -> list[ContextConflict]:
        """What could not be merged in this run, by field."""
        with guarded():
            raw = cast("dict[bytes, bytes]", self._client.hgetall(keys.run_key(run_id, "conflicts")))
        found = []
        for name, packed in raw.items():
            text = unpack(packed, f"conflict {name.decode()}", limit=MAX_VALUE_BYTES)
            found.append(ContextConflict(id=name.decode(), **json.loads(text)))
        return sorted(found, key=lambda conflict: (conflict.field, conflict.id))

    def diff(self, run_id: str, a: int, b: int) -> list[Difference]:
        """What changed from version `a` to version `b`, by field. Raises NotFound."""
        raw = DIFF(self._client, run_id, {"a": a, "b": b})
        _still_there(raw, min(a, b))
        return list(_differences(raw[1:]))

    def restore(self, run_id: str, version: int, *, author: str = "restore") -> int:
        """Make the context what it was at `version`; returns the number of the new version. Raises NotFound."""
        raw = RESTORE(self._client, run_id, {"to": version, "author": author, **self._policy})
        _still_there(raw, version)
        return int(raw[1])

    def shared_writes(self, run_id: str, members: Sequence[str]) -> tuple[tuple[str, ...], list[SharedWrite]]:
        """The members whose branches are not merged yet, and what these have written into shared sections, each behind
        what its writer had read in another branch that the main line does not have either."""
        steps, rows = BRANCHES(self._client, run_id, {"members": list(members)})
        return tuple(step.decode() for step in steps), [_shared(row) for row in rows]

    def publish(self, run_id: str, step: str, token: int, drafts: Mapping[str, bytes]) -> bool:
        """Show packed values of a running attempt to steps that want them; False when it is not the current one."""
        payloads = [part for pair in drafts.items() for part in pair]
        return bool(PUBLISH(self._client, run_id, {"step": step, "token": token}, payloads)[0] == b"ok")


def _laid_over(base: str | None, ours: str | None, theirs: str, name: str) -> str:
    """A field as somebody sees it who reads a branch: both edits, and the branch's where they collide; what stands in
    the end is for the barrier to decide."""
    before, mine, other = (ABSENT if text is None else json.loads(text) for text in (base, ours, theirs))
    path = tuple(name.split(".", 1))
    merged = merge(before, mine, other, at=path, choose=lambda conflict: Chosen(conflict.theirs)).value
    return theirs if merged is ABSENT else canonical(merged, limit=MAX_VALUE_BYTES, what=f"'{name}'")


def _still_there(raw: Sequence[Any], version: int | None) -> None:
    if raw[0] == b"gone":
        raise NotFound(f"version {version} of the context is not kept; the oldest one is {raw[1].decode()}")


def _shared(row: Sequence[bytes]) -> SharedWrite:
    field = row[3].decode()
    ours, base = (unpack(part, field, limit=MAX_VALUE_BYTES) if part else None for part in row[8:10])
    return SharedWrite(
        _writer(row[0], row[1], row[2]), field, int(row[4]), _writer(row[5], row[6], row[7]), ours, base,
        unpack(row[10], field, limit=MAX_VALUE_BYTES),
    )  # fmt: skip


def _writer(step: bytes, priority: bytes | int, at: bytes) -> Writer:
    return Writer(step.decode(), moment(float(at)), int(priority))


def moment(at: float) -> int:
    """A time of Redis' clock as the number by which commits are ordered: its microseconds."""
    return round(at * 1_000_000)


def _version(entry: bytes, raw: Mapping[bytes, bytes], names: Mapping[int, Sequence[str]]) -> Version:
    number = int(entry.partition(b"-")[0])
    changed = tuple(
        FieldChange(field=field, before_version=int(at), before=_hash(before), after=_hash(after), mark=mark)
        for field, at, before, after, _, mark in json.loads(raw[b"changes"])
    )
    return Version(
        version=number,
        parent=int(raw[b"parent"]),
        author=raw[b"author"].decode(),
        attempt=int(raw[b"attempt"]),
        at=float(raw[b"at"]),
        hash=raw[b"hash"].decode(),
        changed=changed,
        names=tuple(names.get(number, ())),
    )


def _hash(text: str) -> str | None:
    return None if text == "-" else text


def _differences(raw: Sequence[bytes]) -> Iterator[Difference]:
    for at in range(0, len(raw), 3):
        field = raw[at].decode()
        before, after = (unpack(part, field, limit=MAX_VALUE_BYTES) if part else None for part in raw[at + 1 : at + 3])
        kind = "added" if before is None else "removed" if after is None else "changed"
        yield Difference(
            field=field,
            kind=kind,  # type: ignore[arg-type]
            before=None if before is None else json.loads(before),
            after=None if after is None else json.loads(after),
        )
