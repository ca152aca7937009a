"""This deployment's application, in a worker whose consumer or main loop can be broken from outside."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from celery import bootsteps

from tests.faults import slow_agent

from config.celery_app import app  # isort: skip - the agent has to be declared before

__all__ = ["app", "slow_agent"]

BROKEN = Path(os.environ.get("HOME", "."), "broken")
"""What is to break is written in this file; the worker removes it when it is done."""


class Breakable(bootsteps.StartStopStep):
    """Looks for the file on the consumer's timer, as part of the main loop."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        consumer.timer.call_repeatedly(0.1, _look, (consumer,))


def _look(consumer: Any) -> None:
    try:
        word = BROKEN.read_text()
        BROKEN.unlink()
    except FileNotFoundError:
        return
    if word == "consumer":  # as after a reconnection that lost its subscription: no error, and no message ever again
        consumer.task_consumer.channel._brpop_start = lambda: None
    elif word == "loop":
        threading.Event().wait()


app.steps["consumer"].add(Breakable)
