"""Whole runs on real workers: order, overlap, results, failures, and what Celery shows of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult

from orchestrator import AsyncClient, Client, InvalidWorkflow, RunHandle, Workflow
from orchestrator.errors import Conflict, OrchestratorError, WaitTimeout
from orchestrator.metrics.lateness import lateness
from orchestrator.run.models import RunState, RunStatus, StepState
from tests.conftest import Store
from tests.workers import eventually

SECONDS = 40
QUICK = {"initial_interval": 0.05}
both_pools = pytest.mark.parametrize("worker", ["prefork", "threads"], indirect=True, scope="module")
"""For what the worker does around an attempt. What the ledger or the client does is the same for every pool."""


def step(name: str, agent: str = "noop", /, *, needs: list[str] | None = None, **keys: Any) -> dict[str, Any]:
    parameters = {key: keys.pop(key) for key in list(keys) if key in ("seconds", "times", "path", "value", "text")}
    return {"id": name, "agent": agent, "needs": needs or [], "with": parameters} | keys


def definition(*steps: dict[str, Any], group: list[dict[str, Any]] | None = None, **group_keys: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"name": "test", "steps": list(steps)}
    if group:
        document["execution_groups"] = {"g": {"agents": group, "parallel_capable": True} | group_keys}
    return document


def finished(client: Client, document: dict[str, Any]) -> tuple[RunHandle, RunStatus]:
    handle = client.submit(document)
    return handle, handle.wait(SECONDS)


def states(status: RunStatus) -> dict[str, str]:
    return {name: step.state.value for name, step in status.steps.items()}


def celery_state(client: Client, handle: RunHandle, name: str) -> str:
    return str(AsyncResult(f"{handle.id}.{name}", app=client.app).state)


@both_pools
def test_members_of_a_group_overlap_and_their_barrier_releases_what_follows(client: Client) -> None:
    def document(agent: str) -> dict[str, Any]:
        return definition(
            step("analyst"), step("developer", needs=["ux_expert", "architect"]),
            group=[step("ux_expert", agent), step("architect", agent)], dependencies=["analyst"],
        )  # fmt: skip

    held = client.submit(document("hang"))
    both_run = {"analyst": "success", "ux_expert": "running", "architect": "running", "developer": "pending"}
    eventually(lambda: states(held.status()) == both_run, within=SECONDS, what="both members run")
    held.cancel()
    _, status = finished(client, document("noop"))
    assert status.state is RunState.SUCCESS, states(status)
    ux, architect, developer = (status.steps[name] for name in ("ux_expert", "architect", "developer"))
    assert (developer.started_at or 0) >= max(ux.finished_at or 0, architect.finished_at or 0)
    assert held.wait(SECONDS).state is RunState.CANCELLED


def test_a_linear_run_travels_as_one_chain(client: Client) -> None:
    names = [f"s{number}" for number in range(9)]
    steps = [step(name, needs=names[max(0, at - 1) : at]) for at, name in enumerate(names)]
    handle, status = finished(client, definition(*steps))
    assert status.state is RunState.SUCCESS
    order = [event.step for event in handle.events(follow=False) if event.type == "step" and event.state == "success"]
    assert order == names


def test_outside_groups_nobody_waits_for_a_level(client: Client) -> None:
    document = definition(
        step("quick"), step("slow", "hang"), step("after_quick", needs=["quick"]),
        step("last", needs=["after_quick", "slow"]),
    )  # fmt: skip
    handle = client.submit(document)
    went_on = {"quick": "success", "slow": "running", "after_quick": "success", "last": "pending"}
    eventually(lambda: states(handle.status()) == went_on, within=SECONDS, what="nobody waits for the slow one")
    handle.cancel()


def test_outputs_and_logs_of_a_run_can_be_fetched(client: Client) -> None:
    handle, status = finished(client, definition(step("e", "echo", value={"deep": [1, 2]})))
    assert status.state is RunState.SUCCESS, status
    assert handle.result() == {"e": {"echo": {"value": {"deep": [1, 2]}}}}


@both_pools
def test_a_failing_step_is_retried_and_shown_as_failed_by_celery(client: Client) -> None:
    document = definition(step("a", "fail", times=9, retry=QUICK), step("b", needs=["a"]))
    handle, status = finished(client, document)
    assert status.state is RunState.FAILED
    assert states(status) == {"a": "failed", "b": "upstream_failed"}
    assert status.steps["a"].attempts == 3
    assert status.steps["a"].error
    eventually(lambda: celery_state(client, handle, "a") == "FAILURE", within=SECONDS, what="Celery shows FAILURE")


def test_a_step_that_fails_once_succeeds_at_its_next_attempt(client: Client) -> None:
    handle, status = finished(client, definition(step("a", "fail", times=1, retry=QUICK), step("b", needs=["a"])))
    assert status.state is RunState.SUCCESS
    assert (status.steps["a"].attempts, status.steps["b"].attempts) == (2, 1)
    seen = [event.state for event in handle.events(follow=False) if event.step == "a"]
    assert seen == ["queued", "running", "retrying", "queued", "running", "success"]
    eventually(lambda: {line.attempt for line in handle.logs("a")} >= {1}, within=SECONDS, what="its log is stored")


def test_an_error_that_is_not_retryable_ends_the_step_at_once(client: Client) -> None:
    retry = QUICK | {"non_retryable_error_types": ["Exception"]}
    _, status = finished(client, definition(step("a", "fail", times=9, retry=retry)))
    assert (status.steps["a"].attempts, status.steps["a"].reason) == (1, "non_retryable")


def test_a_failed_member_takes_nothing_from_the_others(client: Client) -> None:
    document = definition(
        step("z", needs=["b", "c"]), group=[step("b", "fail", times=9, retry=QUICK), step("c", "echo", value=1)]
    )
    handle, status = finished(client, document)
    assert states(status) == {"b": "failed", "c": "success", "z": "upstream_failed"}
    assert "c" in handle.result()


def test_defaults_stand_in_for_a_failed_member(client: Client) -> None:
    member = step("b", "fail", times=9, retry=QUICK, defaults={"plan": "b"})
    handle, status = finished(client, definition(step("z", needs=["b", "c"]), group=[member, step("c")]))
    assert status.state is RunState.PARTIAL
    assert states(status) == {"b": "failed", "c": "success", "z": "success"}
    assert handle.result()["b"] == {"plan": "b"}


@both_pools
def test_a_retried_member_still_counts_in_its_chord(client: Client) -> None:
    handle, status = finished(
        client, definition(step("z", needs=["b", "c"]), group=[step("b", "fail", times=1, retry=QUICK), step("c")])
    )
    assert status.state is RunState.SUCCESS
    joined = [event for event in handle.events(follow=False) if event.type == "barrier"]
    assert len(joined) == 1
    chord = f"celery-taskset-meta-{handle.id}.g.members"
    eventually(lambda: client.redis.get(f"{chord}.c") == b"done", within=SECONDS, what="it has closed its chord")
    assert list(client.redis.scan_iter(f"{chord}.*")) == [f"{chord}.c".encode()]


@both_pools
def test_a_step_outlives_its_first_lease(client: Client) -> None:
    """The worker's main process renews it; the engine file of this fleet has leases of 1.5 s."""
    _, status = finished(client, definition(step("a", "sleep", seconds=3)))
    assert status.state is RunState.SUCCESS
    assert status.steps["a"].attempts == 1


