"""Backpressure: a submission is turned away while too much waits for the agents that it needs. Nothing is dropped.

Per class of agents are counted the messages in its queue, the steps that wait for pools, and what others who were let
in within the last seconds are about to release. A bound is passed by no more than what the last call let in releases
at once, however many submit at a time; where queues and store are on different servers, by what those release
that are let in between one look at the queues and the next. What was just let in may count twice for the moment in
which it reaches its queues. Runs under way may add what they release later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import redis
from celery import Celery
from msgspec import Struct

from orchestrator import keys
from orchestrator.batch import Call
from orchestrator.connection import client_url, guarded
from orchestrator.engine.delivery import list_of
from orchestrator.engine.depths import depths
from orchestrator.engine.registry import known_agents
from orchestrator.engine.routing import REDIS_PRIORITIES, agent_queue
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.errors import BackpressureError, StoreUnavailable
from orchestrator.fleet.learning import durations, mean_seconds
from orchestrator.fleet.store import tell
from orchestrator.run.replies import Refused
from orchestrator.scripts import Script, encode, fragment

if TYPE_CHECKING:
    from orchestrator.run.nodes import Node

PROMISED_SECONDS = 10
"""Who was let in and has released nothing after that is not coming."""
LONGEST_SECONDS = 300.0
SHORTEST_SECONDS = 1.0
NO_PROMISE = Refused("full")
BACKLOG = Script(fragment("orchestrator.engine", "backpressure"))


class Entrance(Struct, frozen=True):
    """What lets runs in, all of them or none. `call` asks whether there is room, and leaves a promise for those who
    come; `promise` is its name."""

    promise: str
    call: Call
    _runtime: Runtime
    _steps: Sequence[Node]

    def passed(self, said: Sequence[bytes], answers: Collection[object] = ()) -> None:
        """What that has said, and what became of the runs. Raises BackpressureError, with the time until there should
        be room again."""
        if said:
            _refuse(self._runtime, self._steps, said[0].decode(), int(said[1]))
        if NO_PROMISE in answers:
            raise BackpressureError("the server stood still while it let a run in", retry_after=SHORTEST_SECONDS)

    def entered(self, client: redis.Redis) -> None:
        """Their first steps are in their queues, and are counted there."""
        with guarded():
            client.hdel(f"{keys.POOLS}:entering", self.promise)


def entrance(app: Celery, runs: Sequence[tuple[str, Iterable[Node]]]) -> Entrance | None:
    """For runs that are about to be created; the promise has the name of the last one. None for no run at all. Where
    the queues are on another server than the store, they are counted here."""
    runtime = runtime_of(app)
    steps = [node for _, nodes in runs for node in nodes if node.kind == "step"]
    if not steps:
        return None
    used = Counter(str(node.definition["queue"]) for node in steps)
    own = Counter(str(node.definition["queue"]) for node in steps if not node.needs)
    together = client_url(runtime.broker_url) == client_url(runtime.store_url)
    waiting = {} if together else _depths(app, used)
    limits = runtime.settings.resource_manager.backlog
    classes: list[dict[str, Any]] = []
    for name in sorted(used):
        row: dict[str, Any] = {"name": name, "most": limits.most_of(name), "own": own[name]}
        if together:
            row["lists"] = [list_of(agent_queue(name), level) for level in range(REDIS_PRIORITIES)]
        else:
            row["depth"] = waiting.get(agent_queue(name), 0)
        classes.append(row)
    promise = runs[-1][0]
    arguments = {"id": promise, "seconds": PROMISED_SECONDS, "classes": classes}
    return Entrance(promise, (BACKLOG, keys.POOLS, (encode(arguments),)), runtime, steps)


def _depths(app: Celery, classes: Iterable[str]) -> Mapping[str, int]:
    """A broker that is away keeps nobody from submitting: a sweep publishes when it is back."""
    try:
        return depths(app, map(agent_queue, classes))
    except StoreUnavailable as error:
        log.warning("the queues cannot be counted: %s", error)
        return {}


def _refuse(runtime: Runtime, steps: Iterable[Node], agent_class: str, waits: int) -> None:
    most = runtime.settings.resource_manager.backlog.most_of(agent_class)
    agents = [name for name, one in known_agents(runtime.client).items() if one["queue"] == agent_class]
    seconds = mean_seconds(durations(runtime.client), agents)
    if seconds is None:
        own = [float(node.definition.get("seconds", 0.0)) for node in steps if node.definition["queue"] == agent_class]
        seconds = sum(own) / len(own)
    workers = tell(runtime.client, None, runtime.settings.engine.lease_seconds)[2]
    slots = sum(worker.slots for worker in workers.values() if agent_queue(agent_class) in worker.takes)
    after = retry_after(waits - most + 1, seconds, slots)
    raise BackpressureError(
        f"{waits} steps wait for agents of the class '{agent_class}', and {most} may; "
        f"nothing was submitted, try again in {after:.0f} s",
        retry_after=after,
    )


def retry_after(too_many: int, seconds: float, slots: int) -> float:
    """How long it should take until so many of the waiting steps are through, each of which takes `seconds` (what the
    agents of the class took lately, else what the refused steps declare) in one of `slots`. Nobody is sent away for
    longer than LONGEST_SECONDS."""
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, too_many * seconds / max(1, slots)))
