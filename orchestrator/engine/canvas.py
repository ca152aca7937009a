"""What the ledger released together becomes one Celery canvas: a chain for a linear run, a chord for a parallel
group, single tasks for the rest. Messages carry ids only, so they stay far below 4 KiB."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery import Celery, Signature, chain, chord

from orchestrator import keys
from orchestrator.engine.routing import CONTROL, agent_queue, redis_priority

if TYPE_CHECKING:
    from orchestrator.run.nodes import Node

STEP = "orchestrator.step"
BARRIER = "orchestrator.barrier"


def task_id(run_id: str, node: str) -> str:
    """The id of the Celery task of a node. All attempts of a step share it."""
    return f"{run_id}.{node}"


_STEP_TASK = re.compile(r"^[0-9a-f]{16}\.")


def is_step_task(celery_id: str) -> bool:
    """Whether the id of a Celery task is that of a step or barrier of ours."""
    return _STEP_TASK.match(celery_id) is not None


def step_signature(app: Celery, run_id: str, step: str, agent: str, queue: str, priority: int) -> Signature[Any]:
    """The task of one step; Flower and its metrics show it under the agent's name."""
    return app.signature(
        STEP,
        args=(run_id, step),
        immutable=True,
        task_id=task_id(run_id, step),
        queue=agent_queue(queue),
        priority=redis_priority(priority),
        shadow=f"agent.{agent}",
        ignore_result=True,
    )


def barrier_signature(app: Celery, run_id: str, group: str) -> Signature[Any]:
    """The task that joins a group. As a chord's body it is called with the outcomes of the members."""
    return app.signature(
        BARRIER,
        kwargs={"run_id": run_id, "group": group},
        queue=CONTROL,
        priority=redis_priority(10),
        shadow=f"barrier.{group}",
        ignore_result=True,
    )


def segment(app: Celery, run_id: str, definition: Mapping[str, Any]) -> Signature[Any]:
    """A step, and as a chain the links of its linear run that need no admission of their own."""
    first = step_signature(
        app, run_id, definition["id"], definition["agent"], definition["queue"], definition["priority"]
    )
    later = [step_signature(app, run_id, *link) for link in definition.get("next", ())]
    return chain(first, *later, app=app) if later else first


def chords(released: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Steps that were released together: the members of a group that become one chord, and each other one alone."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for definition in released:
        if definition.get("chord"):
            groups.setdefault(definition["group"], []).append(definition)
    for definition in released:
        members = groups.get(definition.get("group", ""), [definition])
        if len(members) < 2:  # a chord of one is a single task
            yield [definition]
        elif definition is members[0]:
            yield members


def publish_chord(app: Celery, run_id: str, members: Sequence[Mapping[str, Any]]) -> None:
    """Send the members of a group as a chord whose body is its barrier."""
    name = members[0]["group"]
    header = [segment(app, run_id, member) for member in members]
    canvas = chord(header, barrier_signature(app, run_id, name), app=app, task_id=group_task_id(run_id, name))
    canvas.apply_async(task_id=task_id(run_id, keys.barrier_node(name)))


def republish_member(app: Celery, run_id: str, definition: Mapping[str, Any], header: int) -> None:
    """Send one member of a group again, so that its end still counts in its chord of `header` members."""
    signature = segment(app, run_id, definition)
    name = definition["group"]
    body = barrier_signature(app, run_id, name)
    body.options.update(task_id=task_id(run_id, keys.barrier_node(name)), chord_size=header)
    signature.apply_async(group_id=group_task_id(run_id, name), group_index=definition["index"], chord=body)


def group_task_id(run_id: str, group: str) -> str:
    """The id under which Celery counts the members of a group."""
    return f"{run_id}.{group}.members"


def describe(nodes: Iterable[Node]) -> list[str]:
    """The canvases of a plan as text, one line each, in the order in which the ledger may release them."""
    lines: list[str] = []
    carried: set[str] = set()
    groups: dict[str, list[str]] = {}
    for node in nodes:
        if node.kind != "step" or node.id in carried:
            continue
        definition = node.definition
        links = [_call(node.id, definition["queue"], definition["priority"])]
        for step, _agent, queue, priority in definition.get("next", ()):
            links.append(_call(step, queue, priority))
            carried.add(step)
        text = links[0] if len(links) == 1 else f"chain({' | '.join(links)})"
        if definition.get("chord"):
            groups.setdefault(definition["group"], []).append(text)
            if len(groups[definition["group"]]) == 1:
                lines.append(f"\0{definition['group']}")
            continue
        lines.append(text)
    return [
        f"chord([{', '.join(groups[line[1:]])}], {BARRIER}({line[1:]!r}) on {CONTROL})" if line[0] == "\0" else line
        for line in lines
    ]


def _call(step: str, queue: str, priority: int) -> str:
    return f"{STEP}({step!r}) on {agent_queue(queue)} at priority {redis_priority(priority)}"
