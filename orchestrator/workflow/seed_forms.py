"""Groups as they are written: `execution_groups`, and steps of the type `parallel_group`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.documents import Location, shown
from orchestrator.workflow.drafts import Draft, GroupDraft, Reading, Reference, StepDraft
from orchestrator.workflow.models import BarrierSpec, CrossValidation, TimeoutStrategy, TriggerRule
from orchestrator.workflow.step_forms import read_step, read_step_key

Reader = Callable[[Reading, GroupDraft, Any, Location], None]

_FAILURE_HANDLING = {
    "continue_with_available_results": {
        "trigger_rule": TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
        "on_timeout": [
            TimeoutStrategy.EXTEND_TIMEOUT,
            TimeoutStrategy.CONTINUE_WITH_PARTIAL,
            TimeoutStrategy.ABORT_AND_FALLBACK,
        ],
    },
    "abort_and_fallback": {
        "trigger_rule": TriggerRule.ALL_SUCCESS,
        "on_timeout": [TimeoutStrategy.EXTEND_TIMEOUT, TimeoutStrategy.ABORT_AND_FALLBACK],
    },
}
_SUCCESS_RULES = {
    "at_least_one_agent_succeeds": TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
    "all_agents_succeed": TriggerRule.ALL_SUCCESS,
}
_PLAIN = ("id", "name", "description", "estimated_duration", "parallel_capable", "resource_isolation", "locks")
_SHARED = ("dependencies", "needs", "resource_requirements", "resources", "context_access")


def read_execution_groups(reading: Reading, raw: object, location: Location) -> None:
    """`execution_groups`: a mapping from group id to group."""
    for group_id, group in reading.mapping(raw, location).items():
        draft = read_group(reading, group, (*location, group_id), _EXECUTION_GROUP)
        draft.values["id"], draft.places["id"] = group_id, (*location, group_id)


def read_parallel_group(reading: Reading, raw: object, location: Location) -> None:
    """A workflow step of the type `parallel_group`."""
    draft = read_group(reading, raw, location, _PARALLEL_GROUP)
    if "id" not in draft.values and isinstance(raw, dict):
        reading.wrong(location, "a parallel_group needs an id", "write `id: ...`")


def read_group(reading: Reading, raw: object, location: Location, readers: Mapping[str, Reader | None]) -> GroupDraft:
    """Read the keys of one group; its members become steps in the order in which they are listed."""
    draft = GroupDraft(location, barrier=Draft(location), shared=StepDraft(location))
    reading.groups.append(draft)
    known = readers.keys()
    for key, value in reading.mapping(raw, location).items():
        place = (*location, key)
        if key not in known:
            reading.unknown(place, known)
        elif value is None:
            continue
        elif (reader := readers[key]) is not None:
            reader(reading, draft, value, place)
        elif key in _SHARED:
            read_step_key(reading, draft.shared, key, value, place)
        else:
            reading.put(draft, key, value, place)
    if isinstance(raw, dict) and "agent_specifications" in raw:
        _read_specifications(reading, draft, raw["agent_specifications"], (*location, "agent_specifications"))
    return draft


def read_barrier(reading: Reading, barrier: Draft, raw: object, location: Location) -> None:
    """The keys of a BarrierSpec, as they are called there."""
    for key, value in reading.mapping(raw, location).items():
        place = (*location, key)
        if key not in BarrierSpec.model_fields:
            reading.unknown(place, BarrierSpec.model_fields)
        elif key == "cross_validation" and value is not None:
            _put_cross_validation(reading, barrier, value, place)
        elif value is not None:
            reading.put(barrier, key, [value] if key == "on_timeout" and isinstance(value, str) else value, place)


def _read_agents(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    if not isinstance(value, list):
        reading.wrong(location, f"a list of agents is expected, found {shown(value)}", 'write ["pm", "qa"]')
        draft.closed = True
        return
    for index, item in enumerate(value):
        place = (*location, index)
        if isinstance(item, str) and item in reading.flat_ids:
            draft.members.append(Reference(item, place))
            continue
        if isinstance(item, str):
            step = StepDraft(place, {"id": item, "agent": item}, {"id": place, "agent": place})
        elif isinstance(item, dict):
            step = read_step(reading, item, place)
        else:
            reading.wrong(place, f"an agent or a mapping with id and agent is expected, found {shown(item)}")
            draft.closed = True
            continue
        reading.steps.append(step)
        draft.members.append(Reference(step.id, place))


def _read_specifications(reading: Reading, draft: GroupDraft, raw: object, location: Location) -> None:
    if raw is None:
        return
    members = {member.text for member in draft.members}
    steps = [step for step in reading.steps if step.id in members]
    for name, specification in reading.mapping(raw, location).items():
        place = (*location, name)
        chosen = [step for step in steps if step.id == name] or [step for step in steps if step.agent == name]
        if not chosen:
            known = members | {step.agent for step in steps}
            reading.unknown(place, known)
        for step in chosen or [StepDraft(place)]:
            for key, value in reading.mapping(specification, place).items():
                if key in ("id", "agent", "group"):
                    reading.wrong((*place, key), f"'{key}' cannot be set here", "set it in the list of agents")
                else:
                    read_step_key(reading, step, key, value, (*place, key))


def _read_synchronization(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    """The word `barrier_sync`, or the mapping of the enhanced step."""
    if not isinstance(value, dict):
        reading.one_of(value, location, "barrier_sync")
        return
    known = ("barrier_type", "success_criteria", "failure_criteria")
    for key, item in value.items():
        place = (*location, key)
        if key == "barrier_type":
            reading.one_of(item, place, "smart_barrier")
        elif key == "success_criteria":
            word = reading.one_of(item, place, *_SUCCESS_RULES)
            if word is not None:
                reading.put(draft.barrier, "trigger_rule", _SUCCESS_RULES[word], place)
        elif key == "failure_criteria":
            reading.put(draft.barrier, key, item, place)
        else:
            reading.unknown(place, known)


def _read_strategy(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    known = ("type", "timeout", "partial_failure_handling", "cross_validation")
    for key, item in reading.mapping(value, location).items():
        place = (*location, key)
        if key == "type":
            reading.one_of(item, place, "smart_barrier")
        elif key == "timeout":
            reading.put(draft.barrier, "timeout", item, place)
        elif key == "partial_failure_handling":
            word = reading.one_of(item, place, *_FAILURE_HANDLING)
            for name, setting in _FAILURE_HANDLING.get(word or "", {}).items():
                reading.put(draft.barrier, name, setting, place)
        elif key == "cross_validation":
            _put_cross_validation(reading, draft.barrier, item, place)
        else:
            reading.unknown(place, known)


def _read_configuration(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    known = ("execution_mode", "resource_isolation", "context_sharing")
    for key, item in reading.mapping(value, location).items():
        place = (*location, key)
        if key == "execution_mode":
            reading.one_of(item, place, "truly_parallel")
        elif key == "resource_isolation":
            reading.put(draft, key, item, place)
        elif key == "context_sharing":
            reading.one_of(item, place, "read_only_shared_write_isolated")
        else:
            reading.unknown(place, known)


def _put_cross_validation(reading: Reading, barrier: Draft, value: object, location: Location) -> None:
    """The word of the strategy block, or a mapping, which is meant to be on unless it says otherwise."""
    if isinstance(value, dict):
        known = CrossValidation.model_fields
        for key in value.keys() - known:
            reading.unknown((*location, key), known)
        kept = {key: item for key, item in value.items() if key in known and item is not None}
        reading.put(barrier, "cross_validation", {"enabled": True, **kept}, location)
    elif reading.one_of(value, location, "post_completion_validation"):
        reading.put(barrier, "cross_validation", {"enabled": True}, location)


def _read_barrier(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    read_barrier(reading, draft.barrier, value, location)


def _read_timeout(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    reading.put(draft.barrier, "timeout", value, location)


def _read_consistency(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    reading.put(draft.barrier, "consistency", value, location)


def _read_cross_validation(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    _put_cross_validation(reading, draft.barrier, value, location)


def _read_type(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    reading.one_of(value, location, "parallel_group")


def _read_later(reading: Reading, draft: GroupDraft, value: object, location: Location) -> None:
    """`agent_specifications` are read after the agents, wherever they stand."""


_COMMON: dict[str, Reader | None] = {
    **dict.fromkeys((*_PLAIN, *_SHARED)),
    "agents": _read_agents,
    "agent_specifications": _read_later,
    "synchronization": _read_synchronization,
    "synchronization_strategy": _read_strategy,
    "barrier": _read_barrier,
    "cross_validation": _read_cross_validation,
    "consistency": _read_consistency,
    "timeout": _read_timeout,
    "parallel_configuration": _read_configuration,
}
_EXECUTION_GROUP = {key: reader for key, reader in _COMMON.items() if key != "id"}
_PARALLEL_GROUP = {**_COMMON, "type": _read_type}
EXECUTION_GROUP_KEYS = frozenset(_EXECUTION_GROUP)
