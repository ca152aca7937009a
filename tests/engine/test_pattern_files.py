"""The patterns as files of this deployment, run by its own worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Client
from orchestrator.run.models import RunState
from tests.conftest import Store
from tests.workers import Worker

SECONDS = 40
TEXTS = ["", "one", "one two", "one two three", "one two three four"] * 4
LENGTHS = [0, 1, 2, 3, 4] * 4
NUMBERS = [(37 * number) % 101 for number in range(101)]


@pytest.fixture(scope="module")
def client(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Worker(module_store.url, tmp_path_factory.mktemp("files")), Client(module_store.url) as connected:
        yield connected


@pytest.mark.parametrize(
    ("name", "inputs", "step", "result"),
    [
        ("scatter_gather", {"texts": TEXTS}, "counted", {"count": 20, "failed": 0, "results": LENGTHS}),
        ("scatter_gather", {"texts": [*TEXTS, 1]}, "counted", {"count": 21, "failed": 1, "results": LENGTHS}),
        ("pipeline", {"texts": TEXTS}, "total", {"count": 20, "failed": 0, "result": 28}),
        ("fork_join", {"numbers": NUMBERS}, "sorted", {"count": 4, "failed": 0, "result": sorted(NUMBERS)}),
    ],
    ids=["scatter_gather", "one item fails", "pipeline", "fork_join"],
)  # fmt: skip
def test_a_file_does_what_it_says(client: Client, name: str, inputs: Any, step: str, result: Any, root: Path) -> None:
    handle = client.submit(root / "config" / "workflows" / f"{name}.yaml", inputs)
    status = handle.wait(SECONDS)
    assert status.state is RunState.SUCCESS, status
    assert handle.result()[step] == result

