"""The words of `context_access`, such as `read_analyst_write_pm`, turned into paths that a step may read."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.problems import did_you_mean
from orchestrator.workflow.drafts import Reading, StepDraft

_EVERY_ANCESTOR = ("multiple", "all")
_MAX_PATHS = 500_000
_FORMS = "write_only, read_<step>_write_<step>, read_multiple_write_<step> or read_all_write_<step>"


def resolve_access(reading: Reading, steps: Mapping[str, StepDraft], agents: Mapping[str, list[str]]) -> None:
    """Set the read side of every step that has a word; lists that a step gives itself win over the word."""
    left = _MAX_PATHS
    for step in steps.values():
        word = step.values.get("context_access")
        if not isinstance(word, str):
            continue
        readable = _readable(reading, step, word, steps, agents)
        context = step.values.setdefault("context", {})
        if readable is None or "read" in context:
            continue
        left -= len(readable)
        if left >= 0:
            context["read"] = readable


def _readable(
    reading: Reading, step: StepDraft, word: str, steps: Mapping[str, StepDraft], agents: Mapping[str, list[str]]
) -> list[str] | None:
    """The paths that the word lets the step read; None if the word is a mistake, which is noted."""
    place = step.places["context_access"]
    if word == "write_only":
        return []
    source, separator, target = word.removeprefix("read_").rpartition("_write_")
    if not word.startswith("read_") or not separator or not source or not target:
        reading.wrong(place, f"'{word}' is no word of context_access", f"write {_FORMS}")
        return None
    if step.id not in _named(target, steps, agents):
        message = f"'{word}' lets '{step.id}' write what belongs to '{target}'"
        reading.wrong(place, message, f"write read_{source}_write_{step.id}")
        return None
    if source in _EVERY_ANCESTOR:
        return _ancestors(step, steps)
    found = _named(source, steps, agents)
    if len(found) > 1:
        message = f"'{source}' in '{word}' can mean {', '.join(found)}"
        reading.wrong(place, message, "write the step's whole id")
    elif not found:
        hint = did_you_mean(source, (*steps, *agents)) or "name a step of this workflow"
        reading.warn(place, f"'{source}' in '{word}' is no step of this workflow", hint)
        return [source]
    return found


def _named(name: str, steps: Mapping[str, StepDraft], agents: Mapping[str, list[str]]) -> list[str]:
    """The steps that a name means: an id, an agent, or the beginning of exactly one of them."""
    if name in steps:
        return [name]
    if name in agents:
        return agents[name]
    ids = {step_id for step_id in steps if step_id.startswith(name)}
    ids |= {step_id for agent, owned in agents.items() if agent.startswith(name) for step_id in owned}
    return [step_id for step_id in steps if step_id in ids]


def _ancestors(step: StepDraft, steps: Mapping[str, StepDraft]) -> list[str]:
    """Everything that the step waits for, directly or not, and what it wants, in file order."""
    found = set(step.values["wants"])
    waiting = [*step.values["needs"], *step.values["validates"]]
    while waiting:
        name = waiting.pop()
        if name not in found and name in steps and name != step.id:
            found.add(name)
            waiting += [*steps[name].values["needs"], *steps[name].values["validates"]]
    return [name for name in steps if name in found]
