"""Fixtures for every test that needs a store: a real server, one database for each test."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest
import redis

from tests import servers
from tests.servers import DATABASES, ValkeyServer

ROOT = Path(__file__).parents[1]

SLOWEST_FIRST = ("acceptance", "faults", "browser", "engine", "proofs", "benchmarks", "state", "unit")
"""What takes long begins first when tests run side by side, so that no core is left with it at the end."""

# An example may take its time: the cores are shared with other tests, and what it takes says nothing here.
hypothesis.settings.register_profile("shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared")

_databases = itertools.cycle(range(1, DATABASES))


# In the background of a shell, SIGINT is ignored, and children inherit that; here it has to arrive.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, because most tests wait half of their time for what they have started."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first."""
    items.sort(key=lambda item: SLOWEST_FIRST.index(item.path.relative_to(ROOT / "tests").parts[0]))


class StartServer(Protocol):
    """Starts a server that the test has for itself; it is ended with the test."""

    def __call__(
        self, directory: Path, *, aof: bool = False, options: dict[str, str] | None = None
    ) -> ValkeyServer: ...


@dataclass(frozen=True, slots=True)
class Store:
    """One empty database on the shared server."""

    server: ValkeyServer
    database: int

    @property
    def url(self) -> str:
        return self.server.url(self.database)

    @property
    def broker_url(self) -> str:
        return self.server.broker_url(self.database)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """The server that all tests share. Do not kill it: `start_server` gives you one to kill."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    try:
        server.start()
        yield server
    finally:
        server.close()


def empty_database(server: ValkeyServer) -> Store:
    """One that no other test of this session writes into."""
    store = Store(server, next(_databases))
    with server.client(store.database) as client:
        client.flushdb()
    return store


@pytest.fixture
def store(valkey_server: ValkeyServer) -> Store:
    """An empty database; no other test of this session writes into it."""
    return empty_database(valkey_server)


@pytest.fixture(scope="module")
def module_store(valkey_server: ValkeyServer) -> Store:
    """A database that the tests of a module share with their workers."""
    return empty_database(valkey_server)


@pytest.fixture
def store_url(store: Store) -> str:
    """The test's database as redis-py names it."""
    return store.url


@pytest.fixture
def broker_url(store: Store) -> str:
    """The same database as Celery names it."""
    return store.broker_url


@pytest.fixture
def store_client(store: Store) -> Iterator[redis.Redis]:
    """A plain client on the test's database, to look at what the code under test has written."""
    with store.server.client(store.database) as client:
        yield client


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """A factory of further servers, such as one with an AOF that the test kills and restarts."""
    with ExitStack() as running:

        def start(directory: Path, *, aof: bool = False, options: dict[str, str] | None = None) -> ValkeyServer:
            server = ValkeyServer(directory, aof=aof, options=options)
            running.callback(server.close)
            server.start()
            return server

        yield start


@pytest.fixture
def free_port() -> int:
    """A loopback port that nobody listens on."""
    return unused_ports(1)[0]


def unused_ports(number: int) -> list[int]:
    """So many of them."""
    found = set[int]()
    while len(found) < number:
        found.add(servers.free_port())
    return sorted(found)
