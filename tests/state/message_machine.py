"""Messages on their way to groups of consumers on a real server: publishers repeat themselves, and consumers die."""

from __future__ import annotations

import itertools

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from orchestrator.batch import Operation, once
from orchestrator.messages.channel import Channel, Message
from orchestrator.messages.groups import Delivery, Group
from orchestrator.messages.models import MessageEvent

NAMES = ("one", "two")


class MessageMachine(RuleBasedStateMachine):
    """Each consumer has at most one delivery in hand. Its effect and `done` are two steps, and a consumer may die
    before each of them; the effect is bound to the message's id. Groups do not know of each other."""

    client: redis.Redis
    runs = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.runs)
        self.client.delete("orc:{all}:messages", "orc:{all}:messages:book")
        self.channel = Channel(self.client)
        self.published = 0
        self.consumers: dict[tuple[str, str], Group] = {}
        self.hands: dict[tuple[str, str], Delivery] = {}
        self.effects = {group: once(self.client, f"{self.number}:{group}:", keep=600) for group in NAMES}

    def consumer(self, group: str, name: str) -> Group:
        """The one that lives, or a new one of that name."""
        if (group, name) not in self.consumers:
            self.consumers[group, name] = Group(self.channel, group, name, idle=0)
        return self.consumers[group, name]

    @rule(count=st.integers(1, 9), repeated=st.booleans())
    def publish(self, count: int, repeated: bool) -> None:
        numbers = range(self.published, self.published + count)
        said = [Message(topic="t", data=number, key=f"{self.number}-{number}") for number in numbers]
        first = self.channel.publish(*said)
        if repeated:  # the publisher has died before it knew, and its successor says all of it again
            assert self.channel.publish(*said) == first
        self.published += count

    @rule(group=st.sampled_from(NAMES), name=st.sampled_from(NAMES), count=st.integers(1, 5))
    def read(self, group: str, name: str, count: int) -> None:
        if (group, name) not in self.hands:
            self.hands[group, name] = self.consumer(group, name).read(count, None)

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), acknowledged=st.booleans())
    def work(self, data: st.DataObject, acknowledged: bool) -> None:
        """The effects of what a consumer has in hand, and unless it dies then, their acknowledgement."""
        who = data.draw(st.sampled_from(sorted(self.hands)))
        delivery = self.hands.pop(who)
        self.take_effect(who[0], delivery)
        if acknowledged:
            self.consumers[who].done(delivery)
        else:
            del self.consumers[who]

    def take_effect(self, group: str, delivery: Delivery) -> None:
        assert not delivery.missed
        events = [event for event in delivery.events if isinstance(event, MessageEvent)]
        ledger = f"ledger:{self.number}:{group}"
        self.effects[group]([Operation(event.id, ("HINCRBY", ledger, event.data, 1)) for event in events])

    @rule(group=st.sampled_from(NAMES), name=st.sampled_from(NAMES))
    def kill(self, group: str, name: str) -> None:
        self.consumers.pop((group, name), None)
        self.hands.pop((group, name), None)

    def teardown(self) -> None:
        for group in NAMES:
            while True:
                last = Group(self.channel, group, "last", idle=0)
                delivery = last.read(50, None)
                if not delivery.events:
                    break
                self.take_effect(group, delivery)
                last.done(delivery)
            once_each = {str(number).encode(): b"1" for number in range(self.published)}
            assert self.client.hgetall(f"ledger:{self.number}:{group}") == once_each
            pending = self.client.xpending(self.channel.key, group)
            assert pending["pending"] == 0
