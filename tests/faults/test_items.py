"""Processes die in the middle of a mapped step; every item is called at least once, and accepted once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from orchestrator import Client, RunHandle
from orchestrator.engine.runtime import pools
from orchestrator.run.models import RunState
from tests.conftest import Store
from tests.workers import Worker, eventually

SECONDS = 60
ITEMS = 600


def ended(handle: RunHandle) -> int:
    return int((handle.status().steps["a"].message or "0").split()[0])


def test_a_child_and_then_the_worker_are_killed(store: Store, tmp_path: Path) -> None:
    """The second worker finishes it; of the items none is lost and none is there twice. What the step needs of pools
    it holds once, for all its lanes, from its first item to its last, whichever of them are killed."""
    step = {"id": "a", "for_each": list(range(ITEMS)), "with": {"seconds": 0.002}, "chunk_size": 25}
    stage = {"map": "double", "concurrency": 2}
    step |= {"resources": {"memory": 100}}
    step |= {"pipeline": [stage, {"map": "add", "with": {"n": 1}, "concurrency": 1}]}
    with Client(store.url) as client:
        here = pools(client.redis, client.settings)
        first = Worker(store.url, tmp_path, app="tests.engine.mapping_app", concurrency=3).start()
        handle = client.submit({"name": "killed", "steps": [step]})
        eventually(lambda: ended(handle) > 100, within=20, what="some items have ended")
        os.kill(first.children()[0], signal.SIGKILL)
        at = ended(handle)
        eventually(lambda: ended(handle) > at + 200, within=30, what="it goes on")
        first.kill()
        assert ended(handle) < ITEMS, "it was killed in the middle"
        assert [(one.step, one.takes["memory"]) for one in here.status().holders] == [("a", 100)]
        with Worker(store.url, tmp_path, name="w2", app="tests.engine.mapping_app", concurrency=3):
            status = handle.wait(SECONDS)
        assert status.state is RunState.SUCCESS, status
        assert handle.result()["a"] == {
            "count": ITEMS, "failed": 0, "results": [2 * number + 1 for number in range(ITEMS)]
        }  # fmt: skip
        calls = client.redis.hgetall(f"effects:{handle.id}:double")
        assert {int(place) for place in calls} == set(range(ITEMS))
        eventually(lambda: not here.status().holders, within=SECONDS, what="its lease is over")
        told = client.redis.hmget(f"orc:{{{handle.id}}}:x:a", "items", "ended", "bad", "open:0")
        assert [int(value or 0) for value in told] == [ITEMS, ITEMS, 0, 0]
