"""One step as it is written: in the flat form, as a member of a group, or under `agent_specifications`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.documents import Location
from orchestrator.workflow.drafts import Draft, Reading, Reference, StepDraft
from orchestrator.workflow.expansion import path_of

_COMMON = frozenset(
    {
        "timeout",
        "idle_timeout",
        "schedule_timeout",
        "retry",
        "priority",
        "queue",
        "estimated_duration",
        "trigger_rule",
        "cache",
        "concurrency_limit",
        "rate_limit",
    }
)
_MAPPED = frozenset({"concurrency", "chunk_size", "item_timeout", "pipeline", "fork_join"})
_PLAIN = _COMMON | _MAPPED | {"id", "agent", "with", "defaults", "outputs", "locks", "description"}
_DEFAULTABLE = _COMMON | {"resources", "resource_requirements"}


def read_step(reading: Reading, raw: object, location: Location, *, named: bool = True) -> StepDraft:
    """Read the keys of one step. With `named`, it needs an id or an agent, and one stands for the other."""
    draft = StepDraft(location)
    for key, value in reading.mapping(raw, location).items():
        read_step_key(reading, draft, key, value, (*location, key))
    if named:
        _name(reading, draft, isinstance(raw, dict))
    return draft


def read_step_key(reading: Reading, draft: StepDraft, key: str, value: object, location: Location) -> None:
    """Read one key of a step into its draft. A key without a value counts as not written."""
    if key not in STEP_KEYS:
        reading.unknown(location, STEP_KEYS)
    elif value is None:
        return
    elif key in _SPECIAL:
        _SPECIAL[key](reading, draft, value, location)
    elif key == "concurrency" and isinstance(value, dict):  # how others call it; a number is that of a mapped step
        reading.put(draft, "concurrency_limit", value, location)
    elif key == "outputs" and isinstance(value, str):
        reading.put(draft, key, [value], location)
    else:
        reading.put(draft, key, value, location)


def read_step_defaults(reading: Reading, raw: object, location: Location) -> Draft:
    """The workflow's `defaults`: what every step takes over unless it says otherwise."""
    draft = StepDraft(location)
    for key, value in reading.mapping(raw, location).items():
        if key not in _DEFAULTABLE:
            reading.unknown((*location, key), _DEFAULTABLE)
        else:
            read_step_key(reading, draft, key, value, (*location, key))
    return draft


def _name(reading: Reading, draft: StepDraft, is_mapping: bool) -> None:
    if draft.mapped is not None and "for_each" not in draft.values:
        reading.wrong(draft.mapped, "'map' needs the items it is for", "write for_each: pm.user_stories", of_key=True)
    _first_stage(draft)
    known = draft.values.get("id", draft.values.get("agent"))
    if known is None and is_mapping:
        reading.wrong(draft.location, "a step needs an id or an agent", "write `id: ...`")
    for name, other in (("id", "agent"), ("agent", "id")):
        if name not in draft.values and other in draft.values:
            draft.values[name], draft.places[name] = draft.values[other], draft.places[other]


def _first_stage(draft: StepDraft) -> None:
    """A step with stages is worked by the agent of its first one, unless it names another."""
    pipeline, forks = draft.values.get("pipeline"), draft.values.get("fork_join")
    first = pipeline[0] if isinstance(pipeline, list) and pipeline else forks
    if "agent" in draft.values or not isinstance(first, dict):
        return
    agent = next((first[key] for key in ("agent", "map", "filter", "reduce") if isinstance(first.get(key), str)), None)
    if agent is not None:
        draft.values["agent"] = agent
        draft.places["agent"] = draft.places["fork_join" if first is forks else "pipeline"]


def _read_needs(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    draft.needs += reading.references(value, location)


def _read_wants(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    draft.wants += reading.references(value, location)


def _read_validates(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    draft.validates += reading.references(value, location)


def _read_inputs(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    draft.inputs += reading.references(value, location)


def _read_for_each(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    if isinstance(value, str):
        draft.items = Reference(path_of(value), location)
    reading.put(draft, "for_each", value, location)


def _read_map(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    if "for_each" not in draft.values and draft.items is None:
        draft.mapped = location
    reading.put(draft, "agent", value, location)


def _read_barrier(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    if isinstance(value, dict) and isinstance(value.get("on_timeout"), str):
        value = {**value, "on_timeout": [value["on_timeout"]]}
    reading.put(draft, "barrier", value, location)


def _read_group(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    found = reading.references(value, location)
    draft.group = found[0] if found else None


def _read_type(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    reading.one_of(value, location, "parallel_group")


def _read_context(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    for key, paths in reading.mapping(value, location).items():
        if key not in ("read", "write"):
            reading.unknown((*location, key), ("read", "write"))
        elif paths is not None and key == "read":
            draft.reads = (draft.reads or []) + reading.references(paths, (*location, key))
        elif paths is not None:
            draft.writes = (draft.writes or []) + reading.references(paths, (*location, key))


def _read_resources(reading: Reading, draft: StepDraft, value: object, location: Location) -> None:
    rest: dict[str, Any] = dict(reading.mapping(value, location))
    word = rest.pop("context_access", None)
    if word is not None:
        reading.put(draft, "context_access", word, (*location, "context_access"))
    amounts = {key: item for key, item in rest.items() if item is not None}
    if amounts or word is None:
        reading.put(draft, "resources", amounts, location)


_SPECIAL: dict[str, Callable[[Reading, StepDraft, object, Location], None]] = {
    "needs": _read_needs,
    "dependencies": _read_needs,
    "wants": _read_wants,
    "validates": _read_validates,
    "inputs": _read_inputs,
    "for_each": _read_for_each,
    "map": _read_map,
    "barrier": _read_barrier,
    "group": _read_group,
    "type": _read_type,
    "context": _read_context,
    "context_requirements": _read_context,
    "resources": _read_resources,
    "resource_requirements": _read_resources,
}
STEP_KEYS = (_PLAIN | _SPECIAL.keys() | {"context_access"}) - {"type"}
