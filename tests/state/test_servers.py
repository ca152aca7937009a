"""The servers that the other tests stand on do what those tests believe."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import redis
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.connection import connect
from tests.conftest import StartServer, Store


def test_every_test_gets_an_empty_database(store: Store, store_client: redis.Redis) -> None:
    assert store_client.dbsize() == 0
    store_client.set("left", "behind")
    with store.server.client(store.database + 1) as other:
        assert other.get("left") is None


def test_both_addresses_name_the_same_database(broker_url: str, store_client: redis.Redis) -> None:
    with Connection(broker_url) as connection, connection.SimpleQueue("seen") as queue:
        queue.put("hello")
        assert store_client.llen("seen") == 1


def test_a_crash_keeps_what_the_aof_has_and_loses_it_without(tmp_path: Path, start_server: StartServer) -> None:
    for aof, survives in ((True, "1"), (False, None)):
        directory = tmp_path / str(aof)
        directory.mkdir()
        server = start_server(directory, aof=aof)
        with server.client() as client:
            client.set("key", "1")
        first = server.pid
        server.restart()
        assert server.pid != first
        with server.client() as client:
            assert client.get("key") == survives


def test_a_frozen_server_does_not_answer_and_then_does(tmp_path: Path, start_server: StartServer) -> None:
    server = start_server(tmp_path)
    server.freeze()
    with redis.Redis(unix_socket_path=str(server.socket), socket_timeout=0.1, retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.thaw()
        assert server.client().ping()


def test_the_server_dies_with_a_killed_test_process(tmp_path: Path, root: Path) -> None:
    script = (
        "import pathlib, sys; from tests.servers import ValkeyServer\n"
        "server = ValkeyServer(pathlib.Path(sys.argv[1])); server.start(); print(server.pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        server = psutil.Process(int(owner.stdout.readline()))
        assert "valkey-server" in server.name()
        owner.kill()
        server.wait(timeout=60)


def test_single_commands_share_few_connections_and_outlive_the_server(
    tmp_path: Path, start_server: StartServer
) -> None:
    """A connection for each that asks at a time, whatever errors; a lost one is made anew, also in a forked child."""
    server = start_server(tmp_path, aof=True, options={"appendfsync": "always"})
    client = connect(server.url())
    client.set("text", "a")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.lpush("text", 1)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: client.incr("count") > 0, range(200))) == 200
    assert client.get("count") == b"200"
    mine = client.client_info()["lib-name"]
    assert len([one for one in client.client_list() if one["lib-name"] == mine]) <= 5
    server.restart()
    assert client.get("count") == b"200"
    child = os.fork()
    if not child:
        os._exit(int(client.incr("count") != 201))  # on the parent's connection it would take the parent's replies
    assert os.waitpid(child, 0)[1] == 0
    assert client.get("count") == b"201"
