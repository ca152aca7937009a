"""Processes that work on the same keys at the same time, and write down what they asked and what they were told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from multiprocessing.synchronize import Barrier
from random import Random
from time import monotonic_ns
from typing import Any

import redis

from orchestrator import keys
from orchestrator.connection import connect
from orchestrator.context.locks import Locks
from orchestrator.scripts import Script
from tests.linearizability import Operation
from tests.state import locking
from tests.state.locking import BASE, RUN

COMPARE_AND_SET = Script(
    BASE,
    """
if tonumber(redis.call('HGET', P .. ':test', A.key) or 0) ~= A.old then return 0 end
redis.call('HSET', P .. ':test', A.key, A.new)
return 1
""",
)
Work = Callable[["Worker", str], tuple[str, Any, Any]]
_gate: Barrier | None = None


def step(state: int, operation: Operation) -> int | None:
    """What a number that can be read, compared and set, and counted up answers."""
    if operation.name == "read":
        return state if operation.result == state else None
    if operation.name == "increment":
        return state + 1 if operation.result == state + 1 else None
    old, new = operation.argument
    fits: bool = state == old
    return None if operation.result != fits else new if fits else state


def compare_and_set(worker: Worker, key: str) -> tuple[str, Any, Any]:
    """Read, or set if it still is what this process knows of it, in one script."""
    if worker.random.random() < 0.5:
        return "read", None, worker.read(key)
    old, new = worker.known.get(key, 0), next(worker.fresh)
    done = bool(COMPARE_AND_SET(worker.client, RUN, {"key": key, "old": old, "new": new}))
    return "cas", (old, new), worker.learn(key, new, done)


def get_then_set(worker: Worker, key: str) -> tuple[str, Any, Any]:
    """The mistake: the same in two steps."""
    if worker.random.random() < 0.5:
        return "read", None, worker.read(key)
    old, new = worker.known.get(key, 0), next(worker.fresh)
    done = worker.read(key) == old
    if done:
        worker.client.hset(keys.run_key(RUN, "test"), key, new)
    return "cas", (old, new), worker.learn(key, new, done)


def locked(worker: Worker, key: str) -> tuple[str, Any, Any]:
    """Read under the read lock, or count up under the write lock in three round trips."""
    writes = worker.random.random() < 0.5
    locks = Locks(worker.client, RUN)
    lock = locks.acquire(key, holder=worker.holder, write=writes)
    value = worker.read(key)
    if writes:
        value += 1
        assert locking.write(worker.client, lock, value)
    locks.release(lock)
    return ("increment" if writes else "read"), None, value


def unlocked(worker: Worker, key: str) -> tuple[str, Any, Any]:
    """The mistake: the same without locks."""
    writes = worker.random.random() < 0.5
    value = worker.read(key)
    if writes:
        value += 1
        worker.client.hset(keys.run_key(RUN, "test"), key, value)
    return ("increment" if writes else "read"), None, value


class Worker:
    """One process: its connection, what it knows of each key, and values that nobody else sets."""

    def __init__(self, url: str, process: int) -> None:
        self.client: redis.Redis = connect(url)
        self.random = Random(process)
        self.holder = locking.begin(self.client, f"p{process}")
        self.known: dict[str, int] = {}
        self.fresh = count(1_000_000 * (process + 1))

    def read(self, key: str) -> int:
        self.known[key] = locking.read(self.client, key)
        return self.known[key]

    def learn(self, key: str, value: int, done: bool) -> bool:
        if done:
            self.known[key] = value
        return done


def prepare(gate: Barrier) -> None:
    """Called in each process once: all of them begin together."""
    global _gate  # noqa: PLW0603 - a barrier reaches a process of a pool no other way
    _gate = gate


def work(url: str, kind: Work, process: int, times: int, names: list[str]) -> list[Operation]:
    """So many operations on these keys, as this process saw them."""
    worker, seen = Worker(url, process), list[Operation]()
    assert _gate is not None
    _gate.wait(30)
    for _ in range(times):
        key = worker.random.choice(names)
        begin = monotonic_ns()
        name, argument, result = kind(worker, key)
        seen.append(Operation(process, key, name, argument, result, begin, monotonic_ns()))
    return seen
