"""The patterns from Python and from agents, on one worker process: whoever waits for items works on them too."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from orchestrator import AsyncClient, Client
from orchestrator.errors import InvalidValue
from orchestrator.run.models import RunState
from tests.conftest import Store
from tests.workers import ROOT, Worker, eventually

SECONDS = 40
ONCE = {"maximum_attempts": 1}

FEEDER = """
import sys
from itertools import count
from orchestrator import Client
Client(sys.argv[1]).scatter_gather(count(), "double", concurrency=1, idempotency_key="endless", chunk_size=10)
"""


@pytest.fixture(scope="module")
def client(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = tmp_path_factory.mktemp("patterns")
    worker = Worker(module_store.url, directory, app="tests.engine.mapping_app", concurrency=1)
    with worker, Client(module_store.url) as connected:
        yield connected


def test_a_generator_is_fed_as_far_as_the_agents_keep_up(client: Client) -> None:
    read = 0
    most = 0
    done, before = client.redis, {*client.redis.scan_iter("orc:*:x:items")}

    def numbers() -> Iterator[int]:
        nonlocal read, most
        for number in range(400):
            read += 1
            if number % 10 == 0 and number > 100:
                (name,) = {*done.scan_iter("orc:*:x:items")} - before
                most = max(most, read - int(done.hget(name, "ended") or 0))
            yield number

    handle = client.scatter_gather(numbers(), "double", concurrency=1, chunk_size=5, retry=ONCE)
    assert handle.wait(SECONDS).state is RunState.SUCCESS
    assert list(handle.items()) == list(range(0, 800, 2))
    assert most <= 5 * (2 + 1 + 1), "two chunks that wait, one in work, one in the hands of the feeder"


def test_stages_and_forks_from_python(client: Client) -> None:
    stages = [{"map": "double"}, {"filter": "third"}, {"reduce": "total"}]
    whole = client.pipeline(range(1000), stages)
    forked = client.fork_join(list(range(20, 0, -1)), 3, "sort", "join")
    assert whole.wait(SECONDS).state is RunState.SUCCESS
    assert list(whole.items()) == [sum(2 * number for number in range(1000) if number % 3 == 0)]
    assert forked.wait(SECONDS).state is RunState.SUCCESS
    assert next(forked.items()) == {"slices": 3, "sorted": list(range(1, 21))}


def test_the_same_for_asyncio_and_who_is_cancelled_feeds_no_more(client: Client, module_store: Store) -> None:
    async def numbers(count: int) -> AsyncIterator[int]:
        for number in range(count):
            await asyncio.sleep(0)
            yield number

    async def go() -> None:
        async with AsyncClient(module_store.url) as waiting:
            stages = [{"map": "double"}, {"filter": "third"}]
            scattered, whole, forked = await asyncio.gather(
                waiting.scatter_gather(numbers(50), "double", concurrency=1),
                waiting.pipeline(range(30), stages, chunk_size=5),
                waiting.fork_join([3, 1, 2], 2, "sort", "join"),
            )
            for run in (scattered, whole, forked):
                assert (await run.wait(SECONDS)).state is RunState.SUCCESS
            assert [item async for item in scattered.items()] == list(range(0, 100, 2))
            assert [item async for item in whole.items()] == list(range(0, 60, 6))
            assert [item async for item in forked.items()] == [{"slices": 2, "sorted": [1, 2, 3]}]
            given: list[int] = []
            items = (given.append(number) or number for number in itertools.count())  # type: ignore[func-returns-value]
            endless = asyncio.create_task(waiting.scatter_gather(items, "double", concurrency=1, chunk_size=5))
            await asyncio.to_thread(eventually, lambda: len(given) > 20, within=SECONDS, what="it feeds")
            endless.cancel()
            with pytest.raises(asyncio.CancelledError):
                await endless

    asyncio.run(go())  # its threads have to end with it
    (left,) = client.list(workflow="scatter_gather", state="running")
    assert client.get(left.run_id).cancel()


def test_a_feeder_that_dies_is_missed_and_another_one_goes_on_behind_it(client: Client, module_store: Store) -> None:
    feeder = subprocess.Popen([sys.executable, "-c", FEEDER, module_store.url], cwd=ROOT)
    (found,) = eventually(lambda: client.list(state="running", limit=1), within=SECONDS, what="the run is there")
    handle = client.get(found.run_id)
    eventually(lambda: (handle.status().steps["items"].message or "") > "3", within=SECONDS, what="it feeds")
    feeder.send_signal(signal.SIGKILL)
    feeder.wait()
    said = "waits for its feeder"
    eventually(lambda: handle.status().steps["items"].message.startswith(said), within=SECONDS, what="it is missed")
    fed = int(client.redis.hget(f"orc:{{{handle.id}}}:x:items", "items") or 0)
    resumed = client.scatter_gather(range(fed + 25), "double", concurrency=1, idempotency_key="endless", chunk_size=10)
    assert resumed.id == handle.id
    assert resumed.wait(SECONDS).state is RunState.SUCCESS
    assert list(resumed.items()) == list(range(0, 2 * (fed + 25), 2))
    calls = client.redis.hvals(f"effects:{handle.id}:double")
    assert set(calls) == {b"1"}


def test_an_item_that_is_no_json_is_told_with_its_place(client: Client) -> None:
    with pytest.raises(InvalidValue, match="item 3"):
        client.scatter_gather([0, 1, 2, {1, 2}], "double", concurrency=1)
    (run,) = client.list(workflow="scatter_gather", state="running", limit=1)
    client.get(run.run_id).cancel()


def test_an_agent_calls_patterns_and_its_next_attempt_finds_what_it_has_begun(client: Client) -> None:
    """Its only worker process is its own, and dies once."""
    before = len(client.list(workflow="pipeline"))
    handle = client.submit({"name": "calls", "steps": [{"id": "a", "agent": "caller"}]})
    status = handle.wait(SECONDS)
    assert status.state is RunState.SUCCESS, status
    assert (status.steps["a"].attempts, handle.result()["a"]) == (2, {
        "doubled": list(range(0, 80, 2)), "whole": sum(range(0, 80, 2)),
        "merged": {"slices": 2, "sorted": list(range(10))},
    })  # fmt: skip
    assert len(client.list(workflow="pipeline")) == before + 1, "its first attempt died before it"
