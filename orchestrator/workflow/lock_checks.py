"""Locks that a workflow declares and that could never be had: each would leave steps waiting for one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from orchestrator.workflow.drafts import GroupDraft, Reading, StepDraft
from orchestrator.workflow.references import is_parallel_capable

Locks = Mapping[str, object]


def check_locks(reading: Reading) -> None:
    """Note every declared lock that nobody could hold, or that is held against those who are waited for."""
    steps = {step.id: step for step in reading.steps if "needs" in step.values}
    groups = {group.id: group for group in reading.groups}
    for group in reading.groups:
        held = _locks(group)
        members = [steps[name] for name in group.values.get("steps", ()) if name in steps]
        if not held:
            continue
        if len(members) < 2 or not is_parallel_capable(group):
            why = "has one member" if len(members) == 1 else "runs one after another"
            message = f"the group '{group.id}' {why}: there is no barrier until which it could hold locks"
            reading.wrong(group.places["locks"], message, "declare them on its steps", of_key=True)
            continue
        for step in members:
            _check_member(reading, group, held, step)
        for name in _between(steps, members):
            its_group = groups.get(str(steps[name].values.get("group")))
            _check_between(reading, group, held, name, steps[name])
            if its_group is not None:
                _check_between(reading, group, held, name, its_group)


def _locks(draft: GroupDraft | StepDraft) -> Locks:
    declared = draft.values.get("locks")
    return declared if isinstance(declared, dict) else {}


def _check_member(reading: Reading, group: GroupDraft, held: Locks, step: StepDraft) -> None:
    """A member that waited for more than its group holds could wait for another group's, and that one's for it."""
    for section, mode in _locks(step).items():
        if held.get(section) not in ("write", mode):
            message = f"'{step.id}' locks '{section}' to {mode}, and its group '{group.id}' does not"
            reading.wrong(step.locate(("locks", section)), message, f"write `{section}: {mode}` for the group")


def _check_between(reading: Reading, group: GroupDraft, held: Locks, name: str, draft: GroupDraft | StepDraft) -> None:
    for section, mode in _locks(draft).items():
        if section in held and "write" in (mode, held[section]):
            message = f"'{name}' runs between members of group '{group.id}', which holds the lock of '{section}'"
            reading.wrong(draft.locate(("locks", section)), message, "remove one of the two locks")


def _between(steps: Mapping[str, StepDraft], members: Iterable[StepDraft]) -> Iterator[str]:
    """The steps outside that come after one member and before another."""
    before = {name: {*step.values["needs"], *step.values["validates"]} for name, step in steps.items()}
    after: dict[str, set[str]] = {}
    for name, needs in before.items():
        for need in needs:
            after.setdefault(need, set()).add(name)
    names = {step.id for step in members}
    later, earlier = _reached(names, after), _reached(names, before)
    yield from (name for name in steps if name in later & earlier - names)


def _reached(start: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [name for one in start for name in edges.get(one, ())]
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead.extend(edges.get(name, ()))
    return seen
