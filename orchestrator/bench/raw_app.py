"""What a Celery user writes by hand for the documents' workflow: the peer that we are measured against."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery, chain, chord

app = Celery("raw", broker=os.environ.get("RAW_URL", ""), backend=os.environ.get("RAW_URL", ""))
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_default_queue="raw",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
)


@app.task(name="raw.sleep")
def sleep(previous: Any, seconds: float) -> dict[str, float]:
    """Work of a known length."""
    time.sleep(seconds)
    return {"slept": seconds}


@app.task(name="raw.join")
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
