"""The one place where clients of Redis are made, so that time limits, retries and protocol are the same everywhere."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - the first look for a host loads it, otherwise again in each child
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import redis
from hiredis import pack_command
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from orchestrator.errors import BackpressureError, StoreUnavailable

if TYPE_CHECKING:
    import redis.asyncio

SENTINEL, SENTINEL_PORT = "sentinel://", 26379
RETRIES = 8
SOCKET_TIMEOUT = 5.0
BLOCK_SECONDS = 5.0
"""A command that waits on the server waits no longer than this; its caller asks again."""
_clients: dict[tuple[int, str, bool], redis.Redis] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    """A thread of the parent may have held the lock; its clients are of no use here."""
    global _lock  # noqa: PLW0603 - replaced, because nobody is left to release it
    _lock = threading.Lock()
    _clients.clear()


os.register_at_fork(after_in_child=_after_fork)


def client_url(url: str) -> str:
    """The form redis-py reads, from Celery's: `redis+socket:///x.sock?virtual_host=1` -> `unix:///x.sock?db=1`."""
    if url.startswith(("redis+socket://", "socket://")):
        return "unix://" + url.split("://", 1)[1].replace("virtual_host=", "db=")
    return _redis_scheme(url)


def broker_url(url: str) -> str:
    """The form Celery reads, from redis-py's: `unix:///x.sock?db=1` -> `redis+socket:///x.sock?virtual_host=1`. The
    name of Sentinel's primary is no part of it: see `master_name`."""
    if url.startswith("unix://"):
        return "redis+socket://" + url.split("://", 1)[1].replace("db=", "virtual_host=")
    if url.startswith(SENTINEL):
        return ";".join(part.partition("?")[0] for part in url.split(";"))
    return _redis_scheme(url)


def master_name(url: str) -> str | None:
    """What Sentinel calls the primary, `?master_name=` of its URL; None for the URL of a server."""
    if not url.startswith(SENTINEL):
        return None
    for part in url.split(";"):
        named = parse_qs(urlsplit(part).query).get("master_name")
        if named:
            return named[0]
    return "mymaster"


def _redis_scheme(url: str) -> str:
    """Valkey is spoken to as Redis is. Certificates are checked unless the URL says `ssl_cert_reqs=none`, which kombu
    takes for granted and Celery wants to be told."""
    if url.startswith(("valkey://", "valkeys://")):
        url = "redis" + url.removeprefix("valkey")
    if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
        url += ("&" if "?" in url else "?") + "ssl_cert_reqs=required"
    return url


def _sentinels(url: str, options: Mapping[str, Any]) -> tuple[list[tuple[str, int]], dict[str, Any], dict[str, Any]]:
    """The addresses of the sentinels, how to ask them, and how to log in at the primary: as at the first of them."""
    parts = [urlsplit(part) for part in url.split(";")]
    first = parts[0]
    hosts = [(part.hostname or "localhost", part.port or SENTINEL_PORT) for part in parts]
    asking = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
    login = {"db": int(first.path.strip("/") or 0), "username": first.username, "password": first.password}
    return hosts, asking, login