@both_pools
def test_a_step_that_runs_too_long_is_timed_out(client: Client) -> None:
    document = definition(step("a", "hang", timeout=0.5, retry={"maximum_attempts": 1}), step("b", needs=["a"]))
    before = lateness(client.redis).count
    _, status = finished(client, document)
    assert states(status) == {"a": "timed_out", "b": "upstream_failed"}
    eventually(lambda: lateness(client.redis).count == before + 1, within=SECONDS, what="its lateness is recorded")


@both_pools
def test_cancel_ends_what_runs_and_what_waits(client: Client) -> None:
    handle = client.submit(definition(step("a", "hang"), step("b", needs=["a"])))
    eventually(lambda: handle.status().steps["a"].state is StepState.RUNNING, within=SECONDS, what="a runs")
    assert handle.cancel("test") is RunState.CANCELLING
    status = handle.wait(SECONDS)
    assert status.state is RunState.CANCELLED
    assert states(status) == {"a": "cancelled", "b": "cancelled"}


def test_the_same_idempotency_key_is_the_same_run(client: Client) -> None:
    document = definition(step("a"))
    first = client.submit(document, idempotency_key="order-7")
    assert client.submit(document, idempotency_key="order-7").id == first.id
    with pytest.raises(Conflict, match="order-7"):
        client.submit(definition(step("b")), idempotency_key="order-7")


