"""Lua, composed of the rooms' fragments into one script per transition: one round trip, all or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    import redis.asyncio

from orchestrator.connection import guarded
from orchestrator.keys import run_prefix

encode = json.JSONEncoder(separators=(",", ":")).encode
"""A value as JSON; unlike `json.dumps` with separators it does not make an encoder each time."""


@cache
def fragment(package: str, name: str) -> str:
    """The Lua text `lua/<name>.lua` of a room, such as `fragment("orchestrator.run", "claim")`."""
    return _folder(package).joinpath(f"{name}.lua").read_text(encoding="utf-8")


@cache
def _folder(package: str) -> Traversable:
    return files(package).joinpath("lua")


class Script:
    """One transition of a run. KEYS[1] is the run's key prefix, ARGV[1] the arguments as JSON, the rest payloads.

    The reply is whatever the Lua returns, as bytes and lists. A server that does not know the script yet is sent
    its text once. The fragments are one function inside of what they are `within`: each call makes all closures anew,
    and Lua seeks a local of their own function among all that are shared, one of an outer function not at all.
    """

    def __init__(self, *fragments: str, within: str = "") -> None:
        text = "\n".join(fragments)
        self.source = f"{within}\nreturn (function()\n{text}\nend)()" if within else text
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(
        self, client: redis.Redis, run_id: str, arguments: Mapping[str, Any] | str, payloads: Sequence[str | bytes] = ()
    ) -> Any:
        text = arguments if isinstance(arguments, str) else encode(arguments)
        return self.at(client, run_prefix(run_id), text, *payloads)

    def at(self, client: redis.Redis, key: str, *arguments: str | bytes) -> Any:
        """The same for a script that is about one key and no run: KEYS[1], and ARGV as its header names them."""
        any_client: Any = client
        with guarded():
            try:
                return any_client.execute_command("EVALSHA", self.sha, 1, key, *arguments)
            except NoScriptError:
                return client.eval(self.source, 1, key, *arguments)

    async def call_async(
        self, client: redis.asyncio.Redis, run_id: str, arguments: Mapping[str, Any] | str, payloads: Sequence[str] = ()
    ) -> Any:
        """The same on an asyncio client."""
        text = arguments if isinstance(arguments, str) else encode(arguments)
        return await self.at_async(client, run_prefix(run_id), text, *payloads)

    async def at_async(self, client: redis.asyncio.Redis, key: str, *arguments: str) -> Any:
        """As `at`, on an asyncio client."""
        any_client: Any = client
        with guarded():
            try:
                return await any_client.evalsha(self.sha, 1, key, *arguments)
            except NoScriptError:
                return await any_client.eval(self.source, 1, key, *arguments)
