"""What a lock of the context costs, beside redis-py's own Lock.

Both run on one server, taking turns, so that whatever else the machine does disturbs both alike. Ours is fair, knows
readers and writers, fences, counts, and checks that the attempt is the current one; redis-py's is a `SET NX` that is
polled for. Contended, threads read and write one value under the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import NamedTuple, cast

import redis

from orchestrator import keys
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.bench.threads import side_by_side
from orchestrator.context.lock_models import Holder
from orchestrator.context.locks import Locks

PAIRS = 1000
TURNS = 800
THREADS = (4, 16)
RUN = "bench"
PEER = "redis-py Lock"
POLL_SECONDS = 0.001


class _Side(NamedTuple):
    """Seconds, or turns in a second, of each round, and commands of one turn."""

    samples: tuple[float, ...]
    commands: float


def measure(setting: Setting) -> Iterator[Measure]:
    """Acquire and release of a free lock, and turns in a second of threads that compete for one."""
    client = setting.server.client()
    ours, theirs = _alone(setting, client)
    yield Measure(
        name="acquire + release, free", unit="us", samples=ours.samples, commands=ours.commands,
        peer=PEER, peer_samples=theirs.samples, peer_commands=theirs.commands,
    )  # fmt: skip
    for threads in THREADS:
        ours, theirs = _contended(setting, client, threads)
        yield Measure(
            name=f"turns, {threads} threads", unit="1/s", better="higher", samples=ours.samples,
            commands=ours.commands, peer=PEER, peer_samples=theirs.samples, peer_commands=theirs.commands,
        )  # fmt: skip


def _holder(client: redis.Redis, step: str) -> Holder:
    """The ledger's part: an attempt of the step is running."""
    client.hset(keys.run_key(RUN, f"s:{step}"), mapping={"state": "running", "token": 1})
    return Holder(step, 1, "bench")


def _alone(setting: Setting, client: redis.Redis) -> tuple[_Side, _Side]:
    locks, holder, theirs = Locks(client, RUN), _holder(client, "a"), client.lock("theirs", timeout=5)

    def take_ours() -> None:
        locks.release(locks.acquire("requirements", holder=holder, write=True))

    def take_theirs() -> None:
        theirs.acquire()
        theirs.release()

    taken: dict[Callable[[], None], list[float]] = {take_ours: [], take_theirs: []}
    for _ in range(setting.rounds):
        times: dict[Callable[[], None], list[float]] = {take_ours: [], take_theirs: []}
        for _ in range(setting.times(PAIRS)):
            for take, seconds in times.items():
                begun = perf_counter()
                take()
                seconds.append(perf_counter() - begun)
        for take, seconds in times.items():
            taken[take].append(median(seconds) * 1e6)
    sides = []
    for take, medians in taken.items():
        with setting.server.listening() as sent:
            take()
        sides.append(_Side(tuple(medians), sent.total()))
    return sides[0], sides[1]


def _contended(setting: Setting, client: redis.Redis, threads: int) -> tuple[_Side, _Side]:
    locks = Locks(client, RUN)
    holders = [_holder(client, f"s{number}") for number in range(threads)]
    polled = [client.lock("theirs", timeout=5, sleep=POLL_SECONDS) for _ in range(threads)]

    def count(field: str) -> None:
        value = cast("bytes | None", client.hget("counted", field))
        client.hset("counted", field, int(value or 0) + 1)

    def take_ours(number: int) -> None:
        lock = locks.acquire("requirements", holder=holders[number], write=True)
        count("ours")
        locks.release(lock)

    def take_theirs(number: int) -> None:
        polled[number].acquire()
        count("theirs")
        polled[number].release()

    turns = max(1, setting.times(TURNS) // threads)
    rates: dict[Callable[[int], None], list[float]] = {take_ours: [], take_theirs: []}
    for _ in range(setting.rounds):
        for take, found in rates.items():
            found.append(threads * turns / _in_turns(threads, turns, take))
    sides = []
    for take, found in rates.items():
        with setting.server.listening() as sent:
            _in_turns(threads, max(1, turns // 4), take)
        own = sent.total() - sent["HGET"] - sent["HSET"]
        sides.append(_Side(tuple(found), own / (threads * max(1, turns // 4))))
    return sides[0], sides[1]


def _in_turns(threads: int, turns: int, take: Callable[[int], None]) -> float:
    """Seconds until each thread has had its turns."""
    return side_by_side([[number] * turns for number in range(threads)], take)[1]
