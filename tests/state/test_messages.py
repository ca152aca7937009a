"""Messages on a real server: read from anywhere, shared by groups, bounded, and never in the way of who publishes."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import threading
import time

import pytest
import redis
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from pydantic import ValidationError

from orchestrator import keys
from orchestrator.batch import BatchLimits
from orchestrator.connection import connect, connect_async, connect_blocking
from orchestrator.errors import InvalidValue, LeaseLost, NotFound
from orchestrator.messages.channel import Channel, Message, MessageLimits, Speaker, look
from orchestrator.messages.coroutines import AsyncChannel, AsyncGroup
from orchestrator.messages.cursor import READ_AT_ONCE, Cursor
from orchestrator.messages.groups import Group
from orchestrator.messages.models import Event, MessageEvent, MissedEvent
from orchestrator.processes import die_with_parent
from tests.conftest import Store
from tests.state.bench import Bench, spec, step
from tests.state.message_machine import MessageMachine
from tests.workers import eventually

TINY = MessageLimits(keep=4000, bytes=20_000, live=60)
BIG = "x" * 400
"""As data of a message; with what belongs to it about 500 bytes."""


def said(events: list[Event] | tuple[Event, ...]) -> list[object]:
    """The data of messages; MissedEvent for itself."""
    return [event.data if isinstance(event, MessageEvent) else type(event) for event in events]


def commands(client: redis.Redis) -> int:
    stats = client.info("commandstats")
    return sum(one["calls"] for name, one in stats.items() if name in ("cmdstat_evalsha", "cmdstat_eval"))


@pytest.fixture
def channel(store: Store) -> Channel:
    return Channel(connect(store.url))


def test_messages_are_read_from_any_id_on(channel: Channel) -> None:
    ids = channel.publish(*(Message(topic="news", data=number) for number in range(250)))
    assert said(channel.read()) == list(range(250))
    assert said(channel.read(ids[99])) == list(range(100, 250))
    assert [event.id for event in channel.read(ids[-2])] == ids[-1:]
    (last,) = channel.publish(Message(topic="news", data={"a": [None, "ü"]}, to="b"))
    (event,) = channel.read(ids[-1])
    assert isinstance(event, MessageEvent)
    assert (event.id, event.topic, event.data, event.to, event.step) == (last, "news", {"a": [None, "ü"]}, "b", None)


def test_publishing_is_one_command_and_waits_for_nobody(channel: Channel, store: Store) -> None:
    channel.publish(Message(topic="warm", data=0))
    Group(channel, "asleep", "c").read(block=None)
    before = commands(channel.client)
    channel.publish(*(Message(topic="t", data=number) for number in range(500)))
    assert commands(channel.client) - before == 1


def test_a_key_is_published_once_and_a_repeated_call_too(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    first = channel.publish(Message(topic="t", data=1, key="a"), Message(topic="t", data=2))
    again = channel.publish(Message(topic="t", data=1, key="a"), Message(topic="t", data=3))
    assert again[0] == first[0]
    assert said(channel.read()) == [1, 2, 3]
    monkeypatch.setattr("orchestrator.messages.channel.token_hex", lambda _: "same")
    assert channel.publish(Message(topic="t", data=4)) == channel.publish(Message(topic="t", data=4))
    assert said(channel.read()) == [1, 2, 3, 4], "the driver has sent the call again after a lost answer"


@pytest.mark.parametrize(
    ("data", "words"), [(object(), "no JSON"), ("x" * 70_000, "at most 64,000"), (float("nan"), "no JSON")]
)
def test_what_is_no_json_or_too_large_is_refused_by_name(channel: Channel, data: object, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        channel.publish(Message(topic="t", data=data))
    assert channel.read() == []
    for name in ("", "x" * 300, "\ud800"):
        with pytest.raises(ValidationError, match="topic"):
            Message(topic=name)
    channel.publish(Message(topic="t", data="\ud800"))
    assert said(channel.read()) == ["\ud800"]


def test_of_a_group_one_gets_each_message_and_every_group_gets_all(channel: Channel) -> None:
    one, two = Group(channel, "g", "one"), Group(channel, "g", "two")
    other = Group(channel, "other", "c")
    channel.publish(*(Message(topic="t", data=number) for number in range(10)))
    got = [one.read(4, None), two.read(4, None), one.read(4, None)]
    assert list(itertools.chain(*(said(one.events) for one in got))) == list(range(10))
    assert said(other.read(100, None).events) == list(range(10))
    assert said(Group(channel, "late", "c", start="$").read(100, None).events) == []


def test_what_a_killed_consumer_had_comes_again(channel: Channel) -> None:
    channel.publish(*(Message(topic="t", data=number) for number in range(6)))
    dead = Group(channel, "g", "dead")
    dead.done(dead.read(2, None))
    assert said(dead.read(2, None).events) == [2, 3]
    heir = Group(channel, "g", "dead")
    first = heir.read(1, None)
    assert said(first.events) == [2], "at once, for one of the same name"
    assert said(Group(channel, "g", "other", idle=0).read(2, None).events) == [2, 3], "later, for another"
    heir.done(first)
    assert said(Group(channel, "g", "other", idle=600).read(10, None).events) == [3], "and it is its own by now"


def test_a_stream_is_trimmed_behind_its_slowest_group(store: Store) -> None:
    channel = Channel(connect(store.url), limits=TINY)
    slow = Group(channel, "slow", "c")
    slow.read(1, None)
    channel.publish(*(Message(topic="t", data=[number, BIG]) for number in range(25)))
    assert channel.client.xlen(channel.key) == 25, "it keeps what the group still has to read"
    slow.done(slow.read(15, None))
    channel.publish(Message(topic="t", data=[25, BIG]), Message(topic="t", data=[26, BIG]))
    assert 8 <= channel.client.xlen(channel.key) <= 13, "what it has done with went, but for the newest"
    assert not slow.read(100, None).missed
    channel.publish(*(Message(topic="t", data=[number, BIG]) for number in range(100)))
    assert channel.client.xlen(channel.key) <= 45, "the bound holds"
    gone = slow.read(100, None)
    assert gone.missed
    assert isinstance(gone.events[0], MissedEvent)
    assert isinstance(Group(channel, "slow", "c").read(100, None).events[0], MissedEvent), "told until it is done with"
    slow.done(gone)
    channel.publish(Message(topic="t", data=[0, BIG]))
    assert slow.read(100, None).missed == 0


def test_a_group_that_nobody_has_seen_holds_nothing_up_and_is_told(store: Store) -> None:
    channel = Channel(connect(store.url), limits=TINY)
    gone, forgotten = Group(channel, "gone", "c"), Group(channel, "forgotten", "c")
    assert not gone.read(1, None).events
    assert not forgotten.read(1, None).events
    channel.client.hset(channel.book, mapping={"seen:gone": time.time() - 100, "seen:forgotten": 0})
    channel.publish(*(Message(topic="t", data=[number, BIG]) for number in range(25)))
    assert channel.client.xlen(channel.key) < 12
    assert gone.read(100, None).missed == 1
    assert [group["name"] for group in channel.client.xinfo_groups(channel.key)] == [b"gone"]


def test_a_reader_that_was_trimmed_past_is_told(store: Store) -> None:
    channel = Channel(connect(store.url), limits=TINY)
    early = channel.publish(Message(topic="t", data=0))[0]
    channel.publish(*(Message(topic="t", data=[number, BIG]) for number in range(100)))
    for after in ("0", early):
        events = channel.read(after)
        assert isinstance(events[0], MissedEvent)
        assert events[0].id == events[1].id, "it names the first that there is"
    assert MissedEvent not in said(channel.read(events[1].id))


def test_a_reader_that_falls_behind_while_it_reads_is_told(store: Store) -> None:
    client = connect(store.url)
    client.xadd("s", {"t": "quality", "s": "low"})
    cursor = Cursor("s")
    assert len(look(client, cursor, None)) == 1
    for _ in range(READ_AT_ONCE * 3):
        client.xadd("s", {"t": "quality", "s": "low"}, maxlen=READ_AT_ONCE * 2, approximate=False)
    events = look(client, cursor, None)
    assert isinstance(events[0], MissedEvent)
    assert len(events) == 1 + READ_AT_ONCE
    assert len(look(client, cursor, None)) == READ_AT_ONCE


def test_messages_of_a_run_are_of_its_attempts_and_go_with_it(store: Store) -> None:
    bench = Bench(store.url)
    channel = Channel(bench.client, "run")
    with pytest.raises(NotFound):
        channel.publish(Message(topic="t"))
    bench.create(spec(step("a")), retention=60)
    granted = bench.granted("a")
    channel.publish(Message(topic="t", data=1), speaker=Speaker(step="a", token=granted.token))
    with pytest.raises(LeaseLost, match="running"):
        channel.publish(Message(topic="t", data=2), speaker=Speaker(step="a", token=granted.token + 1))
    (event,) = channel.read()
    assert (event.step, event.attempt) == ("a", granted.token)
    bench.end("a", granted)
    with pytest.raises(LeaseLost, match="success"):
        channel.publish(Message(topic="t", data=2), speaker=Speaker(step="a", token=granted.token))
    channel.publish(Message(topic="late", data=3))
    Group(channel, "g", "c").read(block=None)
    lasting = [name for name in bench.client.scan_iter("orc:{run}:*") if bench.client.ttl(name) < 0]
    assert lasting == []
    bench.client.delete(keys.run_key("run", "meta"))
    with pytest.raises(NotFound):
        Group(channel, "new", "c").read(block=None)


def test_who_waits_is_woken(store: Store) -> None:
    channel = Channel(connect_blocking(store.url))
    found: list[object] = []

    def wait() -> None:
        for events in channel.follow():
            found.extend(said(events))
            if len(found) == 2:
                return

    waiting = threading.Thread(target=wait)
    waiting.start()
    plain = Channel(connect(store.url))
    plain.publish(Message(topic="t", data=1))
    eventually(lambda: len(found) == 1, within=60, what="it is woken by the first")
    plain.publish(Message(topic="t", data=2))
    waiting.join(60)
    assert found == [1, 2]


def test_the_same_for_asyncio(store: Store) -> None:
    async def go() -> None:
        client = connect_async(store.url)
        channel = AsyncChannel(client, limits=TINY)
        ids = await channel.publish(*(Message(topic="t", data=number) for number in range(3)))
        assert said(await channel.read(ids[0])) == [1, 2]
        group = AsyncGroup(channel, "g", "c")
        got = await group.read(2)
        assert said(got.events) == [0, 1]
        again = AsyncGroup(channel, "g", "c")
        first = await again.read()
        assert said(first.events) == [0, 1]
        await again.done(first)
        assert said((await again.read()).events) == [2]
        await channel.publish(*(Message(topic="t", data=[number, BIG]) for number in range(100)))
        assert said((await channel.read(ids[0]))[:1]) == [MissedEvent]
        assert (await again.read()).missed
        async for events in channel.follow(ids[0]):
            assert said(events)[0] is MissedEvent
            break
        async with AsyncChannel(client).batching(BatchLimits(timeout=3600, size=3)) as publisher:
            asked = [await publisher.add("message", Message(topic="t", data=data)) for data in (1, object(), 2)]
            assert isinstance((await asyncio.gather(*asked, return_exceptions=True))[1], InvalidValue)
        assert said(await channel.read())[-2:] == [1, 2]
        with pytest.raises(NotFound):
            await AsyncChannel(client, "nobody").publish(Message(topic="t"))
        await client.aclose()

    asyncio.run(go())


def test_any_interleaving_has_every_effect_once_in_every_group(store: Store) -> None:
    machine = type("Machine", (MessageMachine,), {"client": connect(store.url)})
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=25))


COUNT = 2000
CONSUMER = """
import os, sys
from orchestrator.batch import BatchLimits, BatchProcessor, Operation, once
from orchestrator.connection import connect, connect_blocking
from orchestrator.messages.channel import Channel
from orchestrator.messages.groups import Group
group, killed = Group(Channel(connect_blocking(sys.argv[1])), "g", "c"), len(sys.argv) > 2
with BatchProcessor({"count": once(connect(sys.argv[1]), "effect:")}, limits=BatchLimits(size=50)) as effects:
    while True:
        got = group.read(100, 300)
        if not got.events and not killed:
            break
        done = [effects.add("count", Operation(e.id, ("HINCRBY", "ledger", e.data, 1))) for e in got.events]
        if killed and any(e.data == int(sys.argv[2]) for e in got.events):
            os.kill(os.getpid(), 9)
        assert all(one.result(30) == 1 for one in done)
        group.done(got)
"""


def test_a_consumer_is_killed_and_every_message_has_its_effect_once(store: Store) -> None:
    channel = Channel(connect(store.url))
    command = [sys.executable, "-c", CONSUMER, store.url]
    consumer = subprocess.Popen([*command, str(COUNT // 2)], preexec_fn=die_with_parent)  # noqa: PLW1509 - one prepared call
    with channel.batching() as publisher:
        sent = [publisher.add("message", Message(topic="t", data=number)) for number in range(COUNT)]
        assert len({one.result(60) for one in sent}) == COUNT
    assert consumer.wait(90) == -signal.SIGKILL
    assert 0 < channel.client.hlen("ledger") < COUNT, "killed in the middle"
    subprocess.run(command, check=True, timeout=90)
    assert channel.client.hgetall("ledger") == {str(number).encode(): b"1" for number in range(COUNT)}
    assert channel.client.xpending(channel.key, "g")["pending"] == 0
