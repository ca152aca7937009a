"""How many messages wait in queues, over all their priority lists: one round trip, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celery import Celery
from kombu.transport.redis import Channel

from orchestrator.connection import connect
from orchestrator.engine.routing import REDIS_PRIORITIES
from orchestrator.engine.runtime import runtime_of
from orchestrator.scripts import Script, fragment

DEPTHS = Script(fragment("orchestrator.engine", "depths"))


def depths(app: Celery, queues: Iterable[str]) -> Mapping[str, int]:
    """Queue -> waiting messages. Raises StoreUnavailable when the broker does not answer."""
    names = sorted(queues)
    prefix = str(app.conf.broker_transport_options.get("global_keyprefix", ""))
    client = connect(runtime_of(app).broker_url)
    found = DEPTHS.at(client, prefix, Channel.sep, str(REDIS_PRIORITIES), *names)
    return dict(zip(names, map(int, found), strict=True))
