"""Redis is killed, stopped, frozen, full, loses its connections, holds rubbish: what was accepted ends, each effect
once. One server with a durable file and one supervised fleet, for the whole module."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestrator import Client, RunHandle
from orchestrator.embedded import Stack, StackOptions
from orchestrator.errors import BackpressureError, NotFound
from orchestrator.run.models import RunState, StepState
from tests.servers import ValkeyServer
from tests.workers import QUICK_ENGINE, eventually

SECONDS = 60
STALL = 12.0
"""Longer than the 5 s that a client waits for an answer, and than every lease."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path_factory.mktemp("aof"), aof=True, options={"appendfsync": "always"})
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def told(server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """What became of the fleet's two workers."""
    events: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCHESTRATOR_STORE_URL", server.url())
        patch.setenv("ORCHESTRATOR_BROKER_URL", server.broker_url())
        patch.setenv("ORCHESTRATOR_ENGINE_FILE", str(QUICK_ENGINE))
        options = StackOptions(
            home=tmp_path_factory.mktemp("home"), workers=2, concurrency=2, broker_url=server.broker_url()
        )
        with Stack(options, lambda event: events.append(dict(event))) as stack:
            stack.wait_ready()
            yield events


@pytest.fixture
def client(server: ValkeyServer, told: list[dict[str, Any]]) -> Iterator[Client]:
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


def test_a_stall_costs_no_attempt(client: Client, server: ValkeyServer) -> None:
    """Every lease has lapsed when Redis answers again, and not one worker is gone."""
    handles = [client.submit({"name": "long", "steps": [step("a", seconds=STALL + 4)]}) for _ in range(3)]
    handles.append(client.submit(diamond()))
    eventually(
        lambda: all(handle.status().steps["a"].state is StepState.RUNNING for handle in handles[:3]),
        within=20,
        what="the long ones run",
    )
    server.freeze()
    try:
        _pass(STALL)
    finally:
        server.thaw()
    each_effect_once(handles)
    assert [handle.status().steps["a"].attempts for handle in handles[:3]] == [1, 1, 1]


def _pass(seconds: float) -> None:
    """Let time pass: the fault itself is that nothing happens."""
    import select

    select.select([], [], [], seconds)


def test_a_server_without_memory_refuses_runs_and_finishes_those_it_has(
    client: Client, told: list[dict[str, Any]], server: ValkeyServer
) -> None:
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
        b'{"body": "x"}',
        b'{"properties": {"body_encoding": "rot13", "delivery_tag": "t", "delivery_info": {}}, "body": "x"}',
        b'{"properties": {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": {}}, "body": "x"}',
    ],
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
