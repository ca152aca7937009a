"""One worker for a whole module of engine tests: starting workers is what takes time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator import Client
from tests.conftest import Store
from tests.workers import Worker


@pytest.fixture(scope="module", params=["prefork"])
def worker(
    request: pytest.FixtureRequest, module_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """A worker with four slots for all queues. Parametrize it with "threads" where the pool makes a difference."""
    directory = tmp_path_factory.mktemp("worker")
    with Worker(module_store.url, directory, pool=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def client(module_store: Store, worker: Worker) -> Iterator[Client]:
    """A client of that worker's store."""
    with Client(module_store.url) as connected:
        yield connected