def test_nothing_is_enqueued_for_a_workflow_with_mistakes(client: Client, module_store: Store) -> None:
    before = [run.run_id for run in client.list(limit=1000)]
    with pytest.raises(InvalidWorkflow, match="did you mean 'noop'"):
        client.submit(definition(step("a", "nop")), idempotency_key="wrong")
    assert [run.run_id for run in client.list(limit=1000)] == before
    assert client.submit(definition(step("a")), idempotency_key="wrong").wait(SECONDS).state is RunState.SUCCESS


def test_any_service_starts_a_registered_workflow_with_celery_alone(client: Client) -> None:
    result = client.app.send_task("orchestrator.submit", args=("drills",), kwargs={"idempotency_key": "by-name"})
    run_id = result.get(timeout=SECONDS)
    assert client.get(run_id).wait(SECONDS).state is RunState.SUCCESS


def test_wait_gives_up_and_the_run_goes_on(client: Client) -> None:
    handle = client.submit(definition(step("a", "hang")))
    with pytest.raises(WaitTimeout):
        handle.wait(0.1)
    assert not handle.status().ended
    handle.cancel()
    assert handle.wait(SECONDS).state is RunState.CANCELLED


def test_the_asyncio_client_does_the_same_without_blocking_the_loop(client: Client) -> None:
    async def use() -> tuple[RunState, list[str]]:
        async with AsyncClient(client.store_url) as asynchronous:
            workflow = Workflow("w")
            workflow.step("a", agent="hang")
            handle = await asynchronous.submit(workflow)
            waiting = asyncio.create_task(handle.wait(SECONDS))
            async for status in handle.watch():
                if status.steps["a"].state is StepState.RUNNING:
                    break
            assert not waiting.done(), "others go on while it waits"
            await handle.cancel()
            status = await waiting
            return status.state, [event.state async for event in handle.events(follow=False) if event.step == "a"]

    state, events = asyncio.run(use())
    assert state is RunState.CANCELLED
    assert events == ["queued", "running", "cancelled"]


def test_the_blocking_client_refuses_to_block_an_event_loop(client: Client) -> None:
    handle = client.submit(definition(step("a")))

    async def use() -> None:
        handle.wait(1)

    with pytest.raises(OrchestratorError, match="AsyncClient"):
        asyncio.run(use())


def test_arguments_of_tasks_are_ids_and_messages_are_small(store: Store) -> None:
    long = "x" * 60
    declared = {"name": long, "queue": long}
    names = [f"{long}-{number}" for number in range(8)]
    chained = [step(name, long, needs=names[max(0, at - 1) : at], value="secret") for at, name in enumerate(names)]
    members = [step(f"{long}-m{number}", long, value="secret") for number in range(4)]
    with Client(store.url) as client:
        client.redis.hset("orc:agents", long, json.dumps(declared))
        client.submit(definition(*chained, group=members))
        messages = [
            message
            for name in client.redis.scan_iter("agents.*")
            for message in client.redis.lrange(name, 0, -1)
        ]
    assert len(messages) == 5
    assert max(map(len, messages)) <= 4096, sorted(map(len, messages))
    assert not any(b"secret" in message for message in messages)
    for message in messages:
        assert json.loads(message)["content-type"] == "application/json"


TEXTS = ["", "one", "one two", "one two three", "one two three four"] * 4
LENGTHS = [0, 1, 2, 3, 4] * 4
NUMBERS = [(37 * number) % 101 for number in range(101)]


@pytest.mark.parametrize(
    ("name", "inputs", "step", "result"),
    [
        ("scatter_gather", {"texts": TEXTS}, "counted", {"count": 20, "failed": 0, "results": LENGTHS}),
        ("scatter_gather", {"texts": [*TEXTS, 1]}, "counted", {"count": 21, "failed": 1, "results": LENGTHS}),
        ("pipeline", {"texts": TEXTS}, "total", {"count": 20, "failed": 0, "result": 28}),
        ("fork_join", {"numbers": NUMBERS}, "sorted", {"count": 4, "failed": 0, "result": sorted(NUMBERS)}),
    ],
    ids=["scatter_gather", "one item fails", "pipeline", "fork_join"],
)
def test_a_pattern_in_a_file(client: Client, name: str, inputs: Any, step: str, result: Any, root: Path) -> None:
    handle = client.submit(root / "config" / "workflows" / f"{name}.yaml", inputs)
    status = handle.wait(SECONDS)
    assert status.state is RunState.SUCCESS, status
    assert handle.result()[step] == result
