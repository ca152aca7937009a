"""Fixtures for every test that needs a store: a real server, one database for each test."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
import redis

from tests.servers import DATABASES, ValkeyServer

ROOT = Path(__file__).parents[1]

_databases = itertools.cycle(range(1, DATABASES))


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


@pytest.fixture
def store(valkey_server: ValkeyServer) -> Store:
    """An empty database; no other test of this session writes into it."""
    store = Store(valkey_server, next(_databases))
    with valkey_server.client(store.database) as client:
        client.flushdb()
    return store


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
