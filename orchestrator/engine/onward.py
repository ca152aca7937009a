"""How Celery carries out the steps of a turn: each is a task of its own, with its id, signals, result and events; only
its message is missing, or was taken by the ledger itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Celery, states
from celery.app.trace import trace_ok_t
from celery.utils.saferepr import saferepr

from orchestrator.engine.canvas import STEP, task_id
from orchestrator.engine.routing import agent_queue, redis_priority
from orchestrator.engine.runtime import log, runtime_of
from orchestrator.engine.turns import Turn
from orchestrator.run.replies import Claimed

Tracer = Callable[..., Any]
"""Celery's `trace_task(id, args, kwargs, request)` -> (value, how it failed or None, seconds, value as text)."""


def in_turns(app: Celery, tracer: Tracer) -> Tracer:
    """Celery's tracer of one task, as one that goes on with what the ledger has begun for this process."""

    def trace(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        with Turn(app, *args) as turn:
            return _go_on(app, turn, tracer, uuid, tracer(uuid, args, kwargs, request))

    return trace


def _go_on(app: Celery, turn: Turn, tracer: Tracer, uuid: str, first: Any) -> Any:
    """Returns how the first task has ended. Its worker tells of that when all is over; when somebody watches, it is
    told here, at once, and the worker finds no text."""
    runtime = runtime_of(app)
    watched, answer = runtime.notices.watched, first
    if not turn.goes_on and not turn.may_look:
        return first
    while True:
        ending = _ending(uuid, answer)
        if watched and not turn.goes_on:
            _tell(app, ending)
            ending = None
        turn.look()
        granted = turn.take_up()
        if granted is None:
            return trace_ok_t(first.retval, first.info, first.runtime, None) if watched else first
        request = request_of(turn.run_id, granted, runtime.hostname)
        if watched:
            _tell(app, ending, _received(request), ("task-started", {"uuid": request["id"]}))
        uuid = request["id"]
        answer = tracer(uuid, request["args"], request["kwargs"], request)


def request_of(run_id: str, granted: Claimed, hostname: str) -> dict[str, Any]:
    """What Celery would make of the message of this attempt's step."""
    if granted.message:
        message = json.loads(granted.message)
        args, kwargs, embed = json.loads(message["body"])
        properties = message["properties"]
        found = {**message["headers"], **embed, "args": args, "kwargs": kwargs, "properties": properties}
        delivery = properties["delivery_info"] | {"priority": properties.get("priority")}
    else:
        definition = granted.definition
        step = definition["id"]
        queue = agent_queue(definition["queue"])
        delivery = {"exchange": "", "routing_key": queue, "priority": redis_priority(definition["priority"])}
        found = {
            "id": task_id(run_id, step), "task": STEP, "args": [run_id, step], "kwargs": {}, "retries": 0,
            "argsrepr": repr((run_id, step)), "kwargsrepr": "{}", "root_id": task_id(run_id, step), "parent_id": None,
            "shadow": f"agent.{definition['agent']}", "ignore_result": True, "origin": "ledger",
        }  # fmt: skip
    return {**found, "hostname": hostname, "is_eager": False, "delivery_info": delivery | {"redelivered": False}}


# -- events ---------------------------------------------------------------------------------------------------------

Told = tuple[str, dict[str, Any]]


def _received(request: Mapping[str, Any]) -> Told:
    kept = ("root_id", "parent_id", "retries", "eta", "expires")
    fields = {name: request.get(name) for name in kept}
    name, args, kwargs = request["shadow"], request["argsrepr"], request["kwargsrepr"]
    return "task-received", {"uuid": request["id"], "name": name, "args": args, "kwargs": kwargs, **fields}


def _ending(uuid: str, answer: Any) -> Told | None:
    value, failed, seconds, text = answer
    if failed is None:
        return "task-succeeded", {"uuid": uuid, "result": text, "runtime": seconds}
    kind = {states.FAILURE: "task-failed", states.RETRY: "task-retried"}.get(failed.state)
    if kind is None or not isinstance(value, ExceptionInfo):
        return None
    error = getattr(value.exception, "exc", None) or value.exception
    return kind, {"uuid": uuid, "exception": saferepr(error), "traceback": str(value.traceback)}


def _tell(app: Celery, *events: Told | None) -> None:
    """In one message. Whoever watches does without when that cannot be sent; the steps are done all the same."""
    try:
        with app.amqp.producer_pool.acquire(block=True) as producer:
            channel: Any = producer.channel
            dispatcher = app.events.Dispatcher(
                channel.connection.client, runtime_of(app).hostname, channel=channel, buffer_group={"task"},
                buffer_limit=len(events) + 1,
            )  # fmt: skip
            for event in events:
                if event is not None:
                    dispatcher.send(event[0], **event[1])
            dispatcher.flush()
    except Exception as error:  # noqa: BLE001 - of broker or transport
        log.info("could not tell of %d events: %s", len(events), error)
