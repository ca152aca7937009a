"""What travels with a mapped step: its items, its stages, and by what they are judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.workflow.expansion import Feed
from orchestrator.workflow.models import BarrierSpec, GroupSpec, StepSpec


def mapped(
    step: StepSpec, queue_of: Callable[[str], str], barrier_of: Callable[[GroupSpec], BarrierSpec]
) -> dict[str, Any] | None:
    """The `expand` part of a step's definition; None for a step that is not mapped. Items are judged as the members of
    a group are, with the step's own timeout."""
    if step.for_each is None:
        return None
    items = step.for_each
    group = GroupSpec(id=step.id, steps=(step.id,), barrier=step.barrier or BarrierSpec())
    barrier = barrier_of(group).model_copy(update={"timeout": step.timeout})
    document: dict[str, Any] = {
        "items": items.model_dump() if isinstance(items, Feed) else items,
        "stages": [
            stage.model_dump(mode="json", by_alias=True, exclude_none=True)
            | {"queue": step.queue or queue_of(stage.agent)}
            for stage in step.stages
        ],
        "barrier": barrier.model_dump(mode="json", exclude_defaults=True),
    }
    if step.chunk_size is not None:
        document["chunk_size"] = step.chunk_size
    if step.item_timeout is not None:
        document["item_timeout"] = step.item_timeout
    if step.fork_join is not None:
        document["forks"] = step.fork_join.forks
    return document
