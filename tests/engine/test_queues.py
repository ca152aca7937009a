"""Priorities on a real server, and Celery's own semantics where they are not ours to change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import chord, states
from celery.exceptions import ChordError

from orchestrator import Client
from orchestrator.engine.routing import REDIS_PRIORITIES, redis_priority
from orchestrator.run.models import RunState
from tests.conftest import Store
from tests.workers import Worker, announce, eventually

SECONDS = 30


def test_our_priorities_are_redis_priorities_the_other_way_round() -> None:
    scale = [redis_priority(priority) for priority in range(11)]
    assert scale == sorted(scale, reverse=True)
    assert (scale[10], scale[0]) == (0, REDIS_PRIORITIES - 1)


@pytest.fixture(scope="module")
def narrow(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with one child, started when the backlog is there."""
    worker = Worker(module_store.url, tmp_path_factory.mktemp("narrow"), concurrency=1)
    yield worker
    worker.end()


def test_a_late_urgent_step_overtakes_a_backlog(module_store: Store, narrow: Worker) -> None:
    narrow.stop()
    announce(module_store.url)
    with Client(module_store.url) as client:
        backlog = client.submit(
            {"name": "backlog", "steps": [{"id": f"s{n}", "agent": "noop", "priority": 2} for n in range(1000)]}
        )
        urgent = client.submit({"name": "urgent", "steps": [{"id": "now", "agent": "noop", "priority": 9}]})
        narrow.start()
        done = urgent.wait(SECONDS).steps["now"].started_at or 0
        begun = [s.started_at for s in backlog.status().steps.values() if s.started_at]
        backlog.cancel()
        before = [at for at in begun if at < done]
        assert len(before) <= 2, f"{len(before)} steps of the backlog went first"


@pytest.fixture
def running(narrow: Worker) -> Worker:
    """The same worker, whichever test came first."""
    return narrow if narrow.process is not None else narrow.start()


def test_a_plain_chord_of_the_users_keeps_celerys_semantics(module_store: Store, running: Worker) -> None:
    with Client(module_store.url) as client:
        sweep = client.app.tasks["orchestrator.sweep"]
        counted, body = sweep.s(), sweep.si()
        for signature in (counted, body):
            signature.options["ignore_result"] = False
        good: Any = chord([counted.clone() for _ in range(3)])(body.clone())
        assert isinstance(good.get(timeout=SECONDS), int)
        submit = client.app.tasks["orchestrator.submit"]
        bad: Any = chord([counted.clone(), submit.s("nobody-registered-this")])(body.clone())
        eventually(lambda: bad.state == states.FAILURE, within=SECONDS, what="the body has failed")
        assert isinstance(bad.result, ChordError)
        for result in (good, bad, *good.parent.results, *bad.parent.results):
            result.forget()  # unsubscribes while the server is there


def test_a_canvas_of_ours_is_shown_under_the_agents_names(module_store: Store, running: Worker) -> None:
    with Client(module_store.url) as client:
        handle = client.submit({"name": "named", "steps": [{"id": "only", "agent": "noop"}]})
        assert handle.wait(SECONDS).state is RunState.SUCCESS
    told = f"agent.noop[{handle.id}.only]"
    eventually(lambda: told in running.text(), within=SECONDS, what="the worker's log names it")
