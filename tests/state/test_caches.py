"""Caches on a real server: limits, order and lifetimes as a plain model has them; one computes, the others wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from orchestrator import keys
from orchestrator.cache import store as cache_store
from orchestrator.cache.models import CacheRules, Hit
from orchestrator.cache.store import Building, Cache
from orchestrator.connection import connect
from orchestrator.processes import die_with_parent
from orchestrator.scripts import Script
from tests.conftest import Store
from tests.state.cache_machine import CacheMachine
from tests.workers import ROOT, eventually

FAST = settings(
    phases=[Phase.explicit, Phase.generate],  # what it finds is short, and a hunt for less would take minutes
    max_examples=40, stateful_step_count=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
THOROUGH = settings(FAST, max_examples=500, stateful_step_count=60)
HUNT = settings(THOROUGH, phases=[Phase.generate], print_blob=False, report_multiple_bugs=False)
RULES = CacheRules("tried", 1_000_000, 60.0, lease=60.0)


@pytest.fixture
def machine(store_url: str) -> type[CacheMachine]:
    """The machine on a database of its own."""
    return type("Machine", (CacheMachine,), {"client": connect(store_url)})


def test_a_cache_does_what_a_dictionary_would(machine: type[CacheMachine]) -> None:
    run_state_machine_as_test(machine, settings=FAST)


@pytest.mark.proofs
def test_a_cache_does_what_a_dictionary_would_over_500_long_runs(machine: type[CacheMachine]) -> None:
    run_state_machine_as_test(machine, settings=THOROUGH)


SEEDS = {"nothing slides": 3, "age is no matter": 2}
"""Of the histories in which a mistake is found; those of 1 find the others."""

MUTANTS = {
    "a byte too many": ("> A.limit do", "> A.limit + 1 do"),
    "no clock": ("redis.call('HSET', STATE, 'clock', first[2])", ""),
    "no frequency": ("score * e.frequency", "score"),
    "no hit ratio": ("((hits + 1) / (hits + stores + 1))", "1"),
    "the newest first": ("'ZRANGE', ORDER", "'ZREVRANGE', ORDER"),
    "replaced twice": ("if before then remove(A.id, before) end", ""),
    "no use": ("e.frequency = e.frequency + 1", ""),
    "nothing slides": ("if e.slide > 0 then e.ends = NOW + e.slide end", ""),
    "age is no matter": ("NOW - e.stored > A.max_age", "false"),
}


@pytest.mark.proofs
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_is_found(machine: type[CacheMachine], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    old, new = MUTANTS[name]
    sources = {script: getattr(cache_store, script).source for script in ("LOOKUP", "PUT")}
    assert any(old in source for source in sources.values()), "the Lua has changed, and the mistake with it"
    for script, source in sources.items():
        monkeypatch.setattr(cache_store, script, Script(source.replace(old, new)))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(seed(SEEDS.get(name, 1))(machine), settings=HUNT)


def test_a_lifetime_ends_with_its_last_moment_and_an_age_includes_it(store_url: str) -> None:
    """At the very times; the machine's histories meet them too seldom to tell `<` from `<=` there."""
    client, rules = connect(store_url), CacheRules("tried", 1_000_000, 10.0)

    def at(now: float) -> Cache:
        return Cache(client, rules, now=now)

    assert at(1000.0).put("key", b"value", family="family", cost=1.0)
    assert at(1004.0).get("key", max_age=4.0) is not None
    assert at(1004.25).get("key", max_age=4.0) is None
    assert at(1009.75).get("key") is not None
    assert (at(1010.0).get("key"), at(1010.0).stats().expired) == (None, 1)
    at(1020.0).put("key", b"value", family="family", cost=1.0)
    at(1030.0).put("other", b"value", family="family", cost=1.0)
    left: Any = client.hkeys(keys.run_key(keys.cache_place("tried"), "values"))
    assert left == [b"other"]
    rules = replace(rules, slides=True)
    at(1040.0).put("slid", b"value", family="family", cost=1.0)
    assert [at(now).get("slid") is not None for now in (1049.75, 1059.5, 1069.5)] == [True, True, False]


@pytest.fixture
def cache(store_url: str) -> Cache:
    return Cache(connect(store_url), RULES)


