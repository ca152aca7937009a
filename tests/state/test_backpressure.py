"""Submissions are turned away while too much waits, with the time to come back, and nothing that was let in is lost."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import tasks  # noqa: F401 - registers the agents
from orchestrator import AsyncClient, BackpressureError, Client, keys
from orchestrator.batch import scripted
from orchestrator.cli import main
from orchestrator.engine import backpressure, registry
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.app import create_app
from orchestrator.engine.runtime import Runtime, runtime_of
from orchestrator.fleet.learning import Sample, learn
from orchestrator.flower.problems import problem_of
from orchestrator.settings import EngineSettings
from tests.conftest import Store

MOST = 20
SETTINGS = EngineSettings.model_validate(
    {"resource_manager": {"backlog": {"most": 1000, "agent_classes": {"drills": MOST}}}}
)
TWO: dict[str, Any] = {
    "name": "two",
    "steps": [
        {"id": "a", "agent": "noop", "estimated_duration": "30s"},
        {"id": "b", "agent": "noop", "estimated_duration": "50s"},
        {"id": "c", "agent": "noop", "needs": ["a", "b"], "estimated_duration": "40s"},
    ],
}
WITH_CPU = {"name": "cpu", "steps": [{"id": f"s{at}", "agent": "noop", "resources": {"cpu": 60}} for at in range(25)]}


@pytest.fixture
def client(store: Store) -> Iterator[Client]:
    """A deployment without workers, whose settings bound the class of the drills."""
    registry.publish(Runtime(store.url, SETTINGS), REGISTRY.values(), ())
    with Client(store.url) as connected:
        yield connected


def waiting(client: Client) -> int:
    lists: Any = client.redis.keys("agents.drills*")
    queued: Any = [client.redis.llen(name) for name in lists]
    asking: Any = client.redis.hget(f"{keys.POOLS}:classes", "drills")
    return int(sum(queued)) + int(asking or 0)


def test_a_hundred_submitters_pass_the_bound_by_no_more_than_one_of_them(client: Client) -> None:
    accepted, refused = list[str](), list[float]()

    def submit() -> None:
        try:
            accepted.append(client.submit(TWO).id)
        except BackpressureError as error:
            refused.append(error.retry_after)

    client.submit(TWO)  # whatever is made once, is made now
    threads = [threading.Thread(target=submit) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) + len(refused) == 100
    assert waiting(client) <= MOST + 1
    while not refused or waiting(client) < MOST:  # while they were at it, some were counted twice for a moment
        submit()
    assert waiting(client) == 2 * (len(accepted) + 1)
    assert MOST <= waiting(client) <= MOST + 1
    assert {run.run_id for run in client.list(limit=500)} >= set(accepted)
    assert len(client.list(limit=500)) == len(accepted) + 1, "what was refused has left something behind"
    assert client.redis.exists(f"{keys.POOLS}:entering") == 0
    refused.clear()
    submit()
    assert refused == [40.0], "one step too many, of 40 s on the average, and one slot"


def test_steps_that_wait_for_pools_are_counted(client: Client) -> None:
    client.submit(WITH_CPU)
    assert waiting(client) == 25
    with pytest.raises(BackpressureError, match=r"25 steps wait for agents of the class 'drills', and 20 may"):
        client.submit(TWO, idempotency_key="mine")
    client.get(client.list()[0].run_id).cancel()
    client.redis.delete("agents.drills")
    handle = client.submit(TWO, idempotency_key="mine")
    assert client.submit(TWO, idempotency_key="mine").id == handle.id


def test_every_way_to_submit_carries_the_time_to_come_back(client: Client, store: Store) -> None:
    """Six steps stand before there is room, each of 40 s on the average, in one slot."""
    client.submit(WITH_CPU)

    async def submit() -> None:
        async with AsyncClient(store.url) as connected:
            await connected.submit(TWO)

    backend: Any = client.app.backend
    ways: list[Callable[[], Any]] = [
        lambda: client.submit(TWO), lambda: client.submit_many(TWO, [{}, {}]), lambda: asyncio.run(submit()),
    ]  # fmt: skip
    for way in ways:
        with pytest.raises(BackpressureError) as refused:
            way()
        kept = backend.exception_to_python(json.loads(json.dumps(backend.prepare_exception(refused.value))))
        assert {refused.value.retry_after, kept.retry_after} == {240.0}
        assert str(kept) == str(refused.value)
        answer = problem_of(refused.value)
        assert answer is not None
        assert (answer.status, answer.retry_after) == (503, 240.0)
    assert len(client.list()) == 1
    learn(client.redis, [Sample(agent="noop", size=0, seconds=3.0), Sample(agent="pm", size=0, seconds=900.0)])
    with pytest.raises(BackpressureError) as refused:
        client.submit(TWO)
    assert refused.value.retry_after == 18.0, "agents of the class took three seconds lately, whatever is declared"


def test_who_was_let_in_and_died_is_forgotten(client: Client) -> None:
    nodes = backlog_nodes(client)
    for number in range(MOST // 2):
        enter(client.app, f"dead{number}", nodes)
    with pytest.raises(BackpressureError):
        enter(client.app, "late", nodes)
    name = f"{keys.POOLS}:entering"
    promises: Any = client.redis.hgetall(name)
    for run_id, text in promises.items():
        old = json.loads(text)
        client.redis.hset(name, run_id, json.dumps(old | {"at": old["at"] - backpressure.PROMISED_SECONDS - 1}))
    enter(client.app, "late", nodes)
    assert client.redis.hkeys(name) == [b"late"]


def enter(app: Celery, run_id: str, nodes: Any) -> None:
    """Ask for room, as whoever creates a run does with the same command."""
    found = backpressure.entrance(app, [(run_id, nodes)])
    assert found is not None
    (said,) = scripted(runtime_of(app).client)([found.call])
    assert isinstance(said, list)
    found.passed(said)


def backlog_nodes(client: Client) -> Any:
    from orchestrator.engine.submission import Compiler, as_spec, prepare

    spec = as_spec(TWO, lambda _: None, SETTINGS)
    return prepare(spec, {}, registry.known_agents(client.redis), SETTINGS, Compiler()).nodes


def test_queues_on_another_server_are_counted_there(store: Store, client: Client) -> None:
    other = Store(store.server, store.database + 1)
    with store.server.client(other.database) as there:
        there.flushdb()
    app = create_app(other.broker_url, store.url, SETTINGS, set_as_current=False)
    with store.server.client(other.database) as there:
        there.lpush("agents.drills", *["message"] * (MOST - 1))
        enter(app, "first", backlog_nodes(client))
        there.lpush("agents.drills\x06\x163", "message")
        with pytest.raises(BackpressureError, match="22 steps wait"):
            enter(app, "second", backlog_nodes(client))


@pytest.mark.parametrize(
    ("too_many", "seconds", "slots", "after"), [(1, 40, 0, 40), (10, 2, 4, 5), (1, 0.01, 8, 1), (9999, 60, 1, 300)]
)
def test_when_to_come_back(too_many: int, seconds: float, slots: int, after: float) -> None:
    assert backpressure.retry_after(too_many, seconds, slots) == after


def test_the_command_line_says_so_with_75(
    client: Client, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_STORE_URL", store.url)
    client.redis.set(keys.worker_key("somebody"), "there", ex=60)
    client.submit(WITH_CPU)
    file = tmp_path / "two.yaml"
    file.write_text(json.dumps(TWO))
    assert main(["submit", str(file)]) == 75
    assert "try again in 240 s" in capsys.readouterr().err
