"""What most tests of the store begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.engine.runtime import Runtime
from orchestrator.settings import EngineSettings
from tests.state.bench import Bench


@pytest.fixture
def bench(store_url: str) -> Iterator[Bench]:
    """A ledger on a database of its own."""
    bench = Bench(store_url)
    yield bench
    bench.client.close()


@pytest.fixture
def runtime(store_url: str) -> Runtime:
    """The engine on that database, with its settings as they are by default."""
    return Runtime(store_url, EngineSettings())
