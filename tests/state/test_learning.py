"""Durations in Redis: appended by many workers, bounded, forgotten in time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from orchestrator import keys
from orchestrator.connection import connect
from orchestrator.errors import StoreUnavailable
from orchestrator.fleet import learning
from orchestrator.fleet.learning import EXPIRY_SECONDS, KEPT, Sample, durations, learn


def samples(*seconds: float, size: int = 0, ok: bool = True) -> list[Sample]:
    return [Sample(agent="pm", size=size, seconds=value, ok=ok) for value in seconds]


def test_durations_are_kept_by_agent_and_size_the_newest_last(store_url: str, store_client: redis.Redis) -> None:
    client = connect(store_url)
    learn(client, [*samples(1, 2), *samples(8, size=3), *samples(99, ok=False)])
    learn(client, samples(4))
    assert store_client.hgetall(keys.DURATIONS) == {"pm": "1 2 8 4", "pm/0": "1 2 4", "pm/3": "8"}
    found = durations(client)
    assert (found["pm"].count, found["pm/0"].p50, found["pm/3"].ewma) == (4, 2, 8)
    assert EXPIRY_SECONDS - 60 <= store_client.ttl(keys.DURATIONS) <= EXPIRY_SECONDS


def test_only_the_newest_are_kept_however_many_come_at_once(store_url: str, store_client: redis.Redis) -> None:
    client = connect(store_url)
    for start in (0, 50, 100):
        learn(client, samples(*(float(start + number) for number in range(50))))
    text = str(store_client.hget(keys.DURATIONS, "pm"))
    assert text.split() == [str(number) for number in range(150 - KEPT, 150)]
    learn(client, samples(*(float(number) for number in range(1000, 1500))))
    assert str(store_client.hget(keys.DURATIONS, "pm")).split()[0] == str(1500 - KEPT)


def test_workers_that_write_at_the_same_time_lose_nothing(store_url: str) -> None:
    client = connect(store_url)
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda value: learn(client, samples(value)), [1.0] * 60))
    assert durations(client)["pm"].count == 60


def test_nothing_is_sent_when_nothing_was_done(store_url: str, store_client: redis.Redis) -> None:
    learn(connect(store_url), [])
    assert not store_client.exists(keys.DURATIONS)


def test_samples_are_kept_in_batches_and_those_of_an_outage_with_the_next(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, sent = connect(store_url), list[int]()

    def sometimes(client: redis.Redis, given: Sequence[Sample]) -> None:
        sent.append(len(given))
        if len(sent) == 2:
            raise StoreUnavailable("it is away")
        learn(client, given)

    monkeypatch.setattr(learning, "learn", sometimes)
    learner = learning.Learner(client)
    learner.keep([])
    learner.keep(samples(*[1.0] * 700))
    learner.keep(samples(9.0, size=3))
    assert sent == [500, 200, 201]
    assert (durations(client)["pm"].count, durations(client)["pm/3"].count) == (64, 1)
    assert durations(client)["pm"].p95 == 1.0
