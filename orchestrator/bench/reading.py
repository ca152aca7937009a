"""The process that reads messages for the benchmark, until it is killed: as a consumer of a group, as a follower, or
without us. `python -m orchestrator.bench.reading URL HOW`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic_ns
from typing import Any

from redis.exceptions import ResponseError

from orchestrator.bench.messages import FOLLOWER, GOT, MEMBER, PLAIN, PLAIN_MEMBER, READY, TIMES
from orchestrator.connection import connect, connect_blocking
from orchestrator.messages.channel import BLOCK_MS, Channel
from orchestrator.messages.cursor import READ_AT_ONCE
from orchestrator.messages.groups import Group
from orchestrator.messages.models import MessageEvent


def member(url: str) -> None:
    """Write down which messages came, then acknowledge them."""
    client: Any = connect(url)
    group = Group(Channel(connect_blocking(url)), "bench", "reader")
    client.set(READY, 1)
    while True:
        got = group.read()
        if got.events:
            _write_down(client, got.ids)
            group.done(got)


def plain_member(url: str) -> None:
    """The same without us."""
    client: Any = connect(url)
    waiting: Any = connect_blocking(url)
    with suppress(ResponseError):  # it is there after the kill
        client.xgroup_create(PLAIN, "bench", id="0", mkstream=True)
    client.set(READY, 1)
    start = "0"
    while True:
        for _, entries in waiting.xreadgroup("bench", "reader", {PLAIN: start}, count=READ_AT_ONCE, block=BLOCK_MS):
            ids = [entry for entry, _ in entries]
            if ids:
                _write_down(client, ids)
                client.xack(PLAIN, "bench", *ids)
            start = start if ids else ">"


def _write_down(client: Any, ids: Sequence[str | bytes]) -> None:
    pipe = client.pipeline(transaction=True)
    pipe.sadd(GOT, *ids)
    pipe.rpush(TIMES, *(0 for _ in ids))
    pipe.execute()


def follower(url: str) -> None:
    """Write down how long messages took."""
    client: Any = connect(url)
    client.set(READY, 1)
    for events in Channel(connect_blocking(url)).follow():
        now = monotonic_ns()
        taken = [now - int(event.data) for event in events if isinstance(event, MessageEvent)]
        if taken:
            client.rpush(TIMES, *taken)


def plain(url: str) -> None:
    """The same without us: what the driver and the server take."""
    client: Any = connect(url)
    waiting: Any = connect_blocking(url)
    after = b"0"
    client.set(READY, 1)
    while True:
        for _, entries in waiting.xread({PLAIN: after}, block=BLOCK_MS):
            now = monotonic_ns()
            after = entries[-1][0]
            client.rpush(TIMES, *(now - int(fields[b"sent"]) for _, fields in entries))


if __name__ == "__main__":
    {MEMBER: member, PLAIN_MEMBER: plain_member, FOLLOWER: follower, PLAIN: plain}[sys.argv[2]](sys.argv[1])