def test_fifty_threads_that_ask_for_one_key_compute_it_once(cache: Cache, store_client: redis.Redis) -> None:
    computed, gate = list[int](), threading.Barrier(50)

    def work() -> bytes:
        computed.append(1)
        eventually(lambda: _blocked(store_client) == 49, within=60, what="all others wait")
        return b"worth it"

    def ask(_: int) -> bytes:
        gate.wait(60)
        return cache.compute("key", "family", work)

    with ThreadPoolExecutor(50) as threads:
        assert set(threads.map(ask, range(50))) == {b"worth it"}
    found = cache.stats()
    assert len(computed) == 1
    assert (found.stores, found.hits, found.misses) == (1, 49, 1)
    left: Any = store_client.keys("*:wake:*")
    assert left == [], "whoever was woken has taken its word"


def test_those_who_wait_send_nothing_meanwhile(cache: Cache, store_client: redis.Redis) -> None:
    """Their lookup and the blocked command are all, however long it takes: its computer's lease is renewed."""
    building = cache.enter("key")
    assert isinstance(building, Building)
    with building, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(cache.enter, "key")
        eventually(lambda: _blocked(store_client) == 1, within=60, what="the other one waits")
        building.keep(b"value", family="family", cost=1.0)
        entered = waiting.result(60)
    assert isinstance(entered, Hit)
    assert entered.value == b"value"


def _blocked(client: redis.Redis) -> int:
    info: Any = client.info("clients")
    return int(info["blocked_clients"])


LEASE = 2.0
COMPUTER = """
import sys, time
from orchestrator.cache.models import CacheRules
from orchestrator.cache.store import Cache
from orchestrator.connection import connect
RULES = CacheRules("tried", 1_000_000, 60.0, lease=float(sys.argv[2]))
with Cache(connect(sys.argv[1]), RULES).enter("key"):
    print("computing", flush=True)
    time.sleep(600)
"""


def test_a_computer_that_is_killed_is_replaced_within_its_lease(cache: Cache, store: Store) -> None:
    computer = subprocess.Popen(
        [sys.executable, "-c", COMPUTER, store.url, str(LEASE)], cwd=ROOT, stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
    )  # fmt: skip
    assert computer.stdout is not None
    assert computer.stdout.readline() == b"computing\n"
    computed = list[int]()

    def work() -> bytes:
        computed.append(1)
        return b"done"

    with store.server.client(store.database) as client, ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(cache.compute, "key", "family", work) for _ in range(8)]
        eventually(lambda: _blocked(client) == 8, within=60, what="all wait")
        lease: Any = client.pttl(keys.run_key(keys.cache_place("tried"), "build:key"))
        assert 0 < lease <= LEASE * 1000
        os.kill(computer.pid, signal.SIGKILL)
        computer.wait()
        assert {one.result(60) for one in asking} == {b"done"}
    assert len(computed) == 1, "one of those who waited has taken over"


def test_a_failed_computation_passes_on_the_right_to_the_next(cache: Cache, store_client: redis.Redis) -> None:
    begun = threading.Event()

    def fail() -> bytes:
        begun.set()
        eventually(lambda: _blocked(store_client) == 1, within=60, what="the other one waits")
        raise ValueError("no luck")

    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(cache.compute, "key", "family", fail)
        assert begun.wait(60)
        assert threads.submit(cache.compute, "key", "family", lambda: b"luck").result(60) == b"luck"
        with pytest.raises(ValueError, match="no luck"):
            failing.result(60)


def test_values_are_compressed_only_where_that_is_worth_it(store_url: str) -> None:
    client = connect(store_url)
    cache = Cache(client, CacheRules("tried", 1_000_000, compress_above=1000))
    values = {"text": b"again and again " * 100, "noise": os.urandom(1600), "short": b"again and again " * 50}
    for key, value in values.items():
        cache.put(key, value, family="family", cost=1.0)
        found = cache.get(key)
        assert found is not None
        assert found.value == value
    stored: Any = client.hgetall(keys.run_key(keys.cache_place("tried"), "values"))
    assert len(stored[b"text"]) < 0.1 * 1600
    assert (len(stored[b"noise"]), len(stored[b"short"])) == (1600 + 9, 800 + 9)


def test_a_bomb_is_no_value(cache: Cache, store_url: str, tmp_path: Path) -> None:
    """A frame that claims too much is a miss, and gone, even with a checksum that fits."""
    import lz4.frame

    from orchestrator.cache.codec import _checksum

    client, place = connect(store_url), keys.run_key(keys.cache_place("tried"), "values")
    cache.put("key", b"value", family="family", cost=1.0)
    bomb = b"\1" + lz4.frame.compress(bytes(300_000_000), store_size=True)
    client.hset(place, "key", _checksum(bomb) + bomb)
    assert cache.get("key") is None
    assert (cache.stats().corrupt, cache.stats().entries) == (1, 0)
