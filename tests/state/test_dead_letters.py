"""The dead-letter list and the indexes of runs, on a real server: what is in them, and what leaves them."""

from __future__ import annotations

import pytest
import redis

from orchestrator import keys
from orchestrator.connection import connect
from orchestrator.engine import retention
from orchestrator.engine.runtime import Runtime
from orchestrator.errors import NotFound
from orchestrator.run import dead_letters
from orchestrator.run.dead_letters import MESSAGES_KEPT, DeadMessage
from orchestrator.settings import EngineSettings
from orchestrator.settings import Runtime as RuntimeSettings
from tests.state.bench import Bench, spec, step


def poison(bench: Bench, name: str) -> None:
    """As the engine does it: parked first, ended then."""
    granted = bench.granted(name)
    dead_letters.park(bench.client, "run", name)
    bench.ledger.finish("run", name, "failed", token=granted.token, error="WorkerLost: gone", reason="poisoned")


def parked(bench: Bench) -> list[tuple[str, str]]:
    return [(one.run_id, one.step) for one in dead_letters.steps(bench.client)]


def test_a_parked_step_is_told_as_its_run_has_it(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b")))
    poison(bench, "a")
    (found,) = dead_letters.steps(bench.client)
    assert (found.step, found.agent, found.workflow, found.attempts) == ("a", "noop", "test", 1)
    assert (found.error, found.reason, found.at) == ("WorkerLost: gone", "poisoned", bench.now)
    dead_letters.drop(bench.client, "run", "a")
    assert parked(bench) == []
    assert bench.state("a") == "failed"
    with pytest.raises(NotFound):
        dead_letters.drop(bench.client, "run", "a")


def test_a_crash_between_parking_and_the_end_leaves_no_wrong_entry(bench: Bench) -> None:
    """The entry comes first: while the attempt is not ended it is not shown, and kept; else it is forgotten."""
    bench.create(spec(step("a"), step("b")))
    granted = bench.granted("a")
    dead_letters.park(bench.client, "run", "a")
    assert parked(bench) == []
    bench.ledger.finish("run", "a", "failed", token=granted.token, reason="poisoned")
    assert parked(bench) == [("run", "a")]
    dead_letters.park(bench.client, "run", "b")
    bench.run_step("b")
    assert parked(bench) == [("run", "a")]
    assert bench.client.zcard(keys.DEAD_STEPS) == 1


def test_a_retried_step_leaves_the_list_and_an_expired_run_takes_its_steps_with_it(bench: Bench) -> None:
    bench.create(spec(step("a"), step("b")))
    poison(bench, "a")
    poison(bench, "b")
    bench.ledger.retry("run", "a")
    assert parked(bench) == [("run", "b")]
    for name in bench.client.scan_iter("orc:{run}*"):
        bench.client.delete(name)
    assert parked(bench) == []
    assert bench.client.exists(keys.DEAD_STEPS) == 0


def test_of_messages_the_newest_are_kept_for_a_while(bench: Bench) -> None:
    client = bench.client
    for number in range(MESSAGES_KEPT + 5):
        dead_letters.keep_message(client, DeadMessage(reason="rejected", body=str(number)), retention=60)
    found = dead_letters.messages(client)
    assert [found[0].body, found[-1].body, len(found)] == [str(MESSAGES_KEPT + 4), "5", MESSAGES_KEPT]
    assert 0 < client.ttl(keys.DEAD_MESSAGES) <= 60
    dead_letters.drop_message(client, found[0].id)
    assert dead_letters.messages(client)[0].body == str(MESSAGES_KEPT + 3)
    dead_letters.keep_message(client, DeadMessage(reason="rejected"), retention=0)


def runtime(store_url: str, keep: float) -> Runtime:
    return Runtime(store_url, EngineSettings(engine=RuntimeSettings(retention=keep)))


def test_a_run_that_was_opened_again_stays_in_the_index(store_url: str) -> None:
    """A sweep has read that it has ended, and is slower than a retry."""
    client: redis.Redis = connect(store_url)
    client.zadd(keys.ACTIVE, {"over": 12.345678901, "again": 12.345678901})
    client.zadd(keys.ACTIVE, {"again": 13.0})  # the retry
    for run_id in ("over", "again"):
        retention.leave(runtime(store_url, 0), run_id, 12.345678901, now=20.0)
    assert client.zrange(keys.ACTIVE, 0, -1) == [b"again"]


def test_indexes_forget_what_has_expired_and_keep_what_is_young_or_lives(store_url: str) -> None:
    client: redis.Redis = connect(store_url)
    client.hset(keys.run_key("lives", "meta"), "state", "paused")
    client.zadd(keys.RUNS, {"lives": 1.0, "gone": 1.0, "young": 90.0})
    retention.forget_expired(runtime(store_url, 0), keys.RUNS, now=100.0)
    assert client.zcard(keys.RUNS) == 3, "runs are kept for ever here"
    retention.forget_expired(runtime(store_url, 10), keys.RUNS, now=100.0)
    assert client.zrange(keys.RUNS, 0, -1) == [b"lives", b"young"]
    client.zadd(keys.RUNS, {f"gone-{number}": 1.0 for number in range(10 * retention.AT_ONCE)})
    for _ in range(20):
        retention.forget_expired(runtime(store_url, 10), keys.RUNS, now=100.0)
    assert client.zrange(keys.RUNS, 0, -1) == [b"lives", b"young"]
