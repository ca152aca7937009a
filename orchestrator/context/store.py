"""Reads the context of a run. A step commits its output once, together with its completion, so that what a step
has written never changes under its readers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import redis

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.scripts import fragment

COMMIT = fragment("orchestrator.context", "commit")
"""Lua `commit(step)` for the script that completes an attempt."""
FILL = fragment("orchestrator.context", "fill")
"""Lua `fill(step, document)` for the script that carries out a barrier's decision."""


class ContextReader:
    """What one attempt reads. Each namespace is fetched once, so an attempt sees one version of it to its end."""

    def __init__(self, client: redis.Redis, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._seen: dict[str, Mapping[str, Any] | None] = {}
        self.inputs: Mapping[str, Any] = _Inputs(client, run_id)

    def namespace(self, name: str) -> Mapping[str, Any] | None:
        """The document of a step, or None. One round trip at the first read."""
        if name not in self._seen:
            with guarded():
                raw = cast("bytes | None", self._client.hget(keys.run_key(self._run_id, "ctx"), name))
            self._seen[name] = None if raw is None else json.loads(raw)
        return self._seen[name]


class _Inputs(Mapping[str, Any]):
    """The inputs of the run, fetched when the first of them is used."""

    def __init__(self, client: redis.Redis, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._values: dict[str, Any] | None = None

    def _load(self) -> dict[str, Any]:
        if self._values is None:
            with guarded():
                raw = cast("dict[bytes, bytes]", self._client.hgetall(keys.run_key(self._run_id, "inputs")))
            self._values = {name.decode(): json.loads(text) for name, text in raw.items()}
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self._load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())
