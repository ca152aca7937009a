"""The way from a command to a store and workers: the configured ones, or a local stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cli.targets import check_id
from orchestrator.embedded import Stack, StackOptions
from orchestrator.embedded.local import running_url
from orchestrator.errors import OrchestratorError, StoreUnavailable

if TYPE_CHECKING:
    from orchestrator.client import Client, RunHandle
    from orchestrator.environment import Environment
    from orchestrator.run.reader import RunReader
    from orchestrator.workflow.plan import Plan

ANSWER_TIMEOUT = 3.0
"""Seconds in which a worker has to be found before `run` gives up."""

_LOOK_AT = 50


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

        broker, store = running_urls(environment)
        with Client(store, broker_url=broker, environment=environment) as client:
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
def store_url(environment: Environment) -> Iterator[str]:
    """The configured store, or the local one, which is started for the moment if it does not run."""
    if not environment.is_embedded:
        yield running_urls(environment)[1]
        return
    if not (environment.home / "data").is_dir():
        raise StoreUnavailable(
            "nothing has run here yet and no Redis is configured: set ORCHESTRATOR_BROKER_URL and "
            "ORCHESTRATOR_STORE_URL, or use `orchestrator run`"
        )
    with Stack(StackOptions(home=environment.home, workers=0)) as stack:
        yield stack.url
        stack.stop(idle=True)


@contextmanager
def reading(environment: Environment) -> Iterator[RunReader]:
    """Reads of the store, without the parts of the client that load Celery."""
    from orchestrator.connection import connect
    from orchestrator.run.reader import RunReader

    with store_url(environment) as url:
        yield RunReader(connect(url))


@contextmanager
def store_only(environment: Environment) -> Iterator[Client]:
    """A client of the store; whether anybody works is not asked."""
    from orchestrator.client import Client

    with (
        store_url(environment) as url,
        Client(url, broker_url=environment.broker_url or url, environment=environment) as client,
    ):
        yield client


@contextmanager
def stored_run(run_id: str) -> Iterator[RunHandle]:
    """A run of the configured store; whether anybody works is not asked. Raises NotFound for what can be no run."""
    from orchestrator.environment import Environment

    check_id(run_id, "run")
    with store_only(Environment.load()) as client:
        yield client.get(run_id)


def reach(url: str) -> None:
    """Raises StoreUnavailable at once when the server does not answer; the client itself would be patient."""
    from orchestrator.connection import SOCKET_TIMEOUT, connect_once, guarded

    with guarded(), connect_once(url, SOCKET_TIMEOUT) as client:
        client.ping()


def running_urls(environment: Environment) -> tuple[str, str]:
    """Broker and store that are there for others too. Raises StoreUnavailable with what to do."""
    if not environment.is_embedded:
        broker, store = environment.broker_url, environment.store_url
        urls = str(broker or store), str(store or broker)
        reach(urls[1])
        return urls
    url = running_url(environment.home.absolute())
    if url is None:
        raise StoreUnavailable(
            "no Redis is configured and no local stack runs here: set ORCHESTRATOR_BROKER_URL and "
            "ORCHESTRATOR_STORE_URL, or start `orchestrator up` in another terminal"
        )
    return url, url


def alive_workers(client: Client) -> list[str]:
    """Host names of the workers that have said within the last seconds that they are there."""
    return client.reader.workers()


def serve_queues(client: Client, plan: Plan) -> None:
    """Let the local workers take from queues that only the workflow names."""
    from orchestrator.engine.routing import agent_queue

    for name in sorted({step.queue for step in plan.workflow.steps if step.queue}):
        client.app.control.add_consumer(agent_queue(name), reply=True, limit=1)


def _nothing_active(client: Client) -> bool:
    """Whether every run of the store has ended; a run stays in the index until a sweep has seen its end."""
    from orchestrator import keys
    from orchestrator.connection import guarded
    from orchestrator.run.models import FINAL_RUN_STATES

    try:
        with guarded():
            indexed: Any = client.redis.zrange(keys.ACTIVE, 0, _LOOK_AT)
        states = [client.reader.state(run_id.decode()) for run_id in indexed]
    except OrchestratorError:
        return False
    return len(states) <= _LOOK_AT and all(state in FINAL_RUN_STATES for state in states)


def need_worker(client: Client) -> None:
    """Raises StoreUnavailable when no worker announces itself in time."""
    from orchestrator.cli.patience import until

    if not until(lambda: bool(alive_workers(client)), ANSWER_TIMEOUT):
        raise StoreUnavailable("no worker is running: start one with `orchestrator worker`")
