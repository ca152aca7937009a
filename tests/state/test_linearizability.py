"""What several processes see of the store at the same time could have happened one after another."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise

import pytest

from orchestrator.connection import connect
from tests.conftest import Store
from tests.linearizability import Operation, broken_keys, linearizable
from tests.state import histories
from tests.state.histories import Work, step
from tests.state.locking import read

PROCESSES, OPERATIONS = 6, 500
KEYS = [f"k{number}" for number in range(16)]


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Processes that begin each task together."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context, histories.prepare, (context.Barrier(PROCESSES),)) as pool:
        yield pool


def history(store: Store, pool: ProcessPoolExecutor, kind: Work) -> list[Operation]:
    """What all of them saw."""
    tasks = [pool.submit(histories.work, store.url, kind, process, OPERATIONS, KEYS) for process in range(PROCESSES)]
    seen = [operation for task in tasks for operation in task.result(200)]
    assert len(seen) == PROCESSES * OPERATIONS
    assert _overlapping(seen) > 100, "the processes worked one after another, which shows nothing"
    return seen


def _overlapping(seen: list[Operation]) -> int:
    """How many operations began before an earlier one on their key, of another process, had ended."""
    found = 0
    for key in KEYS:
        mine = sorted((one for one in seen if one.key == key), key=lambda one: one.begin)
        found += sum(after.begin < before.end for before, after in pairwise(mine))
    return found


def test_compare_and_set_is_linearizable(store: Store, processes: ProcessPoolExecutor) -> None:
    assert broken_keys(history(store, processes, histories.compare_and_set), 0, step) == []


def test_get_then_set_is_not(store: Store, processes: ProcessPoolExecutor) -> None:
    assert broken_keys(history(store, processes, histories.get_then_set), 0, step)


def test_what_locks_protect_is_linearizable(store: Store, processes: ProcessPoolExecutor) -> None:
    seen = history(store, processes, histories.locked)
    assert broken_keys(seen, 0, step) == []
    client = connect(store.url)
    increments = sum(operation.name == "increment" for operation in seen)
    assert sum(read(client, key) for key in KEYS) == increments


def test_the_same_without_locks_is_not(store: Store, processes: ProcessPoolExecutor) -> None:
    assert broken_keys(history(store, processes, histories.unlocked), 0, step)


# -- the checker itself -------------------------------------------------------------------------------------------


def reads(process: int, value: int, begin: int, end: int) -> Operation:
    return Operation(process, "k", "read", None, value, begin, end)


def sets(process: int, old: int, new: int, done: bool, begin: int, end: int) -> Operation:
    return Operation(process, "k", "cas", (old, new), done, begin, end)


@pytest.mark.parametrize(
    ("operations", "possible"),
    [
        ([], True),
        ([reads(1, 0, 0, 1)], True),
        ([reads(1, 1, 0, 1)], False),
        # a read beside a write may see either value, one after it only the new
        ([sets(1, 0, 1, True, 0, 10), reads(2, 0, 1, 2)], True),
        ([sets(1, 0, 1, True, 0, 10), reads(2, 1, 1, 2)], True),
        ([sets(1, 0, 1, True, 0, 10), reads(2, 0, 11, 12)], False),
        # once somebody has seen the new value nobody sees the old one
        ([sets(1, 0, 1, True, 0, 10), reads(2, 1, 1, 2), reads(3, 0, 3, 4)], False),
        ([sets(1, 0, 1, True, 0, 10), reads(2, 1, 1, 4), reads(3, 0, 3, 5)], True),
        # one of two equal exchanges wins
        ([sets(1, 0, 1, True, 0, 10), sets(2, 0, 1, True, 1, 9)], False),
        ([sets(1, 0, 1, True, 0, 10), sets(2, 0, 1, False, 1, 9)], True),
        ([sets(1, 0, 1, False, 0, 10)], False),
        # the search has to take back its first choice
        (
            [sets(1, 0, 1, True, 0, 10), sets(2, 0, 2, False, 0, 10), sets(3, 1, 0, True, 0, 10), reads(4, 1, 0, 3)],
            True,
        ),
    ],
)
def test_the_checker_knows_what_is_possible(operations: list[Operation], possible: bool) -> None:
    assert linearizable(operations, 0, step) == possible
