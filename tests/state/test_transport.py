"""A forked child leaves alone what its parent has connected."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing import util
from typing import Any

from kombu import Connection, Consumer, Producer, Queue

from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings
from tests.workers import eventually


def ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def test_a_child_takes_no_message_from_a_connection_that_waits_in_its_parents_pool(
    broker_url: str, store_url: str
) -> None:
    app = create_app(broker_url, store_url, EngineSettings(), set_as_current=False)
    pool: Any = app.pool
    with pool.acquire(block=True) as connection:
        queue = Queue("waiting")
        received: list[Any] = []
        consumer = Consumer(connection.default_channel, [queue], on_message=received.append, no_ack=True)
        consumer.consume()
        with suppress(TimeoutError):
            connection.drain_events(timeout=0.05)  # leaves its BRPOP with the server, as an inspection does
        assert connection.default_channel._in_poll
        child = os.fork()
        if not child:  # as in every child of a pool
            try:
                util._run_after_forkers()  # type: ignore[attr-defined]
            finally:
                os._exit(0)
        try:
            eventually(lambda: ended(child), within=60, what="the child is through with its clean-up")
        except AssertionError:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        with Connection(str(app.conf.broker_write_url)) as other:
            Producer(other.default_channel).publish({"n": 1}, routing_key="waiting")
        connection.drain_events(timeout=60)
        assert [message.payload for message in received] == [{"n": 1}]
