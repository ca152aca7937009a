"""Redis is killed, stopped, full, loses its connections, holds rubbish: what was accepted ends, each effect once.
One server with a durable file and one supervised fleet; beside it, one is frozen, and one followed by its replica."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestrator import AsyncClient, Client, RunHandle
from orchestrator.embedded import StackOptions
from orchestrator.errors import BackpressureError, NotFound, StoreUnavailable
from orchestrator.run.models import RunState, StepState
from tests.faults.scenes import Place, Played, scene, started, supervised
from tests.faults.sentinel import watched
from tests.servers import ValkeyServer
from tests.workers import QUICK_ENGINE, Worker, eventually

SECONDS = 60
STALL = 12.0
"""Longer than the 5 s that a client waits for an answer, and than every lease."""


@contextmanager
def fleet(folder: Path) -> Iterator[tuple[ValkeyServer, list[dict[str, Any]]]]:
    """A server whose file is written before it answers, and two workers; what becomes of them."""
    (folder / "data").mkdir()
    server = ValkeyServer(folder / "data", aof=True, options={"appendfsync": "always"})
    with closing(server):
        server.start()
        options = StackOptions(home=folder, workers=2, concurrency=2, broker_url=server.broker_url())
        with supervised(server.broker_url(), options, ORCHESTRATOR_ENGINE_FILE=str(QUICK_ENGINE)) as told:
            yield server, told


@pytest.fixture(scope="module")
def struck(
    played: Played, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ValkeyServer, list[dict[str, Any]]]]:
    """The fleet of this module, while its scenes are played."""
    with fleet(tmp_path_factory.mktemp("struck")) as found:
        yield found


@pytest.fixture
def server(struck: tuple[ValkeyServer, list[dict[str, Any]]]) -> ValkeyServer:
    return struck[0]


@pytest.fixture
def told(struck: tuple[ValkeyServer, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return struck[1]


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[Client]:
    with Client(server.url()) as connected:
        yield connected
        eventually(lambda: _hlen(connected.redis, "unacked") == 0, within=40, what="every message is acknowledged")


def _hlen(client: redis.Redis, key: str) -> int:
    return int(client.hlen(key))


def step(name: str, *needs: str, seconds: float = 0.3) -> dict[str, Any]:
    return {"id": name, "agent": "sleep", "with": {"seconds": seconds}, "needs": list(needs)}


def diamond(seconds: float = 0.3) -> dict[str, Any]:
    return {
        "name": "diamond",
        "steps": [step("a", seconds=seconds), step("d", "b", "c", seconds=seconds)],
        "execution_groups": {
            "g": {
                "agents": [step("b", seconds=seconds), step("c", seconds=seconds)],
                "dependencies": ["a"],
                "parallel_capable": True,
            }
        },
    }


def each_effect_once(handles: list[RunHandle]) -> None:
    for handle in handles:
        status = handle.wait(SECONDS)
        assert status.state is RunState.SUCCESS, {name: one.state for name, one in status.steps.items()}
        done = Counter(event.step for event in handle.events(follow=False) if event.state == "success" and event.step)
        assert {name: done[name] for name in status.steps} == dict.fromkeys(status.steps, 1)


def some(handles: list[RunHandle], number: int) -> bool:
    return sum(handle.status().state is RunState.SUCCESS for handle in handles) >= number


def test_redis_is_killed_stopped_and_loses_every_connection(client: Client, server: ValkeyServer) -> None:
    handles = [client.submit(diamond()) for _ in range(8)]
    eventually(lambda: some(handles, 1), within=30, what="they run")
    server.restart()
    eventually(lambda: some(handles, 3), within=40, what="they go on after a kill")
    server.stop()
    server.start()
    eventually(lambda: some(handles, 5), within=40, what="they go on after a stop")
    for kind in ("normal", "pubsub"):
        with server.client() as other:
            other.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    each_effect_once(handles)


def test_what_a_crash_took_with_it_is_submitted_again_with_the_same_key(
    client: Client, server: ValkeyServer, tmp_path: Path
) -> None:
    """As with `appendfsync everysec` and a machine that fails: the file has all but the newest."""
    file, saved = server.directory / "appendonlydir", tmp_path / "saved"
    kept = client.submit({"name": "kept", "steps": [step("a", seconds=1.5)]})
    eventually(lambda: kept.status().steps["a"].state is StepState.RUNNING, within=20, what="it runs")
    shutil.copytree(file, saved)
    lost = client.submit(diamond(), idempotency_key="once")
    eventually(lambda: lost.status().steps["a"].state is StepState.RUNNING, within=20, what="that runs too")
    server.kill()
    shutil.rmtree(file)
    shutil.copytree(saved, file)
    server.start()
    with pytest.raises(NotFound):
        lost.status()
    again = client.submit(diamond(), idempotency_key="once")
    each_effect_once([kept, again])
    assert client.submit(diamond(), idempotency_key="once").id == again.id


def _pass(seconds: float) -> None:
    """Let time pass: the fault itself is that nothing happens."""
    import select

    select.select([], [], [], seconds)


def test_a_server_without_memory_refuses_runs_and_finishes_those_it_has(client: Client, server: ValkeyServer) -> None:
    handles = [client.submit(diamond(0.5)) for _ in range(3)]
    with server.client() as admin:
        admin.config_set("maxmemory", 1)
        with pytest.raises(BackpressureError, match="out of memory"):
            client.submit(diamond())
        _pass(2)
        admin.config_set("maxmemory", 0)
    each_effect_once(handles)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x80\x04K\x01.",
        b"[1, 2]",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"body": "x"}',
        b'{"properties": {"body_encoding": "rot13", "delivery_tag": "t", "delivery_info": {}}, "body": "x"}',
        b'{"properties": {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": {}}, "body": "x"}',
    ],
    ids=["pickle", "list", "nested", "no properties", "no encoding", "no base64"],
)
def test_rubbish_in_a_queue_ends_no_worker(
    client: Client, told: list[dict[str, Any]], server: ValkeyServer, rubbish: bytes
) -> None:
    before = [event for event in told if event["event"] == "exited"]
    with server.client() as other:
        other.lpush("agents.drills", *[rubbish] * 3)
    each_effect_once([client.submit(diamond(0.05))])
    assert [event for event in told if event["event"] == "exited"] == before
    assert client.redis.llen("agents.drills") == 0


@scene
def test_a_stall_costs_no_attempt(place: Place) -> None:
    """Every lease has lapsed when Redis answers again, and not one worker is gone."""
    with fleet(place.folder) as (server, _), Client(server.url()) as client:
        handles = [client.submit({"name": "long", "steps": [step("a", seconds=STALL + 4)]}) for _ in range(3)]
        handles.append(client.submit(diamond()))
        eventually(lambda: all(_runs_a(handle) for handle in handles[:3]), within=SECONDS, what="the long ones run")
        server.freeze()
        try:
            _pass(STALL)
        finally:
            server.thaw()
        each_effect_once(handles)
        assert [handle.status().steps["a"].attempts for handle in handles[:3]] == [1, 1, 1]


@scene
def test_a_failover_in_the_middle_of_a_run(place: Place) -> None:
    """Sentinel makes a replica the primary: workers and clients find it, and what runs goes on."""
    with watched(place.folder) as servers:
        url = servers.url(2)
        with started(Worker(url, place.folder, concurrency=2)), Client(url) as client:
            eventually(servers.knows_the_replica, within=20, what="sentinel has looked at the replica")
            handle = client.submit(chain(3))
            eventually(lambda: _runs_a(handle), within=SECONDS, what="a runs")
            assert client.redis.wait(1, 5000) == 1, "the replica has it"
            with servers.primary.client(2) as there:
                assert there.exists("orc:active"), "the database in the URL is used"
            servers.primary.kill()
            assert eventually(lambda: _end(handle), within=100, what="somebody leads") is RunState.SUCCESS
            assert servers.leader() == ("127.0.0.1", servers.other)
            assert asyncio.run(_again(url)) is RunState.SUCCESS


def _end(handle: RunHandle) -> RunState | None:
    """None when nobody has led for longer than a call is repeated: a sentinel that was held up itself waits 30 s."""
    try:
        return handle.wait(SECONDS).state
    except StoreUnavailable:
        return None


async def _again(url: str) -> RunState:
    async with AsyncClient(url) as client:
        return (await (await client.submit(chain(0))).wait(SECONDS)).state


def chain(seconds: float) -> dict[str, Any]:
    return {"name": "failover", "steps": [step("a", seconds=seconds), step("b", "a", seconds=0)]}


def _runs_a(handle: RunHandle) -> bool:
    return handle.status().steps["a"].state is StepState.RUNNING
