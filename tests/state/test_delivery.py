"""Whether a message is lost, asked of a real broker."""

from __future__ import annotations

import json

import redis

from orchestrator.engine.app import create_app
from orchestrator.engine.canvas import task_id
from orchestrator.engine.delivery import list_of, message_is_lost
from orchestrator.engine.routing import agent_queue, redis_priority
from orchestrator.run.replies import Due
from orchestrator.settings import EngineSettings


def queued(node: str) -> Due:
    definition = {"queue": "q", "priority": 5}
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