class _Client(redis.Redis):
    """Single commands go over connections of its own, without what redis-py does around each of them for telemetry:
    half of the processor time. What fails on the way there is left to redis-py, with all its patience."""

    _spare: tuple[int, list[Any]] = (0, [])

    def _taken(self) -> tuple[list[Any], Any]:
        """A connection that nobody uses, and where it goes afterwards."""
        pid, spare = self._spare
        if pid != os.getpid():  # the parent's are of no use after a fork
            spare = []
            self._spare = os.getpid(), spare
        try:
            return spare, spare.pop()
        except IndexError:
            return spare, self.connection_pool.connection_class(**self.connection_pool.connection_kwargs)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        spare, connection = self._taken()
        try:
            if not connection.is_connected:
                connection.connect()
            connection.send_packed_command((_packed(connection, args),))
            if args[0] == "EVALSHA":  # nothing is made of what scripts say
                reply = connection.read_response()
            else:
                reply = self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]
        except ResponseError:
            spare.append(connection)
            raise
        except (RedisConnectionError, RedisTimeoutError, OSError):
            connection.disconnect()
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except BaseException:
            connection.disconnect()  # or its next user would get our reply
            raise
        spare.append(connection)
        return reply

    def each(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The replies of several commands in one round trip, with the errors of single ones among them. When the
        connection breaks, all of them are sent again."""
        spare, connection = self._taken()

        def ask() -> list[Any]:
            if not connection.is_connected:
                connection.connect()  # which asks the sentinels, where there are some
            connection.send_packed_command((b"".join(_packed(connection, command) for command in commands),))
            return [_reply(connection) for _ in commands]

        try:
            replies: list[Any] = connection.retry.call_with_retry(ask, lambda _: connection.disconnect())
        except BaseException:
            connection.disconnect()
            raise
        spare.append(connection)
        callbacks = self.response_callbacks
        return [
            callbacks[command[0]](reply) if command[0] in callbacks and not isinstance(reply, Exception) else reply
            for command, reply in zip(commands, replies, strict=True)
        ]

    def close(self) -> None:
        """Release all connections."""
        _, spare = self._spare
        while spare:
            spare.pop().disconnect()
        super().close()


def _packed(connection: Any, command: Sequence[Any]) -> bytes:
    try:
        packed: bytes = pack_command(tuple(command) if " " not in command[0] else (*command[0].split(), *command[1:]))
    except TypeError:  # redis-py knows more types, and says which it does not
        packed = b"".join(connection.pack_command(*command))
    return packed


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def each(client: redis.Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The replies of several commands in one round trip, with the errors of single ones among them."""
    if isinstance(client, _Client):
        return client.each(commands)
    pipe: Any = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    replies: list[Any] = pipe.execute(raise_on_error=False)
    return replies


def _client(url: str, **options: Any) -> redis.Redis:
    name = master_name(url)
    if name is None:
        return _Client.from_url(client_url(url), driver_info=None, **options)  # two round trips less to connect
    from redis import sentinel as asked  # few deployments have one

    hosts, asking, login = _sentinels(url, options)
    sentinel: Any = asked.Sentinel(hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    client: redis.Redis = sentinel.master_for(name, redis_class=_Client, driver_info=None, **login, **options)
    return client


def connect(url: str, *, text: bool = False) -> redis.Redis:
    """The client of this process for `url`; its replies are bytes, or `text`. Each process gets its own: none is shared
    over a fork.

    Transient failures are retried with backoff for about 8 seconds; then StoreUnavailable comes out of `guarded`.
    """
    key = (os.getpid(), url, text)
    with _lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = _client(
                url,
                protocol=2,
                decode_responses=text,
                socket_timeout=SOCKET_TIMEOUT,
                socket_connect_timeout=SOCKET_TIMEOUT,
                health_check_interval=30,
                max_connections=200,
                retry=Retry(ExponentialBackoff(cap=2.0, base=0.05), RETRIES),
                retry_on_error=[RedisConnectionError, RedisTimeoutError],
            )
        return client


def connect_blocking(url: str) -> redis.Redis:
    """A client for commands that wait on the server for up to BLOCK_SECONDS. The caller closes it."""
    return _client(
        url,
        protocol=2,
        socket_timeout=BLOCK_SECONDS + SOCKET_TIMEOUT,
        socket_connect_timeout=SOCKET_TIMEOUT,
        retry=Retry(ExponentialBackoff(cap=2.0, base=0.05), RETRIES),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )


def connect_once(url: str, seconds: float = 1.0) -> redis.Redis:
    """A client that tries once and gives up after so long, for whoever must not wait. The caller closes it."""
    retry = Retry(ExponentialBackoff(), 0)
    return _client(url, protocol=2, socket_timeout=seconds, socket_connect_timeout=seconds, retry=retry)


def connect_async(url: str) -> redis.asyncio.Redis:
    """An asyncio client for `url`, in bytes. The caller closes it."""
    import redis.asyncio  # a tenth of a second that only asyncio callers pay

    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": BLOCK_SECONDS + SOCKET_TIMEOUT,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        "max_connections": 10_000,
    }
    name = master_name(url)
    if name is None:
        return redis.asyncio.Redis.from_url(client_url(url), **options)
    import redis.asyncio.sentinel

    hosts, asking, login = _sentinels(url, options)
    sentinel: Any = redis.asyncio.sentinel.Sentinel(hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    client: redis.asyncio.Redis = sentinel.master_for(name, **login, **options)
    return client


BROKEN = b"broken"


def pop(client: redis.Redis, key: str, seconds: float) -> bytes | None:
    """BLPOP on a connection of the client's own pool, whose time limit would be too short for it: what was pushed, None
    after so many seconds, BROKEN when the connection was lost meanwhile."""
    pool = client.connection_pool
    with guarded():
        connection: Any = pool.get_connection()
    try:
        connection.send_command("BLPOP", key, max(0.001, seconds))
        reply = connection.read_response(timeout=seconds + SOCKET_TIMEOUT)
    except (RedisConnectionError, RedisTimeoutError):
        return BROKEN
    except BaseException:
        connection.disconnect()  # or its next user would get our reply
        raise
    finally:
        pool.release(connection)
    return None if reply is None else cast("bytes", reply[1])


class _Guard:
    """One for all: it keeps nothing. A generator with a decorator would cost as much as a tenth of a round trip."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OutOfMemoryError):
            raise BackpressureError(f"Redis is out of memory and takes no writes: {error}", retry_after=5.0) from error
        if isinstance(error, AuthenticationError):
            raise StoreUnavailable(f"Redis refuses the password: {error}") from error
        if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
            raise StoreUnavailable(f"Redis cannot be reached: {error}") from error
        if isinstance(error, RedisError):
            raise StoreUnavailable(f"Redis refused a command: {error}") from error


_GUARD = _Guard()


def guarded() -> _Guard:
    """Turn the driver's errors into ours. Used where a room meets Redis."""
    return _GUARD
