"""What a Dramatiq user writes by hand: actors without work and with work of a known length."""

from __future__ import annotations

import os
import time
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as RateBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

url = os.environ.get("DRAMATIQ_URL", "redis://")
broker = RedisBroker(url=url)
results = RedisBackend(url=url)
broker.add_middleware(Results(backend=results))
broker.add_middleware(GroupCallbacks(RateBackend(url=url)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)  # type: ignore[untyped-decorator, unused-ignore]
def noop(previous: Any = None) -> dict[str, Any]:
    """No work at all."""
    return {}


@dramatiq.actor(store_results=True)  # type: ignore[untyped-decorator, unused-ignore]
def sleep(seconds: float, previous: Any = None) -> dict[str, float]:
    """Work of a known length."""
    time.sleep(seconds)
    return {"slept": seconds}
