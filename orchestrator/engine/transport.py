"""kombu's Redis transports, with four differences: one client object per channel instead of one per command (a fifth
of a busy worker's time), messages of steps that outlive a connection stay theirs and can be acknowledged after it,
what is no message ends no worker, and a forked child leaves its parent's connections alone."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from celery.app import amqp
from celery.worker import state
from kombu import connection
from kombu.transport import redis

from orchestrator.engine.dead_messages import is_message
from orchestrator.engine.runtime import log


def stopping() -> bool:
    """Whether this worker has been told to stop. The exit status 0 is an answer, too."""
    told: tuple[Any, ...] = (state.should_stop, state.should_terminate)
    return any(status is not None and status is not False for status in told)


class QoS(redis.QoS):
    """Knows what this worker has taken and not acknowledged."""

    def restore_unacked(self, client: Any = None) -> None:
        """Give back what was taken, at the end of a connection. What runs on is not delivered to anybody else; when
        the worker itself is told to stop, nothing runs on that could not end in time."""
        running = () if stopping() else tuple(state.active_requests)
        kept = {request.message.delivery_tag for request in running if not request.acknowledged}
        channel: Any = self.channel
        delivered: Any = self._delivered
        with channel.conn_or_acquire(client) as connected:
            for tag in delivered:
                if tag not in kept:
                    self.restore_by_tag(tag, client=connected)
        delivered.clear()


class _Channel:
    """What our channels have in common."""

    QoS: Any = QoS
    pool: Any
    _pool: Any
    _kept: Any = None
    _registered: bool

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        # A newer protocol brings nothing that kombu asks for, and more round trips for each connection.
        return {**super()._connparams(asynchronous), "driver_info": None, "protocol": 2}  # type: ignore[misc]

    def _after_fork(self) -> None:
        """Close the sockets in a child, and there alone: its parent's epoll, which they share, still waits for them."""
        self._registered = False
        super()._after_fork()  # type: ignore[misc]

    def _brpop_read(self, **options: Any) -> Any:
        """Take one message. An entry that nobody can read is dropped: kombu would let the worker end with it."""
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except (ValueError, RecursionError) as error:
            log.error("an entry of a queue was dropped that is no message: %s", error)
            return True

    def _create_client(self, asynchronous: bool = False) -> Any:
        """A client is only a handle on the channel's connection pool: one is enough."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept

    def _disconnect_pools(self) -> None:
        """The pool stays, without connections: a step that ends after its channel acknowledges through a new one."""
        pool = self._pool
        super()._disconnect_pools()  # type: ignore[misc]
        self._pool = pool


class Channel(_Channel, redis.Channel):
    """A channel to one server."""


class _Transport:
    """What our transports have in common."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._process = os.getpid()
        super().__init__(*args, **options)

    def _collect(self, opened: Any) -> None:
        """Close a connection, if this process opened it. In a child, where kombu asks for this first of all, a
        channel that waits for a message would read until one comes: the child would hang and the message be lost."""
        if self._process == os.getpid():
            with suppress(*self.connection_errors, OSError):  # type: ignore[attr-defined]
                self.close_connection(opened)  # type: ignore[attr-defined]

    def _deliver(self, message: Any, queue: str) -> None:
        """Hand a message on. JSON that is none is dropped: kombu would let the worker end with it."""
        if is_message(message):
            super()._deliver(message, queue)  # type: ignore[misc]
        else:
            log.error("an entry of queue %s was dropped that is no message: %.200r", queue, message)


class Transport(_Transport, redis.Transport):  # type: ignore[misc]
    """To one server."""

    Channel = Channel


class SentinelChannel(_Channel, redis.SentinelChannel):
    """A channel to the server that Sentinel names."""


class SentinelTransport(_Transport, redis.SentinelTransport):  # type: ignore[misc]
    """To the server that Sentinel names."""

    Channel = SentinelChannel


_OURS: dict[Any, Any] = {redis.Transport: Transport, redis.SentinelTransport: SentinelTransport}


class _Connection:
    """What our connections have in common."""

    def get_transport_cls(self) -> Any:
        """Ours for kombu's, whatever form the URL has."""
        found = super().get_transport_cls()  # type: ignore[misc]
        return _OURS.get(found, found)


class PooledConnection(_Connection, connection.PooledConnection):
    """A connection of a pool."""


class ConnectionPool(connection.ConnectionPool):
    """Connections to publish and to inspect with."""

    def new(self) -> Any:
        return PooledConnection(self, **dict(self.connection._info(resolve=False)))


class Connection(_Connection, connection.Connection):
    """A connection to consume with, and what the pool is made from."""

    def Pool(self, limit: int | None = None, **options: Any) -> ConnectionPool:
        return ConnectionPool(self, limit, **options)


class AMQP(amqp.AMQP):
    """What an application made by `create_app` connects with."""

    Connection = Connection
