"""The paths of merge rules and consistency rules: agents become step ids, and what can never hold is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from orchestrator.documents import Location
from orchestrator.problems import did_you_mean
from orchestrator.workflow.drafts import Draft, GroupDraft, Reading, StepDraft


class RuleNames(Struct, frozen=True):
    """What the first name of a path can be: a step id, an agent, or a shared section that somebody owns or writes."""

    steps: Mapping[str, StepDraft]
    agents: Mapping[str, Sequence[str]]
    sections: Collection[str]


def resolve_rules(reading: Reading, workflow: Draft, names: RuleNames) -> None:
    """Settle the first names of all rules. What is no rule at all is left to the models."""
    for group in reading.groups:
        _resolve_consistency(reading, group, names)
    rules = workflow.values.get("merge")
    for kind, paths in rules.items() if isinstance(rules, dict) else ():
        for path in paths if isinstance(paths, dict | list) else ():
            if str(path).split(".")[0] in names.steps:
                message = f"'{path}' is below a step's own id, where nobody else writes: nothing is ever merged there"
                reading.warn((*workflow.locate(("merge",)), kind), message, "name a shared section")


def _resolve_consistency(reading: Reading, group: GroupDraft, names: RuleNames) -> None:
    rules = group.barrier.values.get("consistency")
    if not isinstance(rules, list):
        return
    place = group.barrier.locate(("consistency",))
    group.barrier.values["consistency"] = [
        _rule(reading, rule, (*place, index), names) if isinstance(rule, dict) else rule
        for index, rule in enumerate(rules)
    ]


def _rule(reading: Reading, rule: dict[str, Any], place: Location, names: RuleNames) -> dict[str, Any]:
    resolved = dict(rule)
    for kind in ("equal", "subset"):
        if isinstance(rule.get(kind), list):
            resolved[kind] = [_path(reading, one, (*place, kind, at), names) for at, one in enumerate(rule[kind])]
    return resolved


def _path(reading: Reading, path: object, place: Location, names: RuleNames) -> object:
    if not isinstance(path, str):
        return path
    head, dot, rest = path.partition(".")
    if head in names.steps or head in names.sections:
        return path
    steps = names.agents.get(head, ())
    if len(steps) > 1:
        message = f"'{head}' is the agent of several steps: {', '.join(steps)}"
        reading.wrong(place, message, "name the step by its id")
    elif not steps:
        hint = did_you_mean(head, (*names.steps, *names.agents, *names.sections))
        reading.warn(place, f"nobody is known to write '{path}'; a rule about nothing is not judged", hint)
    return f"{steps[0]}{dot}{rest}" if steps else path
