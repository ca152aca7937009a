"""Whole versions of a context, each put together once: a version never changes, and those that people and services look
at, such as what a barrier left, are looked at again."""

from __future__ import annotations

import hashlib
import json
from time import perf_counter
from typing import Any, cast

import redis

from orchestrator import keys
from orchestrator.cache.store import Cache
from orchestrator.connection import guarded
from orchestrator.context.store import ContextStore


def documents(
    client: redis.Redis, contexts: ContextStore, cache: Cache, run_id: str, version: int | None
) -> dict[str, Any]:
    """Section -> document, as `ContextStore.documents`; a version other than the latest one comes from the cache, by
    the step that wrote it and the hash of its content. Raises NotFound."""
    known = None if version is None else _known(client, run_id, version)
    if known is None:
        return contexts.documents(run_id, version)
    author, content = known
    key = hashlib.blake2b(f"{author}\0{content}".encode(), digest_size=16).hexdigest()
    found = cache.get(key)
    if found is not None:
        return cast("dict[str, Any]", json.loads(found.value))
    begun = perf_counter()
    made = contexts.documents(run_id, version)
    text = json.dumps(made, separators=(",", ":"), ensure_ascii=False)
    cache.put(key, text.encode(), family=author, cost=perf_counter() - begun)
    return made


def _known(client: redis.Redis, run_id: str, version: int) -> tuple[str, str] | None:
    """Author and hash of a version, which is over all that came before; None for one that is not kept."""
    at = f"{version}-0"
    with guarded():
        entries = cast("list[Any]", client.xrange(keys.run_key(run_id, "ctx:versions"), at, at))
    if not entries:
        return None
    fields = entries[0][1]
    return fields[b"author"].decode(), fields[b"hash"].decode()
