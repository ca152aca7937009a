"""How many messages wait in queues, over all their priority lists: one round trip, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import redis
from celery import Celery
from kombu.transport.redis import Channel

from orchestrator.connection import connect
from orchestrator.engine.routing import REDIS_PRIORITIES
from orchestrator.engine.runtime import runtime_of
from orchestrator.scripts import Script, fragment

DEPTHS = Script(fragment("orchestrator.engine", "depths"))


def depths(app: Celery, queues: Iterable[str]) -> Mapping[str, int]:
    """Queue -> waiting messages. Raises StoreUnavailable when the broker does not answer."""
    prefix = str(app.conf.broker_transport_options.get("global_keyprefix", ""))
    return depths_at(connect(runtime_of(app).broker_url), queues, prefix)


def depths_at(client: redis.Redis, queues: Iterable[str], prefix: str = "") -> Mapping[str, int]:
    """The same for a client of the broker, without an application."""
    names = sorted(queues)
    found = DEPTHS.at(client, prefix, Channel.sep, str(REDIS_PRIORITIES), *names)
    return dict(zip(names, map(int, found), strict=True))
