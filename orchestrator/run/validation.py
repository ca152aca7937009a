"""Cross-validation, as nodes of the ledger: a second group behind the barrier of the first one.

When a group's barrier has merged its members' work, the agents that validate it run as ordinary steps, and a barrier of
their own releases whoever waits for the group. So whatever can die, be late or be cancelled there is carried on by what
carries on every other step and barrier.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from orchestrator.keys import barrier_node, validation_group
from orchestrator.workflow.models import GroupSpec, TriggerRule

if TYPE_CHECKING:
    from orchestrator.run.nodes import Node

WRITES = ("valid", "findings")
"""What a validation gives, and all that it may write."""


def release_node(group: GroupSpec) -> str:
    """The node that those wait for who need the whole group."""
    return barrier_node(validation_group(group.id) if group.barrier.cross_validation.enabled else group.id)


def validators(group: GroupSpec, taken: Collection[str]) -> dict[str, str]:
    """Member whose agent validates -> id of the step in which it does."""
    found = {}
    for member in group.barrier.cross_validation.validation_agents or group.steps:
        name = f"{member}-validates"
        while name in taken:
            name += "_"
        found[member] = name
    return found


def validation_nodes(
    group: GroupSpec, members: Mapping[str, Node], barrier: Node, taken: Collection[str]
) -> Iterator[Node]:
    """A node for each validator, with what it needs of its member's definition, and their barrier. `barrier` is that of
    the group, `taken` are the ids of the workflow's steps."""
    spec, names = group.barrier.cross_validation, validators(group, taken)
    joined = barrier_node(validation_group(group.id))
    unmerged = any("after" in node.definition for node in members.values())
    for index, (member, name) in enumerate(names.items()):
        others = [step for step in group.steps if step != member]
        definition = _of_member(members[member].definition) | {
            "id": name,
            "n": len(taken) + min(node.definition["n"] for node in members.values()) + index,
            "group": validation_group(group.id),
            "index": index,
            "chord": True,
            "barrier_timeout": spec.validation_timeout,
            "timeout": spec.validation_timeout,
            "validates": others,
            "validates_as": member,
            "write": list(WRITES),
        }
        if "read" in definition:
            definition["read"] = [*definition["read"], *group.steps]
        if unmerged:
            definition["after"] = [barrier.id]
        yield replace(
            members[member], id=name, rule=TriggerRule.ALL_SUCCESS, needs=(barrier.id,), definition=definition, to=[],
            gate=False, carried=False, barrier=joined, schedule=spec.validation_timeout,
        )  # fmt: skip
    definition = {
        "id": joined,
        "group": validation_group(group.id),
        "members": list(names.values()),
        "priority": barrier.definition["priority"],
        "barrier": {},
        "validation": spec.model_dump(mode="json"),
    }
    yield replace(barrier, id=joined, needs=tuple(names.values()), definition=definition, to=[], chord=True)


def _of_member(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for a member's agent whatever it does: not what belongs to its work alone."""
    own = {"outputs", "defaults", "next", "idle_timeout", "wants", "after", "access", "merge"}
    return {key: value for key, value in definition.items() if key not in own}
