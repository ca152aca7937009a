"""The messages of one attempt: what its agent tells other steps and services, and hears from them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from time import monotonic
from typing import Any, Protocol

from orchestrator.engine.runtime import Runtime, message_limits
from orchestrator.errors import Cancelled
from orchestrator.messages.channel import Channel, Message, Speaker, look
from orchestrator.messages.cursor import Cursor
from orchestrator.messages.models import Event, MessageEvent, MissedEvent

LOOK_SECONDS = 1.0
"""An attempt that waits for a message asks so often whether it is cancelled."""
log = logging.getLogger("orchestrator.messages")


class Post(Protocol):
    """How messages get to the run and from it."""

    def publish(self, message: Message) -> str: ...

    def next(self, seconds: float) -> Sequence[Event]: ...


class RunPost:
    """On the channel of the run, in the name of the current attempt of a step."""

    def __init__(self, runtime: Runtime, run_id: str, step: str, token: int, node: str = "") -> None:
        self._runtime = runtime
        self._run_id = run_id
        self._named = step, token, node

    @cached_property
    def _channel(self) -> Channel:  # most attempts neither tell nor hear anything
        return Channel(self._runtime.client, self._run_id, message_limits(self._runtime.settings))

    @cached_property
    def _cursor(self) -> Cursor:
        return Cursor(self._channel.key)

    def publish(self, message: Message) -> str:
        step, token, node = self._named
        return self._channel.publish(message, speaker=Speaker(step=step, token=token, node=node))[0]

    def next(self, seconds: float) -> Sequence[Event]:
        return look(self._runtime.waiting, self._cursor, max(1, int(seconds * 1000)))


class Memory:
    """For tests of agents: `inbox` is what they hear, `sent` what they have said."""

    def __init__(self, inbox: Sequence[Message] = ()) -> None:
        self._inbox = [
            MessageEvent(id=f"0-{number}", at=0.0, topic=one.topic, data=one.data, to=one.to)
            for number, one in enumerate(inbox, 1)
        ]
        self.sent: list[Message] = []

    def publish(self, message: Message) -> str:
        self.sent.append(message)
        return f"1-{len(self.sent)}"

    def next(self, seconds: float) -> Sequence[Event]:
        found, self._inbox = self._inbox, []
        return found


class AgentMessages:
    """`publish` and `receive`. Messages are told at once, whether the attempt succeeds or not, and are kept with the
    run, the newest of them; each attempt hears them from the oldest on. Values belong into the context."""

    def __init__(self, post: Post, step_id: str, cancelled: Callable[[], bool]) -> None:
        self._post = post
        self._step_id = step_id
        self._cancelled = cancelled
        self._heard: list[MessageEvent] = []
        self.used = False
        """Whether anything was told or listened for."""
        self.missed = False
        """Whether messages were dropped, because there were too many, before this attempt has heard them."""

    def publish(self, topic: str, data: Any = None, *, to: str = "", key: str = "") -> str:
        """Tell the other steps and whoever watches the run, or only the step `to`; returns the message's id. Of several
        with one `key` within ten minutes, such as of two attempts, the first is told.

        Raises InvalidValue for what is no JSON or too large, LeaseLost when this attempt was replaced.
        """
        self.used = True
        return self._post.publish(Message(topic=topic, data=data, to=to, key=key))

    def receive(self, topic: str | None = None, *, timeout: float | None = None) -> MessageEvent | None:
        """The next message of others that is meant for this step or for everybody, on `topic` or on any; None when
        there is none within `timeout` seconds (None: it waits as long as the attempt may run). Each comes once.

        Raises Cancelled when the run is being cancelled meanwhile.
        """
        self.used = True
        ends = None if timeout is None else monotonic() + timeout
        while True:
            for place, event in enumerate(self._heard):
                if topic in (None, event.topic):
                    return self._heard.pop(place)
            left = LOOK_SECONDS if ends is None else min(LOOK_SECONDS, ends - monotonic())
            events = self._post.next(max(0.0, left))
            self._hear(events)
            if not events and left <= 0:
                return None
            if self._cancelled():
                raise Cancelled(f"step '{self._step_id}' was cancelled while it waited for a message")

    async def areceive(
        self,
        topic: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as `receive`
    ) -> MessageEvent | None:
        """As `receive`, for agents that are coroutines: the others of the attempt go on meanwhile."""
        return await asyncio.to_thread(self.receive, topic, timeout=timeout)

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, MissedEvent):
                self.missed = True
                log.warning("step '%s' has not heard all messages: the oldest were dropped", self._step_id)
            elif isinstance(event, MessageEvent) and event.to in ("", self._step_id) and event.step != self._step_id:
                self._heard.append(event)
