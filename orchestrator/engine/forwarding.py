"""Alerts on their way to people: each channel is a group of consumers, so that one worker sends each alert, another one
repeats what could not be sent, and a channel that is down holds up none of the others."""

from __future__ import annotations

from collections.abc import Mapping

import redis

from orchestrator import keys
from orchestrator.engine.runtime import log
from orchestrator.messages.channel import Broadcast
from orchestrator.messages.groups import Delivery, Group
from orchestrator.messages.models import AlertEvent, MissedEvent
from orchestrator.metrics.alerts import Alert
from orchestrator.metrics.forwarding import NotSent, Send

AT_ONCE = 20
REPEAT_SECONDS = 30.0
"""An alert that could not be sent is tried again after this, by whoever looks then."""
ATTEMPTS = 5
"""After so many it is given up, and stays in the stream."""
LOOKS = 2
"""One for what somebody else could not send, and one for what is new."""


class Forwarder:
    """One worker's part. Does nothing, and asks nothing, without channels. Alerts from before the first worker with a
    channel are not sent on it."""

    def __init__(self, client: redis.Redis, consumer: str, sends: Mapping[str, Send]) -> None:
        alerts = Broadcast(client, keys.ALERTS)
        self._ways = [
            (Group(alerts, name, consumer, start="$", idle=REPEAT_SECONDS), send) for name, send in sends.items()
        ]

    def forward(self) -> int:
        """Send what is new, and what somebody else could not send; how many were sent."""
        sent = 0
        for group, send in self._ways:
            given_up = group.give_up(ATTEMPTS)
            if given_up:
                log.error("%d alerts could not be sent by %s and are given up", len(given_up), group.group)
            for _ in range(LOOKS):
                delivery = group.read(AT_ONCE, None)
                done = Delivery(tuple(one for one in delivery.events if _sent(one, group, send)), delivery.missed)
                group.done(done)
                sent += len(done.ids)
        return sent


def _sent(event: object, group: Group, send: Send) -> bool:
    if isinstance(event, MissedEvent):
        log.error("alerts were dropped before %s has sent them: there were too many", group.group)
    if not isinstance(event, AlertEvent):
        return True
    known = {name: value for name, value in event.detail.items() if name in Alert.model_fields}
    try:
        send(Alert.model_validate(known | {"id": event.id, "at": event.at, "severity": event.state}))
    except NotSent as error:
        log.warning("alert %s: %s; it is tried again", event.id, error)
        return False
    return True
