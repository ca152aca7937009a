"""What a lock of the context costs: `python -m tests.benchmarks.bench_locks`, beside redis-py's own Lock.

Both run on one server, taking turns, so that whatever else the machine does disturbs both alike. Ours is fair, knows
readers and writers, fences, and checks that the attempt is the current one; redis-py's is a `SET NX` that is polled
for. Throughput is that of threads which read and write one value under the lock; the commands are those for the lock.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any, cast

import redis

from orchestrator.connection import connect
from orchestrator.context.locks import Locks
from tests.servers import ValkeyServer
from tests.state import locking
from tests.state.locking import RUN

ROUNDS = 5000
TURNS = 2000
WAITERS = (4, 16)
SENT = ("evalsha", "eval", "set", "blpop")


def commands(client: redis.Redis) -> int:
    """How many commands clients have sent to take and to return locks."""
    stats = cast("dict[str, dict[str, Any]]", client.info("commandstats"))
    return sum(int(stats[f"cmdstat_{name}"]["calls"]) for name in SENT if f"cmdstat_{name}" in stats)


def uncontended(client: redis.Redis) -> None:
    """Acquire and release of a free lock, in microseconds and in round trips."""
    locks, holder = Locks(client, RUN), locking.begin(client, "a")
    theirs = client.lock("theirs", timeout=5)

    def take_ours() -> None:
        locks.release(locks.acquire("requirements", holder=holder, write=True))

    def take_theirs() -> None:
        theirs.acquire()
        theirs.release()

    taken: dict[str, list[float]] = {"ours": [], "redis-py": []}
    for _ in range(ROUNDS):
        for name, take in (("ours", take_ours), ("redis-py", take_theirs)):
            start = perf_counter()
            take()
            taken[name].append((perf_counter() - start) * 1e6)
    print(f"uncontended acquire + release, {ROUNDS} rounds   median     p99   round trips")
    for name, take in (("ours", take_ours), ("redis-py", take_theirs)):
        before = commands(client)
        take()
        p99 = quantiles(taken[name], n=100)[98]
        print(f"  {name:45} {median(taken[name]):5.0f} us {p99:4.0f} us {commands(client) - before:6}")
    print(f"  ours / redis-py {median(taken['ours']) / median(taken['redis-py']):.2f}\n")


def contended(client: redis.Redis, waiters: int) -> None:
    """Threads that take one lock in turns."""
    locks = Locks(client, RUN)
    holders = [locking.begin(client, f"s{number}") for number in range(waiters)]
    theirs = [client.lock("theirs", timeout=5, sleep=0.001) for _ in range(waiters)]

    def count(field: str) -> None:
        value = cast("bytes | None", client.hget("counted", field))
        client.hset("counted", field, int(value or 0) + 1)

    def take_ours(number: int) -> None:
        lock = locks.acquire("requirements", holder=holders[number], write=True)
        count("ours")
        locks.release(lock)

    def take_theirs(number: int) -> None:
        theirs[number].acquire()
        count("theirs")
        theirs[number].release()

    for name, take in (("ours", take_ours), ("redis-py, polling every ms", take_theirs)):
        before = commands(client)
        seconds, longest = _in_turns(waiters, take)
        sent = (commands(client) - before) / TURNS
        print(f"  {waiters:2} threads, {name:27} {TURNS / seconds:7.0f} turns/s {sent:6.1f} commands a turn, "
              f"longest wait {longest * 1000:6.1f} ms")  # fmt: skip


def _in_turns(threads: int, take: Callable[[int], None]) -> tuple[float, float]:
    gate, waits = threading.Barrier(threads + 1), list[float]()

    def work(number: int) -> None:
        longest = 0.0
        gate.wait()
        for _ in range(TURNS // threads):
            start = perf_counter()
            take(number)
            longest = max(longest, perf_counter() - start)
        waits.append(longest)

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    gate.wait()
    start = perf_counter()
    for thread in running:
        thread.join()
    return perf_counter() - start, max(waits)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = ValkeyServer(Path(directory))
        server.start()
        try:
            client = connect(server.url())
            uncontended(client)
            print(f"contended, {TURNS} turns in all")
            for waiters in WAITERS:
                contended(client, waiters)
        finally:
            server.close()


if __name__ == "__main__":
    main()
