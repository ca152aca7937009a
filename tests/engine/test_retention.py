"""Nothing in Redis grows for ever: what runs leave behind is counted before and after many of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from time import time
from typing import Any, cast

import pytest
import redis

from orchestrator import Client, RunHandle, keys
from orchestrator.errors import NotFound
from orchestrator.run import dead_letters
from orchestrator.run.models import RunState
from tests.conftest import Store
from tests.workers import QUICK_ENGINE, Worker, eventually

RETENTION = 2
DAY = 24 * 3600
LEFT = 40
SIZES = {b"zset": "zcard", b"hash": "hlen", b"list": "llen", b"set": "scard", b"stream": "xlen", b"string": "strlen"}


@pytest.fixture(scope="module")
def client(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a worker that keeps runs for two seconds after their end."""
    directory = tmp_path_factory.mktemp("retention")
    engine = directory / "engine.yaml"
    engine.write_text(f"{QUICK_ENGINE.read_text()}\n  retention: {RETENTION}\n")
    environment = {"ORCHESTRATOR_ENGINE_FILE": str(engine)}
    with Worker(module_store.url, directory, pool="threads", environment=environment), Client(
        module_store.url
    ) as connected:
        yield connected


def step(name: str, *needs: str, agent: str = "noop", **parameters: Any) -> dict[str, Any]:
    return {"id": name, "agent": agent, "needs": list(needs), "with": parameters, "retry": {"maximum_attempts": 1}}


GROUP = {"g": {"agents": [step("b"), step("c")], "parallel_capable": True, "dependencies": ["a"]}}
KINDS: list[dict[str, Any]] = [
    {"name": "chain", "steps": [step("a"), step("d", "a")]},
    {"name": "group", "steps": [step("a"), step("d", "b", "c")], "execution_groups": GROUP},
    {"name": "failed", "steps": [step("a"), step("d", "a", agent="fail", times=9)]},
    {"name": "retried", "steps": [step("a", agent="fail", times=1), step("d", "a")]},
    {"name": "cancelled", "steps": [step("a", agent="sleep", seconds=600)]},
]


def play(client: Client, number: int) -> RunHandle:
    """Submit one run of every kind in turn, some of them with a key, some parked in the dead-letter list."""
    run = client.submit(KINDS[number % len(KINDS)], idempotency_key=f"key-{number}" if number % 3 else None)
    if number % len(KINDS) == 4:
        run.cancel()
    return run


def ended(client: Client, runs: list[RunHandle]) -> None:
    """Wait for runs; some may have ended so long ago that they have expired."""
    for number, run in enumerate(runs):
        kind = KINDS[number % len(KINDS)]["name"]
        with suppress(NotFound):
            run.status()
            if kind == "retried" and run.wait(30).state is RunState.FAILED:
                run.retry("a")
            if kind == "failed":
                dead_letters.park(client.redis, run.id, "d")
            run.wait(30)


BOUNDED = {keys.ALARMS, keys.ALERTS, keys.NEWS}
"""Streams and hashes that keep so many and no more; the first two are there when the machine was too busy at times."""


def lasting(store: redis.Redis) -> dict[str, int]:
    """Every key that does not expire, with its size. No other key outlives a day, but what was learned of agents."""
    found = {}
    for key in store.scan_iter(count=1000):
        left, kind = store.ttl(key), cast(bytes, store.type(key))
        if left == -1:
            found[key.decode()] = int(getattr(store, SIZES[kind])(key))
        assert left <= DAY or key == keys.DURATIONS.encode(), key
    return {key: size for key, size in found.items() if size and key not in BOUNDED}


def settled(client: Client) -> dict[str, int]:
    """What is there when all runs have expired and another one has ended, which is when indexes are tidied."""

    def tidy() -> bool:
        if client.redis.zcard("orc:runs") <= LEFT and not client.redis.zcard("orc:dlq"):
            return True
        newest = cast(list[tuple[bytes, float]], client.redis.zrange("orc:runs", -1, -1, withscores=True))
        if newest and time() - newest[0][1] > 2 * RETENTION:
            client.submit(KINDS[0]).wait(30)
        return False

    eventually(tidy, within=90, what="the indexes forget what has expired")
    eventually(lambda: not any(client.redis.scan_iter("orc:{*")), within=30, what="the last runs expire")
    eventually(lambda: not client.redis.zcard("orc:active"), within=30, what="no run is active")
    return lasting(client.redis)


@pytest.mark.proofs
@pytest.mark.timeout(900)
def test_keys_before_and_after_a_thousand_runs_are_the_same(client: Client) -> None:
    ended(client, [play(client, number) for number in range(10)])
    before = settled(client)
    for start in range(0, 1000, 50):
        ended(client, [play(client, number) for number in range(start, start + 50)])
    after = settled(client)
    assert after.keys() <= before.keys()
    grown = {key: (before[key], size) for key, size in after.items() if size > before[key]}
    assert {key: sizes for key, sizes in grown.items() if key != "orc:runs"} == {}
    assert after["orc:runs"] <= LEFT, "what the tidying runs themselves have left"
