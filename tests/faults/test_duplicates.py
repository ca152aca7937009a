"""Messages are delivered three times, and again when their run has ended: each effect is there once."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import redis

from orchestrator import Client, RunHandle
from orchestrator.run.models import RunState
from tests.conftest import Store, empty_database
from tests.faults.scenes import Place, scene, started
from tests.workers import Worker, announce, eventually

SECONDS = 60


def step(name: str, *needs: str, agent: str = "echo", **parameters: Any) -> dict[str, Any]:
    retry = {"initial_interval": 0.1}
    return {"id": name, "agent": agent, "with": parameters, "needs": list(needs), "retry": retry}


def workflow() -> dict[str, Any]:
    """A chain, and a group with a member that is slow, one that needs a second attempt, and one that fails for good."""
    quick, slow, again = step("quick"), step("slow", agent="sleep", seconds=0.5), step("again", agent="fail", times=1)
    never = step("never", agent="fail", times=9) | {"retry": {"maximum_attempts": 1}, "defaults": {"by": "default"}}
    members = [quick, slow, again, never]
    return {
        "name": "thrice",
        "steps": [step("a"), step("b", "a"), step("c", "b"), step("last", *(str(one["id"]) for one in members))],
        "execution_groups": {"g": {"agents": members, "parallel_capable": True}},
    }


def waiting(broker: redis.Redis) -> dict[str, list[str]]:
    """Queue -> its messages."""
    return {name: [*map(str, broker.lrange(name, 0, -1))] for name in broker.scan_iter("agents.*", _type="list")}


def twice_more(broker: redis.Redis, queues: dict[str, list[str]]) -> int:
    """Put two copies behind every message, one of them as a delivery of its own; returns how many that are."""
    for name, messages in queues.items():
        broker.delete(name)
        for text in messages:
            other = json.loads(text)
            other["properties"]["delivery_tag"] += "-again"
            broker.lpush(name, text, text, json.dumps(other))
    return 3 * sum(map(len, queues.values()))


def ended(handle: RunHandle) -> Counter[str]:
    """How often the ledger has accepted an end of each step and barrier."""
    events = list(handle.events(follow=False))
    ends = [event.step for event in events if event.type == "step" and event.state in ("success", "failed")]
    return Counter([*(name for name in ends if name), *(event.state for event in events if event.type == "barrier")])


def thrice(place: Place, queues: Store) -> None:
    """Deliver everything three times, and again when the run has ended."""
    announce(place.store.url)
    elsewhere = {"ORCHESTRATOR_BROKER_URL": queues.url}
    with (
        Client(place.store.url, broker_url=queues.url) as client,
        queues.server.client(queues.database) as broker,
    ):
        handle = client.submit(workflow())
        messages = waiting(broker)
        sent = twice_more(broker, messages)
        assert sent == 15, "the chain's first link and four members"
        worker = Worker(place.store.url, place.folder, environment=elsewhere)
        with started(worker):
            status = handle.wait(SECONDS)
            assert status.state is RunState.PARTIAL, status
            everything = dict.fromkeys(status.steps, 1)
            assert ended(handle) == everything | {"success": 1}
            assert {name: one.attempts for name, one in status.steps.items()} == everything | {"again": 2}
            assert handle.result()["never"] == {"by": "default"}
            length = client.redis.xlen(f"orc:{{{handle.id}}}:events")

            twice_more(broker, messages)  # as of a worker that came back from the dead
            eventually(lambda: not waiting(broker), within=SECONDS, what="all are taken")
            eventually(lambda: not broker.hlen("unacked"), within=SECONDS, what="all are acknowledged")
            assert client.redis.xlen(f"orc:{{{handle.id}}}:events") == length
            received = worker.text().count(f"[{handle.id}.slow] received")
            assert received in (5, 6), "all of them were delivered, but for one that the ledger itself may have taken"


@scene
def test_deliveries_that_come_three_times_do_their_work_once(place: Place) -> None:
    thrice(place, place.store)


@scene
def test_deliveries_of_another_server_that_come_three_times_do_their_work_once(place: Place) -> None:
    thrice(place, empty_database(place.store.server))
