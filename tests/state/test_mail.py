"""What the ledger puts into the queues itself is what Celery would have sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from celery import Celery, signals

from orchestrator.connection import connect
from orchestrator.engine.app import create_app
from orchestrator.engine.canvas import STEP
from orchestrator.engine.delivery import list_of
from orchestrator.engine.mail import Mail
from orchestrator.engine.publishing import publish
from orchestrator.engine.routing import agent_queue, redis_priority
from orchestrator.engine.runtime import ledger, runtime_of
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.replies import Claimed, Moved
from orchestrator.run.transitions import NO_MAIL
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import GroupSpec, WorkflowSpec
from orchestrator.workflow.plan import make_plan
from tests.state.bench import spec, step

RUN = "0123456789abcdef"
SETTINGS = EngineSettings()
ALONE = spec(step("a", priority=3, queue="slow"))
LINE = spec(step("a"), step("b", "a", priority=9), step("c", "b"))
SIDE_BY_SIDE = spec(
    step("b", group="g"), step("c", group="g"), step("d", group="g", priority=0),
    groups=(GroupSpec(id="g", steps=("b", "c", "d")),),
)  # fmt: skip

Queues = dict[str, list[Any]]


@pytest.fixture
def app(store_url: str) -> Celery:
    return create_app(store_url, store_url, SETTINGS, set_as_current=False)


def queues(url: str) -> Queues:
    """List -> its messages, the body parsed; without what says which process has sent it, and when."""
    client = connect(url)
    found: Queues = {}
    for raw in sorted(client.scan_iter("agents.*", _type="list")):
        messages = [json.loads(text) for text in client.lrange(raw, 0, -1)]
        for message in messages:
            message["body"] = json.loads(message["body"])
            for link in message["body"][2]["chain"] or ():
                del link["options"]["reply_to"]
                link["options"].pop("root_id", None)
            chord = message["body"][2]["chord"]
            if chord:
                chord["options"] = {name: chord["options"][name] for name in ("queue", "priority", "task_id", "shadow")}
            del message["properties"]["delivery_tag"], message["properties"]["reply_to"]
            del message["headers"]["origin"]
            message["properties"]["delivery_info"]["exchange"] = ""
        found[raw.decode()] = messages
    return found


def create(app: Celery, workflow: WorkflowSpec, mail: str) -> Moved:
    nodes = compile_nodes(make_plan(workflow), lambda agent: agent)
    moved = ledger(runtime_of(app).client, SETTINGS, mail).create(RUN, nodes, workflow="w", spec="{}", inputs={})
    assert isinstance(moved, Moved)
    return moved


def chord_keys(url: str) -> dict[bytes, bytes | None]:
    client = connect(url)
    return {key: client.get(key) for key in client.scan_iter("celery-taskset-meta-*")}  # type: ignore[misc]


@pytest.mark.parametrize("who", ["ledger", "engine"])
@pytest.mark.parametrize("workflow", [ALONE, LINE, SIDE_BY_SIDE], ids=["task", "chain", "chord"])
def test_what_is_sent_is_what_celery_sends(
    app: Celery, store_url: str, workflow: WorkflowSpec, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, runtime = connect(store_url), runtime_of(app)
    assert runtime.mail() != NO_MAIL
    with monkeypatch.context() as celery:
        celery.setattr(runtime, "render", lambda *_: None)
        publish(app, RUN, create(app, workflow, NO_MAIL).released)
    expected, counted = queues(store_url), chord_keys(store_url)
    client.flushdb()
    if who == "engine":
        with monkeypatch.context() as itself:
            if workflow is not SIDE_BY_SIDE:
                itself.delattr("celery.canvas.Signature.apply_async")
            publish(app, RUN, create(app, workflow, NO_MAIL).released)
    else:
        assert create(app, workflow, runtime.mail()).released == ()
    found = queues(store_url)
    assert list(found) == list(expected)
    for name, messages in expected.items():
        for ours, theirs in zip(found[name], messages, strict=True):
            assert ours["headers"] | {"root_id": ""} == theirs["headers"] | {"root_id": ""}
            assert {**ours, "headers": 0} == {**theirs, "headers": 0}
    assert chord_keys(store_url) == counted


def test_every_link_is_sent_when_its_turn_comes(app: Celery, store_url: str) -> None:
    create(app, LINE, runtime_of(app).mail())
    own = ledger(connect(store_url), SETTINGS, runtime_of(app).mail())
    connect(store_url).delete("agents.noop\x06\x165")
    for name in "ab":
        granted = own.claim(RUN, name, worker="w", owner="w", lease=5)
        assert isinstance(granted, Claimed)
        moved = own.finish(RUN, name, "success", token=granted.token)
        assert isinstance(moved, Moved)
        assert moved.released == ()
    sent = {message["headers"]["id"]: message for messages in queues(store_url).values() for message in messages}
    assert {f"{RUN}.b", f"{RUN}.c"} <= sent.keys()
    assert [link["args"][1] for link in sent[f"{RUN}.b"]["body"][2]["chain"]] == ["c"]
    assert sent[f"{RUN}.c"]["body"][2]["chain"] is None


def test_a_member_that_is_sent_again_is_left_to_its_chord(app: Celery, store_url: str) -> None:
    own = ledger(connect(store_url), SETTINGS, runtime_of(app).mail())
    create(app, SIDE_BY_SIDE, runtime_of(app).mail())
    moved = own.requeue(RUN, "b", found="queued")
    assert isinstance(moved, Moved)
    assert [definition["id"] for definition in moved.released] == ["b"]


def test_among_the_steps_of_its_run_the_longest_way_comes_first(app: Celery, store_url: str) -> None:
    """The message of another run keeps its turn, and so does whoever stands before it."""
    own, client = ledger(connect(store_url), SETTINGS, runtime_of(app).mail()), connect(store_url)
    queue = list_of(agent_queue("noop"), redis_priority(5))
    seconds = {"first": 1, "long": 9, "second": 1, "tail": 8, "middle": 5, "short": 2}
    needs = {"long": ("first",), "tail": ("second",)}
    steps = (step(name, *needs.get(name, ()), estimated_duration=f"{took}s") for name, took in seconds.items())

    def line() -> list[str]:
        messages = cast("list[bytes]", client.lrange(queue, 0, -1))
        return [json.loads(text)["headers"]["id"].partition(".")[2] for text in reversed(messages)]

    def end(name: str) -> None:
        granted = own.claim(RUN, name, worker="w", owner="w", lease=5)
        assert isinstance(granted, Claimed)
        own.finish(RUN, name, "success", token=granted.token)

    create(app, spec(*(one.model_copy(update={"priority": 5}) for one in steps)), runtime_of(app).mail())
    assert line() == ["first", "second", "middle", "short"]
    end("first")
    assert line() == ["first", "second", "long", "middle", "short"]
    client.lpush(queue, json.dumps({"headers": {"id": f"{'f' * 16}.other", "task": STEP}}))
    end("second")
    assert line() == ["first", "second", "long", "middle", "short", "other", "tail"]


def test_a_queue_that_is_no_list_is_left_to_the_caller(app: Celery, store_url: str) -> None:
    connect(store_url).set("agents.slow\x06\x166", "in the way")
    assert [found["id"] for found in create(app, ALONE, runtime_of(app).mail()).released] == ["a"]


def test_names_that_mean_something_to_json_or_lua_arrive_unharmed(app: Celery, store_url: str) -> None:
    nodes = compile_nodes(make_plan(spec(step("a"))), lambda _: 'q%1"@RUN@\\')
    for mail in (runtime_of(app).mail(), NO_MAIL):
        connect(store_url).flushdb()
        moved = ledger(connect(store_url), SETTINGS, mail).create(RUN, nodes, workflow="w", spec="{}", inputs={})
        assert isinstance(moved, Moved)
        publish(app, RUN, moved.released)
        ((message,),) = queues(store_url).values()
        assert message["properties"]["delivery_info"]["routing_key"] == 'agents.q%1"@RUN@\\'


def other_server(app: Celery) -> None:
    app.conf.update(broker_url="redis://127.0.0.1:1/0")


def prefix(app: Celery) -> None:
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "global_keyprefix": "x:"}


def events(app: Celery) -> None:
    app.conf.task_send_sent_event = True


@pytest.mark.parametrize("change", [other_server, prefix, events])
def test_celery_sends_where_the_ledger_cannot(app: Celery, store_url: str, change: Callable[[Celery], None]) -> None:
    change(app)
    assert runtime_of(app).mail() == NO_MAIL


def test_celery_sends_while_somebody_listens(app: Celery) -> None:
    assert runtime_of(app).mail() != NO_MAIL

    def listener(**_: Any) -> None: ...

    signals.before_task_publish.connect(listener)
    try:
        assert runtime_of(app).mail() == NO_MAIL
    finally:
        signals.before_task_publish.disconnect(listener)


def test_the_queue_of_a_template_is_none_of_the_apps(app: Celery, store_url: str) -> None:
    before = set(app.amqp.queues)
    assert Mail(app, store_url)() != NO_MAIL
    assert set(app.amqp.queues) == before


def test_every_process_has_the_same_text(app: Celery, store_url: str) -> None:
    """The server keeps one script of each kind then, however many clients there are."""
    other = create_app(store_url, store_url, SETTINGS, set_as_current=False)
    assert runtime_of(app).mail() == runtime_of(other).mail()
