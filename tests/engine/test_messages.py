"""Agents and services talk to each other while a run goes on, and whoever watches it learns of every change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import AsyncClient, Client, RunHandle
from orchestrator.errors import InvalidValue
from orchestrator.messages.channel import Message
from orchestrator.messages.groups import Group
from orchestrator.messages.models import Event, MessageEvent
from orchestrator.run.models import RunState, StepState
from orchestrator.run.reader import RunReader
from tests.conftest import Store
from tests.workers import Worker, eventually

SECONDS = 40


@pytest.fixture(scope="module")
def talking(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a worker with four slots for the agents of `messages_app`."""
    directory = tmp_path_factory.mktemp("messages")
    with Worker(module_store.url, directory, app="tests.engine.messages_app"), Client(module_store.url) as client:
        yield client


def conversation(client: Client) -> RunHandle:
    retry = {"maximum_attempts": 2, "initial_interval": 0.05}
    steps: list[dict[str, Any]] = [{"id": name, "agent": name, "retry": retry} for name in ("asker", "answerer")]
    return client.submit({"name": "talk", "steps": steps})


def test_agents_ask_and_answer_and_an_attempt_hears_everything_anew(talking: Client) -> None:
    run = conversation(talking)
    eventually(lambda: run.status().steps["asker"].state is StepState.SUCCESS, within=SECONDS, what="it was answered")
    assert run.status().steps["asker"].attempts == 2
    group = Group(run.messages, "service", "one")
    said = group.read(block=None)
    assert [(event.step, event.topic, event.to) for event in said.events if isinstance(event, MessageEvent)] == [
        ("asker", "question", "answerer"),
        ("answerer", "answer", ""),
    ], "the second attempt did not ask again"
    group.done(said)
    run.messages.publish(Message(topic="word", data="go", to="answerer"))
    assert run.wait(SECONDS).state is RunState.SUCCESS
    result = run.result()
    assert result["asker"] == {"answer": 40, "of": "answerer"}
    assert result["answerer"] == {"word": "go", "asked_by": "asker"}
    assert [event.step for event in group.read(block=None).events] == [None]


def test_an_attempt_that_waits_for_a_message_is_cancelled(talking: Client) -> None:
    run = talking.submit({"name": "deaf", "steps": [{"id": "deaf", "agent": "deaf"}]})
    eventually(lambda: run.status().steps["deaf"].state is StepState.RUNNING, within=SECONDS, what="it waits")
    run.cancel()
    status = run.wait(SECONDS)
    assert status.state is RunState.CANCELLED


def test_watchers_see_the_state_change_and_ask_only_when_it_has(
    talking: Client, module_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = conversation(talking)

    async def watched() -> list[tuple[RunState, StepState]]:
        async with AsyncClient(module_store.url) as client:
            handle = await client.get(run.id)
            seen = []
            async for status in handle.watch():
                seen.append((status.state, status.steps["answerer"].state))
                if len(seen) == 1:
                    await handle.messages.publish(Message(topic="word", data="go"))
            return seen

    states = asyncio.run(watched())
    assert states[-1] == (RunState.SUCCESS, StepState.SUCCESS)
    assert [status.state for status in run.watch()] == [RunState.SUCCESS], "one that has ended is told once"
    watch = run.watching()
    read: list[str] = []
    monkeypatch.setattr(RunReader, "status", lambda _, run_id: read.append(run_id))
    assert watch.wait(0.05) is None
    assert read == [], "it waits for news, and reads no state"


def test_what_becomes_of_all_runs_is_told_and_can_be_read_again(talking: Client, module_store: Store) -> None:
    begin = next(reversed([event.id for event in talking.events("0", follow=False)]), "0")
    runs = [conversation(talking) for _ in range(2)]
    for run in runs:
        run.cancel("enough")

    async def watched(after: str) -> list[Event]:
        async with AsyncClient(module_store.url) as client:
            seen = []
            async for event in client.events(after):
                seen.append(event)
                if {one.run for one in seen if one.ends_run} == {run.id for run in runs}:
                    break
            return seen

    seen = asyncio.run(watched(begin))
    states = [event.state for event in seen if event.run == runs[1].id]
    assert (states[0], states[-2:]) == (RunState.PENDING, [RunState.CANCELLING, RunState.CANCELLED])
    assert {event.message for event in seen if event.state == "cancelling"} == {"enough"}
    assert [event for event in talking.events(begin, follow=False) if event in seen] == seen
    assert next(talking.events(seen[-2].id, follow=False)).id == seen[-1].id
    assert not list(talking.events(follow=False))


def test_services_talk_over_the_deployments_channel(talking: Client) -> None:
    group = Group(talking.messages, "alarm", "one")
    talking.messages.publish(Message(topic="maintenance", data={"in": 5}))
    (event,) = group.read().events
    assert isinstance(event, MessageEvent)
    assert (event.topic, event.data) == ("maintenance", {"in": 5})
    with pytest.raises(InvalidValue, match="at most 64,000"):
        talking.messages.publish(Message(topic="maintenance", data="x" * 65_000))
