"""The process that reads messages for the benchmark: `python -m orchestrator.bench.reading URL`, until it is killed."""

from __future__ import annotations

import sys
from time import monotonic_ns
from typing import Any

from orchestrator.bench.messages import GOT, READY, TIMES
from orchestrator.connection import connect, connect_blocking
from orchestrator.messages.channel import Channel
from orchestrator.messages.groups import Group


def read(url: str) -> None:
    """Write down which messages came and how long they took, or 0 for one that does not say when it was sent."""
    client: Any = connect(url)
    group = Group(Channel(connect_blocking(url)), "bench", "reader")
    group.read(1, None)
    client.set(READY, 1)
    while True:
        got = group.read()
        now = monotonic_ns()
        if got.events:
            pipe = client.pipeline(transaction=True)
            pipe.sadd(GOT, *got.ids)
            pipe.rpush(TIMES, *(now - _sent(event) if _sent(event) else 0 for event in got.events))
            pipe.execute()
            group.done(got)


def _sent(event: Any) -> int:
    return int(event.data) if event.topic == "spaced" else 0


if __name__ == "__main__":
    read(sys.argv[1])
