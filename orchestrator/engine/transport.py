"""kombu's Redis transport, minus one cost: it makes a client object for every command, a fifth of a busy worker's time.
Ours makes one per channel; a client is only a handle on the channel's connection pool. Redis over a unix socket keeps
kombu's own transport, whose name its URL carries."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """A channel that keeps its blocking client."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept


class Transport(redis.Transport):
    """The transport of applications made by `create_app`."""

    Channel = Channel
