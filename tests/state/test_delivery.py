"""Whether a message is lost, asked of a real broker; and that what a dead worker had taken comes back."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
import redis
from kombu import Producer, Queue

from orchestrator import keys
from orchestrator.engine.app import create_app
from orchestrator.engine.canvas import task_id
from orchestrator.engine.delivery import list_of, message_is_lost
from orchestrator.engine.routing import agent_queue, redis_priority
from orchestrator.run.replies import Due
from orchestrator.settings import EngineSettings, Runtime
from tests.workers import eventually


def queued(node: str, **known: Any) -> Due:
    definition = {"queue": "q", "priority": 5, **known}
    return Due(f"queued:{node}", "queued", node, "queued", 0, definition, 1.0, 0.0, 0.0, 0, 0.0)


def test_what_used_the_connection_before_has_no_say(store_url: str, store_client: redis.Redis) -> None:
    """A question to the workers leaves a BRPOP on its channel's client, whose reply would be taken for ours."""
    name = list_of(agent_queue("q"), redis_priority(5))
    store_client.lpush(name, json.dumps({"headers": {"id": task_id("run", "there")}}))
    with create_app(store_url, store_url, EngineSettings(), name="test-lost", set_as_current=False) as app:
        app.control.inspect(timeout=0.1).ping()
        assert not message_is_lost(app, "run", queued("there"))
        store_client.delete(name)
        assert message_is_lost(app, "run", queued("gone"))


@pytest.mark.parametrize("found", ["run.longer", "run.shorter", "other.longer"])
def test_who_stands_first_although_it_came_later(store_url: str, store_client: redis.Redis, found: str) -> None:
    """Only a step of the same run with a longer way to the end may have overtaken ours."""
    run, _, node = found.partition(".")
    store_client.lpush(
        list_of(agent_queue("q"), redis_priority(5)), json.dumps({"headers": {"id": task_id(run, node)}})
    )
    store_client.hset(keys.run_key(run, f"s:{node}"), "queued_at", 2.0)
    store_client.hset(keys.run_key(run, "defs"), node, json.dumps({"rank": 3.0 if node == "longer" else 1.0}))
    with create_app(store_url, store_url, EngineSettings(), name="test-lost", set_as_current=False) as app:
        assert message_is_lost(app, "run", queued("ours", rank=2.0)) is (found != "run.longer")


def test_a_death_while_messages_are_given_back_keeps_nobody_else_from_it(
    store_url: str, store_client: redis.Redis
) -> None:
    """kombu has one worker at a time do that; the lock of one that is dead is free again a lease later."""
    settings = EngineSettings(engine=Runtime(lease_seconds=0.5, renew_seconds=0.1))
    app = create_app(store_url, store_url, settings, name="test-back", set_as_current=False)
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        Queue("taken").bind(channel).declare()
        Producer(channel).publish({"n": 1}, routing_key="taken")
        assert channel.basic_get("taken") is not None
        taken: Any = store_client.zrange("unacked_index", 0, -1)
        store_client.zadd("unacked_index", dict.fromkeys(taken, 1.0))
        child = os.fork()
        if not child:
            _die_while_giving_back(app)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert (store_client.llen("taken"), store_client.exists("unacked_mutex")) == (0, 1)

        def given_back() -> bool:
            channel.qos.restore_visible(interval=1)
            return bool(store_client.llen("taken"))

        eventually(given_back, within=30, what="somebody else gives it back")


def _die_while_giving_back(app: Any) -> None:
    try:
        with app.connection_for_read() as connection:
            qos = connection.default_channel.qos
            qos.restore_by_tag = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            qos.restore_visible(interval=1)
    finally:
        os._exit(1)
