"""Messages from this process to another one: how long one takes where there are few, and how many arrive where there
are many, although the one that reads is killed once in the middle and started again.

The reader writes down, in the store, the id of every message that it has got, and acknowledges it after that: what is
counted as lost was acknowledged to the publisher, and never read.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from statistics import quantiles
from time import monotonic, monotonic_ns, perf_counter, sleep
from typing import Any

import redis

from orchestrator.batch import BatchLimits
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.errors import OrchestratorError
from orchestrator.messages.channel import Channel, Message
from orchestrator.processes import die_with_parent

SPACED, MANY = 500, 50_000
APART = 0.005
"""Seconds between two messages where there are few."""
PATIENCE = 120.0
GOT, TIMES, READY = "got", "times", "ready"
MEMBER, FOLLOWER, PLAIN, PLAIN_MEMBER = "member", "follower", "plain", "plain member"
"""How the other process reads: as a consumer of a group, as a follower, or without us."""
PEER = "plain XADD and XREAD"
PLAIN_PEER = "plain XADD, XREADGROUP, XACK"
"""What the driver and the server alone take for the same."""
AT_ONCE = 500


def measure(setting: Setting) -> Iterator[Measure]:
    """One-way latency between two processes; then messages a second, and what has become of them."""
    client = setting.server.client()
    ours, theirs = list[list[float]](), list[list[float]]()
    for _ in range(setting.rounds):
        ours.append(_spaced(setting, client))
        theirs.append(_spaced(setting, client, plain=True))
    for share in (50, 99):
        mine, other = (
            tuple(quantiles(taken, n=100, method="inclusive")[share - 1] for taken in rounds)
            for rounds in (ours, theirs)
        )
        yield Measure(
            name=f"one way, 200 a second, p{share}", unit="ms", samples=mine, peer=PEER, peer_samples=other
        )  # fmt: skip
    sent, read = _commands(setting, client)
    floods, floors = [], []
    for _ in range(setting.rounds):
        floods.append(_flood(setting, client))
        floors.append(_flood(setting, client, plain=True))
    names = (("published", sent), ("published and read, the reader killed once", read))
    for at, (name, commands) in enumerate(names):
        yield Measure(
            name=f"messages {name}", unit="1/s", better="higher", samples=tuple(flood[at] for flood in floods),
            commands=commands, peer=PLAIN_PEER, peer_samples=tuple(floor[at] for floor in floors),
        )  # fmt: skip
    for at, name in ((2, "lost"), (3, "read again after the kill")):
        yield Measure(name=f"messages {name}", unit="messages", samples=tuple(flood[at] for flood in floods))


def _spaced(setting: Setting, client: redis.Redis, *, plain: bool = False) -> list[float]:
    """Milliseconds that each message was on its way. Both processes look at one clock of the machine."""
    client.flushdb()
    count, channel = max(20, setting.times(SPACED)), Channel(client)
    reader = _reader(setting, PLAIN if plain else FOLLOWER)
    _until(reader, lambda: bool(client.exists(READY)))
    for _ in range(count):
        if plain:
            client.xadd(PLAIN, {"sent": monotonic_ns()})
        else:
            channel.publish(Message(topic="spaced", data=monotonic_ns()))
        sleep(APART)
    _until(reader, lambda: client.llen(TIMES) >= count)
    _end(reader)
    times: Any = client.lrange(TIMES, 0, -1)
    return [int(nanoseconds) / 1e6 for nanoseconds in times]


def _flood(setting: Setting, client: redis.Redis, *, plain: bool = False) -> tuple[float, float, float, float]:
    """Messages a second to the broker and to the reader; how many were lost, and how many read again."""
    client.flushdb()
    count, how = setting.times(MANY), PLAIN_MEMBER if plain else MEMBER
    reader = _reader(setting, how)
    _until(reader, lambda: bool(client.exists(READY)))
    begun = perf_counter()
    publish = _plainly(client, count) if plain else _batched(client, count)
    next(publish)
    _end(reader)
    reader = _reader(setting, how)
    ids = next(publish)
    published = perf_counter()
    _until(reader, lambda: client.scard(GOT) >= count)
    ended = perf_counter()
    _end(reader)
    got: Any = client.smembers(GOT)
    again = client.llen(TIMES) - len(got)
    lost = len(ids - {entry.decode() for entry in got}) + (count - len(ids))
    return count / (published - begun), count / (ended - begun), lost, again


def _batched(client: redis.Redis, count: int) -> Iterator[set[str]]:
    """Publish messages; stops once in the middle, and gives their ids at the end."""
    with Channel(client).batching(BatchLimits(size=AT_ONCE, queue=20_000)) as publisher:
        sent = []
        for number in range(count):
            sent.append(publisher.add("message", Message(topic="many", data=number)))
            if number == count // 2:
                yield set()
        yield {one.result(PATIENCE) for one in sent}


def _plainly(client: redis.Redis, count: int) -> Iterator[set[str]]:
    """The same without us: pipelines of entries with one field."""
    ids: set[str] = set()
    for first in range(0, count, AT_ONCE):
        pipe: Any = client.pipeline(transaction=False)
        for number in range(first, min(count, first + AT_ONCE)):
            pipe.xadd(PLAIN, {"data": number})
        ids |= {entry.decode() for entry in pipe.execute()}
        if first <= count // 2 < first + AT_ONCE:
            yield set()
    yield ids


def _commands(setting: Setting, client: redis.Redis) -> tuple[float, float]:
    """How many commands a message costs the publisher, and both together, in batches."""
    count, channel = max(100, setting.times(2000)), Channel(client)
    found = []
    for reading in (False, True):
        client.flushdb()
        reader = _reader(setting) if reading else None
        if reader is not None:
            _until(reader, lambda: bool(client.exists(READY)))
        with setting.server.listening() as commands:
            for first in range(0, count, 100):
                channel.publish(*(Message(topic="many", data=number) for number in range(first, first + 100)))
            if reader is not None:
                _until(reader, lambda: client.scard(GOT) >= count, every=1.0)
        if reader is not None:
            _end(reader)
        found.append(commands.total() / count)
    return found[0], found[1]


def _reader(setting: Setting, how: str = MEMBER) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own argument list, no shell
        [sys.executable, "-m", "orchestrator.bench.reading", setting.server.url(), how],
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared call, safe between fork and exec
    )


def _end(reader: subprocess.Popen[bytes]) -> None:
    reader.kill()
    reader.wait()


def _until(reader: subprocess.Popen[bytes], ready: Any, *, every: float = 0.005) -> None:
    deadline = monotonic() + PATIENCE
    while not ready():
        if reader.poll() is not None or monotonic() > deadline:
            _end(reader)
            raise OrchestratorError("the process that reads messages has not done so")
        sleep(every)
