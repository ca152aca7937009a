"""The way from a command to a store and workers: the configured ones, or a local stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.embedded import Stack, StackOptions
from orchestrator.embedded.server import running_url
from orchestrator.errors import OrchestratorError, StoreUnavailable

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.settings import Environment

ANSWER_TIMEOUT = 5.0
"""Seconds in which a worker has to be found before `run` gives up."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A client, and the local stack behind it if there is one."""

    client: Client
    stack: Stack | None = None


@contextmanager
def with_workers(
    environment: Environment, *, workers: int, concurrency: int, on_event: Callable[[Mapping[str, Any]], None]
) -> Iterator[Connection]:
    """The configured store with its running workers, or a local stack for as long as the block lasts.

    Raises StoreUnavailable when neither is to be had.
    """
    if not environment.is_embedded:
        from orchestrator.client import Client

        with Client(environment=environment) as client:
            need_worker(client)
            yield Connection(client)
        return
    options = StackOptions(home=environment.home, app=environment.app, workers=workers, concurrency=concurrency)
    with Stack(options, on_event) as stack:
        from orchestrator.client import Client  # takes a while: the worker starts meanwhile

        stack.wait_ready()
        with Client(stack.url, broker_url=stack.url) as client:
            try:
                yield Connection(client, stack)
            finally:
                stack.stop(idle=_nothing_active(client))


@contextmanager
def store_only(environment: Environment) -> Iterator[Client]:
    """The configured store, or the local one, which is started for the moment if it does not run."""
    from orchestrator.client import Client

    if not environment.is_embedded:
        with Client(environment=environment) as client:
            yield client
        return
    if not (environment.home / "data").is_dir():
        raise StoreUnavailable(
            "nothing has run here yet and no Redis is configured: set ORCHESTRATOR_BROKER_URL and "
            "ORCHESTRATOR_STORE_URL, or use `orchestrator run`"
        )
    with Stack(StackOptions(home=environment.home, workers=0)) as stack:
        with Client(stack.url, broker_url=stack.url) as client:
            yield client
        stack.stop(idle=True)


def running_urls(environment: Environment) -> tuple[str, str]:
    """Broker and store that are there for others too. Raises StoreUnavailable with what to do."""
    if not environment.is_embedded:
        broker, store = environment.broker_url, environment.store_url
        return str(broker or store), str(store or broker)
    url = running_url(environment.home.absolute())
    if url is None:
        raise StoreUnavailable(
            "no Redis is configured and no local stack runs here: set ORCHESTRATOR_BROKER_URL and "
            "ORCHESTRATOR_STORE_URL, or start `orchestrator up` in another terminal"
        )
    return url, url


def alive_workers(client: Client) -> list[str]:
    """Host names of the workers that have said within the last seconds that they are there."""
    from orchestrator import keys
    from orchestrator.connection import guarded

    prefix = keys.worker_key("")
    with guarded():
        return sorted(key.decode().removeprefix(prefix) for key in client.redis.scan_iter(prefix + "*", count=1000))


def _nothing_active(client: Client) -> bool:
    from orchestrator import keys
    from orchestrator.connection import guarded

    try:
        with guarded():
            return client.redis.zcard(keys.ACTIVE) == 0
    except OrchestratorError:
        return False


def need_worker(client: Client) -> None:
    """Raises StoreUnavailable when no worker announces itself in time."""
    from orchestrator.cli.patience import until

    if not until(lambda: bool(alive_workers(client)), ANSWER_TIMEOUT):
        raise StoreUnavailable("no worker is running: start one with `orchestrator worker`")
