"""The messages of steps as templates, so that the ledger's own transition can put them into the queues.

Rendered once per process by Celery and kombu themselves, with a step whose names are places to fill in. A released step
is then on its way in the same atomic script that released it: no publish, no round trip, nothing to lose in between.
Where the queues are on another server, the engine fills in the same templates and publishes what it gets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from secrets import token_hex
from typing import Any

from celery import Celery, chain, signals
from celery.utils.nodenames import anon_nodename
from kombu import Connection
from kombu.transport.redis import Channel
from msgspec import Struct
from msgspec.structs import replace

from orchestrator.connection import client_url
from orchestrator.engine.canvas import STEP, barrier_signature, group_task_id, step_signature, task_id
from orchestrator.engine.routing import HIGHEST, agent_queue, redis_priority
from orchestrator.keys import barrier_node
from orchestrator.run.transitions import NO_MAIL

_RUN, _STEP, _AGENT, _QUEUE, _NAME = "@RUN@", "@STEP@", "@AGENT@", "@QUEUE@", "@NAME@"
_PLACE = re.compile("@([A-Z]+)@")
_ANY_RUN, _ANY_STEP = token_hex(8), token_hex(8)
DAY = 24 * 3600
CLOSED_SECONDS = 300
"""For so long Celery remembers a chord whose body it has published."""
SHAPES = 500
"""So many kinds of messages are kept, by agent and priority."""
_SCHEMES = ("redis://", "rediss://", "unix://")
_SENDING = (signals.before_task_publish, signals.after_task_publish)


class Rendered(Struct, frozen=True):
    """What kombu is given for the message of the task with the id `task`."""

    queue: str
    task: str
    body: Any
    headers: dict[str, Any]
    priority: int
    delivery_mode: int


class Mail:
    """The templates of one application, as the Lua in front of `message.lua`; NO_MAIL where the engine publishes."""

    def __init__(self, app: Celery, store_url: str) -> None:
        self._app = app
        self._store_url = store_url
        self._shapes: dict[tuple[str, str, int], Rendered] = {}

    def __call__(self) -> str:
        """NO_MAIL when the broker is another server than the store, its keys get a prefix, or somebody listens to what
        Celery sends."""
        return self.definition if self._reaches_queues and not self._is_watched else NO_MAIL

    @cached_property
    def _reaches_queues(self) -> bool:
        conf = self._app.conf
        broker, options = client_url(str(conf.broker_write_url or "")), conf.broker_transport_options
        if broker != client_url(self._store_url) or not broker.startswith(_SCHEMES):
            return False
        return options.get("body_encoding") == "utf-8" and not any(map(options.get, ("global_keyprefix", "sep")))

    @property
    def _is_watched(self) -> bool:
        return bool(self._app.conf.task_send_sent_event) or any(signal.receivers for signal in _SENDING)

    def rendered(self, run_id: str, definition: Mapping[str, Any]) -> Rendered | None:
        """The message of a step that was released, or of the chain that it begins, for the engine to publish; None
        while somebody listens to what Celery sends."""
        if self._is_watched:
            return None
        step = definition["id"]
        if "next" in definition:
            return self._filled(run_id, step, definition)
        known = definition["agent"], definition["queue"], definition["priority"]
        shape = self._shapes.get(known)
        if shape is None:
            if len(self._shapes) >= SHAPES:
                self._shapes.clear()
            shape = self._shapes[known] = self._filled(_ANY_RUN, _ANY_STEP, definition)
        headers = {
            name: value.replace(_ANY_RUN, run_id).replace(_ANY_STEP, step) if isinstance(value, str) else value
            for name, value in shape.headers.items()
        }
        return replace(shape, body=[[run_id, step], *shape.body[1:]], headers=headers, task=task_id(run_id, step))

    def _filled(self, run_id: str, step: str, definition: Mapping[str, Any]) -> Rendered:
        found = self._templates
        values = _addressed(found, run_id, step, definition["agent"], definition["queue"], definition["priority"])
        if "next" in definition:
            links = [_fill(found["link"], _addressed(found, run_id, *link)) for link in reversed(definition["next"])]
            values["CHAIN"] = f"[{', '.join(links)}]"
        body, message = (json.loads(_fill(found[name], values)) for name in ("body", "message"))
        headers, properties = message["headers"] | {"origin": self._origin}, message["properties"]
        queue = found["queue"] + definition["queue"]
        return Rendered(
            queue, properties["correlation_id"], body, headers, properties["priority"], properties["delivery_mode"]
        )

    @cached_property
    def _templates(self) -> dict[str, Any]:
        return templates(self._app)

    @cached_property
    def _origin(self) -> str:
        return str(anon_nodename())

    @cached_property
    def definition(self) -> str:
        """A worker asks for it before it forks its children. The same text in every process of a deployment, so that
        the server keeps one script of each kind."""
        chord = _chord(self._app, self._store_url)
        found = self._templates | ({} if chord is None else {"chord": chord})
        return f"local MAIL = {_lua(found)}"


def templates(app: Celery) -> dict[str, Any]:
    """What `message.lua` fills in: `message`, `body` and `link` (of a chain; texts with places as @STEP@), `queue` (the
    prefix of all queues), `task` (the name of every step's), `separator` and `levels` (our priorities 0-10 on Redis'
    scale)."""
    message = _published(app)
    args, kwargs, embed = json.loads(message["body"])
    link = embed["chain"][0]
    link["options"] = {**link["options"], "priority": "@LEVEL@", "reply_to": None}
    embed |= {"chain": "@CHAIN@", "chord": "@CHORD@"}
    message["headers"] |= {"parent_id": None, "root_id": task_id(_RUN, _STEP), "origin": "ledger",
                           "group": "@GROUP@", "group_index": "@INDEX@"}  # fmt: skip
    message["properties"] |= {"priority": "@LEVEL@", "delivery_tag": "@TAG@", "reply_to": ""}
    message["body"] = "@BODY@"
    return {
        "message": _bare(message, "@BODY@", "@LEVEL@", "@GROUP@", "@INDEX@"),
        "body": _bare([args, kwargs, embed], "@CHAIN@", "@CHORD@"),
        "link": _bare(link, "@LEVEL@"),
        "queue": agent_queue(""),
        "task": STEP,
        "separator": Channel.sep,
        "levels": [redis_priority(priority) for priority in range(HIGHEST + 1)],
    }


def _addressed(
    found: Mapping[str, Any], run_id: str, step: str, agent: str, queue: str, priority: int
) -> dict[str, str]:
    """As in `message.lua`."""
    level = str(found["levels"][priority])
    return {"RUN": run_id, "STEP": step, "AGENT": json.dumps(agent)[1:-1], "QUEUE": json.dumps(queue)[1:-1],
            "LEVEL": level, "CHAIN": "null", "CHORD": "null", "GROUP": "null", "INDEX": "null", "BODY": '""',
            "TAG": ""}  # fmt: skip


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), template)


def counts_beside(app: Celery, store_url: str) -> bool:
    """Whether Celery counts the members of chords on the server where the ledger is."""
    return client_url(str(app.conf.result_backend).partition("+")[2]) == client_url(store_url)


def _chord(app: Celery, store_url: str) -> Mapping[str, Any] | None:
    """The id that members carry, the signature that follows them, and the keys under which Celery's backend counts
    them; None when results are kept elsewhere."""
    backend: Any = app.backend
    if not counts_beside(app, store_url):
        return None
    group = group_task_id(_RUN, _NAME)
    body = barrier_signature(app, _RUN, _NAME)
    body.options.update(task_id=task_id(_RUN, barrier_node(_NAME)))
    return {
        "id": json.dumps(group),
        "body": json.dumps(body),
        "size": backend.get_key_for_group(group, ".s").decode(),
        "claim": backend.get_key_for_group(group, ".c").decode(),
        "counted": [backend.get_key_for_group(group, part).decode() for part in (".j", ".t", ".s", ".d")],
        "expires": int(backend.chord_expires or DAY),
        "closed": CLOSED_SECONDS,
    }


def _published(app: Celery) -> dict[str, Any]:
    """What Celery and kombu put into a queue for a chain of two steps whose names are places."""
    queue = agent_queue(_QUEUE)
    one = step_signature(app, _RUN, _STEP, _AGENT, _QUEUE, 0)
    with Connection("memory://", transport_options={"body_encoding": "utf-8"}) as connection:
        channel: Any = connection.default_channel
        chain(one, one.clone(), app=app).apply_async(connection=connection, root_id=task_id(_RUN, _STEP))
        try:
            found: dict[str, Any] = channel._get(queue)
            return found
        finally:
            channel.queue_delete(queue)
            app.amqp.queues.pop(queue, None)  # Celery keeps every queue that something was sent to


def _bare(value: Any, *places: str) -> str:
    """JSON in which these places stand for other JSON, and not for strings."""
    text = json.dumps(value)
    for place in places:
        text = text.replace(json.dumps(place), place)
    return text


def _lua(value: Any) -> str:
    """The value as a Lua expression. None of our texts has a closing bracket of that kind."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_lua(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(_lua, value)) + "}"
    return f"[==[{value}]==]" if isinstance(value, str) else str(value)
