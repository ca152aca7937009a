"""What a Celery user writes by hand: the peer that we are measured against."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery, chain, chord, group

app = Celery("raw", broker=os.environ.get("RAW_URL", ""), backend=os.environ.get("RAW_URL", ""))
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_default_queue="raw",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
)


@app.task(name="raw.sleep", shared=False)
def sleep(previous: Any, seconds: float) -> dict[str, float]:
    """Work of a known length."""
    time.sleep(seconds)
    return {"slept": seconds}


@app.task(name="raw.noop", shared=False)
def noop(previous: Any = None) -> dict[str, Any]:
    """No work at all."""
    return {}


@app.task(name="raw.stamp", shared=False)
def stamp() -> dict[str, float]:
    """When its first line ran, in seconds since the epoch."""
    return {"at": time.time()}


@app.task(name="raw.join", shared=False)
def join(results: list[Any]) -> int:
    """The body of the chord."""
    return len(results)


def product(durations: dict[str, float]) -> Any:
    """The six agents as a chain with a chord in it."""
    return chain(
        sleep.s(None, durations["analyst"]),
        sleep.s(durations["pm"]),
        chord([sleep.s(durations["ux_expert"]), sleep.s(durations["architect"])], join.s()),
        sleep.s(durations["developer"]),
        sleep.s(durations["qa"]),
    )


def hops(length: int) -> Any:
    """So many tasks without work, one after another."""
    return chain(*(noop.s() for _ in range(length)))


def fan(width: int) -> Any:
    """One task, so many side by side, and one that joins them."""
    return chain(noop.s(), chord([noop.s() for _ in range(width)], join.s()))


def levels(seconds: Sequence[Sequence[float]]) -> Any:
    """Level by level: one side by side, then the next. `seconds` are those of each level's tasks."""
    return chain(*(chord([sleep.si(None, one) for one in level], join.s()) for level in seconds))


def many(durations: Mapping[str, float], count: int) -> Any:
    """So many of the six-agent workflow at once."""
    return group(product(dict(durations)) for _ in range(count))
