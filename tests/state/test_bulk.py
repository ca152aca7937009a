"""Many runs and many messages in few round trips: the same as one by one, and nothing twice after a crash."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from celery import Celery
from kombu.transport import redis

from orchestrator import AsyncClient, Client, InvalidValue, InvalidWorkflow, RunHandle, keys
from orchestrator.batch import BatchLimits, BatchProcessor, ItemRetry, do_all
from orchestrator.client import Submission
from orchestrator.client.blocking import SUBMITTED_AT_ONCE
from orchestrator.connection import connect
from orchestrator.engine import submission
from orchestrator.engine.app import create_app
from orchestrator.engine.publishing import publish_all, published
from orchestrator.errors import Conflict, NotFound, StoreUnavailable
from orchestrator.settings import EngineSettings
from tests.conftest import Store
from tests.workers import announce

WORKFLOW = {
    "name": "bulk",
    "inputs": {"n": {"required": True}},
    "steps": [{"id": "a", "agent": "echo"}, {"id": "b", "agent": "echo"}, {"id": "c", "agent": "echo", "needs": ["a"]}],
}
COUNT = SUBMITTED_AT_ONCE + 20


@pytest.fixture
def client(store: Store) -> Client:
    announce(store.url)
    return Client(store.url)


def calls(store: Store) -> Counter[str]:
    stats: Any = connect(store.url).info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()})


def queued(store: Store) -> Counter[str]:
    """Ids of the tasks in the queue, with how often each is there."""
    client = connect(store.url)
    lists = client.scan_iter("agents.*", _type="list")
    messages = [json.loads(text) for name in lists for text in client.lrange(name, 0, -1)]
    return Counter(message["headers"]["id"] for message in messages)


def test_many_runs_take_as_many_scripts_and_few_other_commands(client: Client, store: Store) -> None:
    client.submit(WORKFLOW, {"n": 0})
    before = calls(store)
    handles = client.submit_many(WORKFLOW, [{"n": number} for number in range(COUNT)])
    sent = calls(store) - before
    assert (sent["evalsha"], sent["eval"], sent["multi"], sent["exec"]) == (COUNT + 2, 0, 0, 0), "2: is there room?"
    assert len({handle.id for handle in handles}) == COUNT
    given = [connect(store.url).hgetall(keys.run_key(handle.id, "inputs")) for handle in handles[:2]]
    assert given == [{b"n": b"0"}, {b"n": b"1"}]
    first = {f"{handle.id}.{step}" for handle in handles for step in ("a", "b")}
    assert first <= set(queued(store)), "the first steps of all of them are on their way"


def test_all_is_validated_before_anything_is_started(client: Client) -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        client.submit_many(WORKFLOW, [{"n": 1}, {}, {"n": 2, "m": 3}])
    assert [problem.source for problem in refused.value.problems] == ["run 2 of 3", "run 3 of 3"]
    with pytest.raises(InvalidValue, match="2 inputs came with 1"):
        client.submit_many(WORKFLOW, [{"n": 1}, {"n": 2}], idempotency_keys=["a"])
    assert client.list() == []
    assert client.submit_many(WORKFLOW, []) == []


def test_what_a_dead_client_has_left_undone_is_done_once(client: Client) -> None:
    inputs, named = [{"n": number} for number in range(6)], [f"key{number}" for number in range(6)]
    done = client.submit_many(WORKFLOW, inputs[:2], idempotency_keys=named[:2])
    spec = submission.as_spec(WORKFLOW, lambda _: None, client.settings)
    prepared = submission.prepare_many(spec, inputs, client._known(set()), client.settings, submission.Compiler())
    begun = submission.reserve_many(client.redis, prepared[:4], named[:4], 60)  # and here it dies
    again = client.submit_many(WORKFLOW, inputs, idempotency_keys=named)
    assert [handle.id for handle in again[:4]] == list(begun.ids)
    assert list(begun.ids[:2]) == [handle.id for handle in done]
    assert {run.run_id for run in client.list()} == {handle.id for handle in again}
    assert len(again) == len({handle.id for handle in again}) == 6
    with pytest.raises(Conflict, match="'key5'"):
        client.submit_many(WORKFLOW, [{"n": 7}], idempotency_keys=["key5"])


def test_submissions_of_many_requests_go_in_batches_and_a_bad_one_alone(client: Client, store: Store) -> None:
    other = {"name": "other", "steps": [{"id": "a", "agent": "echo"}]}
    wanted = [Submission(WORKFLOW, {"n": number}) for number in range(20)]
    wanted += [Submission(WORKFLOW), Submission("unknown"), Submission(other), Submission(other, {}, "key")]
    wanted += [Submission(WORKFLOW, {"n": 1}, "key")]
    client.submit(WORKFLOW, {"n": 0})
    before = calls(store)
    with client.batching(BatchLimits(timeout=3600, size=len(wanted))) as processor:
        asked = [processor.add("submit", one) for one in wanted]
        outcomes = [one.exception(60) or one.result() for one in asked]
    ids = [one.id for one in outcomes if isinstance(one, RunHandle)]
    assert len(set(ids)) == 22
    assert [type(one) for one in outcomes[20:22]] == [InvalidWorkflow, NotFound]
    assert [isinstance(one, Conflict) for one in outcomes[23:]].count(True) == 1, "one key, one run"
    assert {run.run_id for run in client.list()} >= set(ids)
    assert (calls(store) - before)["evalsha"] <= 22 + 12, "a run each, and whether there is room, each time"


def test_submissions_whose_answer_is_lost_start_one_run_each(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    submit, lost = client.submit_many, [True]

    def unanswered(*args: Any, **keywords: Any) -> Any:
        handles = submit(*args, **keywords)
        if lost.pop() if lost else False:
            raise StoreUnavailable("it went away")
        return handles

    monkeypatch.setattr(client, "submit_many", unanswered)

    async def from_coroutines() -> list[str]:
        both = AsyncClient(client.store_url)
        monkeypatch.setattr(both.sync, "submit_many", unanswered)
        async with both, both.batching() as processor:
            asked = [await processor.add("submit", Submission(WORKFLOW, {"n": number})) for number in range(5)]
            return [(await one).id for one in asked]

    with client.batching() as processor:
        asked = [processor.add("submit", Submission(WORKFLOW, {"n": number})) for number in range(5)]
        ids = [one.result(60).id for one in asked]
    lost.append(True)
    ids += asyncio.run(from_coroutines())
    assert not lost
    assert sorted(run.run_id for run in client.list()) == sorted(ids)


@pytest.fixture
def app(store_url: str) -> Celery:
    return create_app(store_url, store_url, EngineSettings(), set_as_current=False)


def released(number: int) -> tuple[str, list[dict[str, Any]]]:
    return f"{number:016x}", [
        {"id": step, "agent": "echo", "queue": "drills", "priority": 5} for step in ("a", "b", "c")
    ]


def test_messages_of_many_runs_are_one_batch(app: Celery, store: Store) -> None:
    parts = [released(number) for number in range(40)]
    publish_all(app, parts[:1])
    before = calls(store)
    publish_all(app, parts[1:])
    assert (calls(store) - before)["lpush"] == 3 * 39
    assert queued(store) == Counter(f"{run_id}.{step}" for run_id, _ in parts for step in ("a", "b", "c"))


@pytest.mark.parametrize("arrived", [False, True])
def test_a_batch_that_breaks_is_sent_again(
    app: Celery, store: Store, monkeypatch: pytest.MonkeyPatch, *, arrived: bool
) -> None:
    batches: Any = getattr(redis, "PublishBatch")  # noqa: B009 - that module's types do not name it
    flush = batches.flush

    def broken(batch: Any) -> None:
        if arrived:
            flush(batch)
        raise ConnectionError("it broke")

    monkeypatch.setattr(batches, "flush", broken)
    run_id, steps = released(1)
    publish_all(app, [(run_id, steps)])
    assert queued(store) == Counter({f"{run_id}.{step['id']}": 2 if arrived else 1 for step in steps})


def test_tasks_of_any_application_go_in_batches_and_a_bad_one_alone(store: Store) -> None:
    plain = Celery("plain", broker=store.broker_url, set_as_current=False)
    tasks = [plain.signature("add", (number, {1} if number == 7 else 1)) for number in range(50)]
    limits = BatchLimits(timeout=3600, size=50)
    with BatchProcessor({"task": published(plain)}, limits=limits) as processor:
        asked = [processor.add("task", task) for task in tasks]
        assert "set" in str(asked[7].exception(60))
        sent = [one.result(60).id for number, one in enumerate(asked) if number != 7]
    messages = [json.loads(text)["headers"] for text in connect(store.url).lrange("celery", 0, -1)]
    assert [message["id"] for message in reversed(messages)] == sent
    assert {message["task"] for message in messages} == {"add"}


@pytest.mark.parametrize("arrived", [False, True])
def test_tasks_whose_broker_breaks_are_sent_again_under_the_same_ids(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, arrived: bool
) -> None:
    plain, breaks = Celery("plain", broker=store.broker_url, set_as_current=False), [True, False]
    batches: Any = getattr(redis, "PublishBatch")  # noqa: B009 - that module's types do not name it
    flush = batches.flush

    def broken(batch: Any) -> None:
        if arrived or not breaks[0]:
            flush(batch)
        if breaks.pop(0):
            raise ConnectionError("it broke")

    monkeypatch.setattr(batches, "flush", broken)
    signatures = [plain.signature("add", (number,), task_id=f"id{number}") for number in range(3)]
    outcomes = do_all(published(plain), signatures, retry=ItemRetry(initial_interval=0.01))
    assert [getattr(outcome, "id", outcome) for outcome in outcomes] == ["id0", "id1", "id2"]
    found = Counter(json.loads(text)["headers"]["id"] for text in connect(store.url).lrange("celery", 0, -1))
    assert found == {f"id{number}": 2 if arrived else 1 for number in range(3)}
