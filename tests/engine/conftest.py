"""One fleet for a whole module of engine tests: starting workers is what takes time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import Client
from tests.conftest import Store, _databases
from tests.servers import ValkeyServer
from tests.workers import Worker


@pytest.fixture(scope="module")
def module_store(valkey_server: ValkeyServer) -> Store:
    """A database that the tests of a module share with their workers."""
    store = Store(valkey_server, next(_databases))
    with valkey_server.client(store.database) as client:
        client.flushdb()
    return store


@pytest.fixture(scope="module")
def worker(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A prefork worker with four children for all queues."""
    with Worker(module_store.url, tmp_path_factory.mktemp("worker")) as running:
        yield running


@pytest.fixture(scope="module")
def client(module_store: Store, worker: Worker) -> Iterator[Client]:
    """A client of that worker's store."""
    with Client(module_store.url) as connected:
        yield connected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
