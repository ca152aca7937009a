"""Names become step ids: dependencies, groups, and the data dependencies that follow from what steps read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from orchestrator.documents import Location
from orchestrator.problems import did_you_mean
from orchestrator.units import parse_duration_range
from orchestrator.workflow.access import resolve_access
from orchestrator.workflow.drafts import Draft, GroupDraft, Reading, Reference, StepDraft
from orchestrator.workflow.models import TriggerRule
from orchestrator.workflow.rule_paths import RuleNames, resolve_rules

_EVENTS = ("completion", "success", "failure")


class Names:
    """What a name in a workflow can mean: a step id, an agent that occurs once, or a group."""

    def __init__(self, reading: Reading) -> None:
        self.steps: dict[str, StepDraft] = {}
        self.agents: dict[str, list[str]] = {}
        self.groups: dict[str, GroupDraft] = {}
        for step in reading.steps:
            if step.id and step.id in self.steps:
                _duplicate(reading, step, self.steps[step.id], "step")
            elif step.id:
                self.steps[step.id] = step
                self.agents.setdefault(step.agent, []).append(step.id)
        for group in reading.groups:
            if group.id in self.groups:
                _duplicate(reading, group, self.groups[group.id], "group")
            elif group.id:
                self.groups[group.id] = group

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys((*self.steps, *self.agents, *self.groups))

    def lookup(self, name: str) -> tuple[str, ...]:
        """The step ids that a name stands for: one for a step, all for a group; several agents are for the caller."""
        if name in self.steps:
            return (name,)
        if name in self.agents:
            return tuple(self.agents[name])
        if name in self.groups:
            return tuple(member.text for member in self.groups[name].members)
        return ()

    def is_ambiguous(self, name: str) -> bool:
        """Whether the name is an agent's that several steps have."""
        return name not in self.steps and len(self.agents.get(name, ())) > 1


def resolve(reading: Reading, workflow: Draft, owners: Mapping[str, str]) -> None:
    """Fill in the references of every draft; `owners` maps a shared section of the context to its agent."""
    names = Names(reading)
    _settle_groups(reading, names)
    for step in reading.steps:
        _inherit(reading, step, names)
    for step in reading.steps:
        _resolve_step(reading, step, names)
    _order_sequential(reading, names)
    _infer_data(reading, workflow, names, owners)
    resolve_access(reading, names.steps, names.agents)
    for group in reading.groups:
        _warn_idle_barrier(reading, group)
        group.barrier.inherit(reading.barrier_defaults)
        _resolve_validators(reading, group, names)
    _warn_idle_defaults(reading, names)
    resolve_rules(reading, workflow, RuleNames(names.steps, names.agents, {*_writers(reading.steps), *owners}))


def _duplicate(reading: Reading, draft: Draft, first: Draft, what: str) -> None:
    line, column = reading.document.position(first.places.get("id", first.location))
    where = f", first in line {line}, column {column}" if line is not None else ""
    name = draft.values["id"]
    hint = (
        "give one of them another id" if what == "group" else f"write {{id: {name}_2, agent: {name}}} for one of them"
    )
    reading.wrong(draft.places.get("id", draft.location), f"the {what} id '{name}' is there twice{where}", hint)


def _settle_groups(reading: Reading, names: Names) -> None:
    """Collect members that name their group, and check that each step is in one group only."""
    for step in reading.steps:
        if step.group is not None:
            _join(reading, step, step.group, names)
    for group in reading.groups:
        seen: set[str] = set()
        for member in group.members:
            other = names.steps[member.text].group if member.text in names.steps else None
            if member.text in seen:
                reading.wrong(member.location, f"'{member.text}' is a member of this group twice", "remove one of them")
            elif other is not None and other.text != group.id:
                message = f"'{member.text}' is a member of two groups, {other.text} and {group.id}"
                reading.wrong(member.location, message, "a step has one group")
            elif member.text in names.steps:
                names.steps[member.text].group = Reference(group.id, member.location)
            seen.add(member.text)
        _check_group_name(reading, group, names)


def _join(reading: Reading, step: StepDraft, wanted: Reference, names: Names) -> None:
    if wanted.text not in names.groups:
        draft = GroupDraft(wanted.location, {"id": wanted.text}, {"id": wanted.location})
        draft.barrier, draft.shared = Draft(wanted.location), StepDraft(wanted.location)
        reading.groups.append(draft)
        names.groups[wanted.text] = draft
    group = names.groups[wanted.text]
    if step.id not in {member.text for member in group.members}:
        group.members.append(Reference(step.id, wanted.location))


def _check_group_name(reading: Reading, group: GroupDraft, names: Names) -> None:
    if not group.members and not group.closed:
        reading.wrong((*group.location, "agents"), "a group needs at least one agent", 'write ["pm"]')
    same = names.steps.get(group.id)
    if same is not None and [member.text for member in group.members] != [group.id]:
        message = f"'{group.id}' is the id of a group and of a step"
        reading.wrong(group.places.get("id", group.location), message, "give one of them another id")


def _inherit(reading: Reading, step: StepDraft, names: Names) -> None:
    """From the group first, then from the workflow's defaults."""
    group = names.groups.get(step.group.text) if step.group is not None else None
    if group is not None:
        step.inherit(group.shared)
        step.needs = [*group.shared.needs, *step.needs]
        _inherit_estimate(step, group)
    step.inherit(reading.step_defaults)


def _inherit_estimate(step: StepDraft, group: GroupDraft) -> None:
    """Members that run side by side each take as long as their group; one after another, they share it."""
    estimate = group.values.get("estimated_duration")
    if estimate is None or "estimated_duration" in step.values:
        return
    if not is_parallel_capable(group) and len(group.members) > 1:
        try:
            low, high = parse_duration_range(estimate)
        except ValueError:
            return
        estimate = {"low": low / len(group.members), "high": high / len(group.members)}
    step.values["estimated_duration"] = estimate
    step.places["estimated_duration"] = group.places["estimated_duration"]


def is_parallel_capable(group: GroupDraft) -> bool:
    """The group's own word, before it has been validated."""
    return group.values.get("parallel_capable", True) not in (False, "no", "off", "No", "Off", "NO", "OFF")


def _resolve_step(reading: Reading, step: StepDraft, names: Names) -> None:
    needs: dict[str, None] = {}
    events: set[str] = set()
    for reference in step.needs:
        name, _, event = reference.text.partition(".")
        if event and event not in _EVENTS:
            hint = f"write '{name}.completion', or list a path under `inputs`"
            reading.wrong(reference.location, f"'{reference.text}' is no dependency", hint)
            continue
        events.add("failure" if event == "failure" else "success")
        needs.update(dict.fromkeys(_targets(reading, step, reference, name, names)))
    if "failure" in events:
        _require_failure(reading, step, events)
    step.values["needs"] = list(needs)
    for field, references in (("wants", step.wants), ("validates", step.validates)):
        found: dict[str, None] = {}
        for reference in references:
            name = reference.text.removesuffix(".completion")
            found.update(dict.fromkeys(_targets(reading, step, reference, name, names)))
        step.values[field] = list(found)
    if step.group is not None:
        step.values["group"], step.places["group"] = step.group.text, step.group.location


def _require_failure(reading: Reading, step: StepDraft, events: set[str]) -> None:
    rule = step.values.get("trigger_rule", TriggerRule.ALL_FAILED)
    if len(events) > 1 and "trigger_rule" not in step.values:
        hint = "give a trigger_rule, such as one_failed, and plain names"
        reading.wrong(step.needs[0].location, "`.failure` beside other dependencies leaves open when to start", hint)
    step.values["trigger_rule"] = rule
    step.places.setdefault("trigger_rule", step.location)


def _targets(reading: Reading, step: StepDraft, reference: Reference, name: str, names: Names) -> tuple[str, ...]:
    """The step ids that a dependency names; mistakes are noted and leave it empty."""
    found = names.lookup(name)
    if not found:
        reading.wrong(reference.location, f"unknown step or agent '{name}'", did_you_mean(name, names))
        return ()
    if names.is_ambiguous(name):
        message = f"'{name}' is the agent of several steps: {', '.join(found)}"
        reading.wrong(reference.location, message, "name the step by its id")
        return ()
    if step.id in found:
        what = "itself" if found == (step.id,) else f"its own group {name}"
        reading.wrong(reference.location, f"'{step.id}' depends on {what}", "remove it")
        return ()
    return found


def _order_sequential(reading: Reading, names: Names) -> None:
    """Members of a group that is not `parallel_capable` run one after another, in the order of the list."""
    for group in reading.groups:
        members = [member.text for member in group.members if member.text in names.steps]
        group.values["steps"], group.places["steps"] = members, (*group.location, "agents")
        if is_parallel_capable(group):
            continue
        for before, after in pairwise(members):
            _add_need(names.steps[after], before)


def _add_need(step: StepDraft, needed: str) -> None:
    if needed not in step.values["needs"]:
        step.values["needs"].append(needed)


def _infer_data(reading: Reading, workflow: Draft, names: Names, owners: Mapping[str, str]) -> None:
    """What a step reads from another makes it wait for that one; what nobody produces becomes an input of the run."""
    declared = workflow.values.get("inputs")
    given: dict[str, object] = dict(declared) if isinstance(declared, dict) else {}
    writers = _writers(reading.steps)
    missing: dict[str, Location] = {}
    for step in reading.steps:
        inputs, reads = (_Reads(step, names, given, writers, owners) for _ in range(2))
        step.values["inputs"] = inputs.resolve(reading, step.inputs)
        if step.items is not None:
            step.values["for_each"] = (inputs.resolve(reading, [step.items]) or [step.items.text])[0]
            step.values["inputs"] = list(dict.fromkeys((*step.values["inputs"], step.values["for_each"])))
        step.places["inputs"] = _place(step.inputs, (*step.location, "inputs"))
        if step.reads is not None and "context_access" in step.values:
            # A word beside the list makes the list a mere limit: whoever reads everything need not wait for it.
            step.values.setdefault("context", {})["read"] = list(dict.fromkeys(path.text for path in step.reads))
        elif step.reads is not None:
            step.values.setdefault("context", {})["read"] = reads.resolve(reading, step.reads)
        if step.writes is not None:
            step.values.setdefault("context", {})["write"] = list(dict.fromkeys(path.text for path in step.writes))
        for path, location in (*inputs.missing.items(), *reads.missing.items()):
            missing.setdefault(path, location)
    for path, location in missing.items():
        hint = did_you_mean(path.split(".")[0], names)
        hint = f"{hint} otherwise give it" if hint.startswith("did") else "give it"
        reading.warn(location, f"nobody produces '{path}'", f"{hint} with --input {path}=@file")
    if missing and (declared is None or isinstance(declared, dict)):
        workflow.values["inputs"] = {**given, **dict.fromkeys(missing)}
        workflow.places.setdefault("inputs", next(iter(missing.values())))


def _place(references: list[Reference], otherwise: Location) -> Location:
    location = references[0].location if references else otherwise
    return location[:-1] if location and isinstance(location[-1], int) else location


def _writers(steps: Iterable[StepDraft]) -> dict[str, list[str]]:
    """Shared sections that steps declare to write, by their first name."""
    writers: dict[str, list[str]] = {}
    for step in steps:
        for path in step.writes or ():
            writers.setdefault(path.text.split(".")[0], []).append(step.id)
    return writers


class _Reads:
    """The paths that one step reads, resolved against everything that produces something."""

    def __init__(
        self,
        step: StepDraft,
        names: Names,
        given: Mapping[str, object],
        writers: Mapping[str, list[str]],
        owners: Mapping[str, str],
    ) -> None:
        self.step, self.names, self.given, self.writers, self.owners = step, names, given, writers, owners
        self.missing: dict[str, Location] = {}

    def resolve(self, reading: Reading, references: list[Reference]) -> list[str]:
        """The paths with agents replaced by step ids; the step comes to wait for whoever produces them."""
        paths: dict[str, None] = {}
        for reference in references:
            head, dot, rest = reference.text.partition(".")
            if self._is_given(reference.text) or head == self.step.id:
                paths[reference.text] = None
                continue
            if self.names.is_ambiguous(head):
                ids = ", ".join(self.names.agents[head])
                message = f"'{head}' is the agent of several steps: {ids}"
                reading.wrong(reference.location, message, "name the step by its id")
                continue
            producers, path = self._producers(head, dot + rest)
            if producers is None:
                self.missing.setdefault(reference.text, reference.location)
            paths[path] = None
            self._wait_for(producers or ())
        return list(paths)

    def _producers(self, head: str, rest: str) -> tuple[tuple[str, ...] | None, str]:
        if head in self.names.steps:
            return (head,), head + rest
        if head in self.names.agents:
            (step_id,) = self.names.agents[head]
            return (step_id,), step_id + rest
        if head in self.writers:
            return tuple(self.writers[head]), head + rest
        owner = self.owners.get(head)
        owning = self.names.agents.get(owner, []) if owner is not None else []
        if not owning:
            return None, head + rest
        return (tuple(owning) if len(owning) == 1 else ()), head + rest

    def _is_given(self, path: str) -> bool:
        parts = path.split(".")
        return any(".".join(parts[:end]) in self.given for end in range(1, len(parts) + 1))

    def _wait_for(self, producers: Iterable[str]) -> None:
        spared = {self.step.id, *self.step.values["wants"], *self.step.values["validates"]}
        for producer in producers:
            if producer not in spared:
                _add_need(self.step, producer)


def _joins(group: GroupDraft) -> bool:
    """Whether the group has a barrier: it joins members that run side by side."""
    return len(group.members) > 1 and is_parallel_capable(group)


def _warn_idle_barrier(reading: Reading, group: GroupDraft) -> None:
    """Where nothing is joined, the keys of a barrier would do nothing."""
    if group.barrier.values and group.members and not _joins(group):
        place = next(iter(group.barrier.places.values()))
        why = "has one member" if len(group.members) == 1 else "runs one after another"
        reading.warn(place, f"the group '{group.id}' {why}: its barrier does nothing", "remove its settings")


def _warn_idle_defaults(reading: Reading, names: Names) -> None:
    """Defaults are what a barrier fills in, or a mapped step for its items."""
    joined = {group.id for group in reading.groups if _joins(group)}
    for step in reading.steps:
        inside = step.group is not None and step.group.text in joined
        if "defaults" in step.values and "for_each" not in step.values and not inside:
            message = f"no barrier joins '{step.id}', so nothing fills in its defaults"
            reading.warn(step.places["defaults"], message, "put it into a parallel group, or remove them")


def _resolve_validators(reading: Reading, group: GroupDraft, names: Names) -> None:
    """Validation agents of a group are its members, by step id or by agent."""
    settings = group.barrier.values.get("cross_validation")
    if not isinstance(settings, dict) or not isinstance(settings.get("validation_agents"), list):
        return
    members = [member.text for member in group.members if member.text in names.steps]
    agents = {member: names.steps[member].agent for member in members}
    found: dict[str, None] = {}
    place = group.barrier.locate(("cross_validation", "validation_agents"))
    for index, name in enumerate(settings["validation_agents"]):
        chosen = [name] if name in members else [member for member in members if agents[member] == name]
        if not chosen:
            hint = did_you_mean(str(name), (*members, *agents.values()))
            reading.wrong((*place, index), f"'{name}' is no member of this group", hint)
        found.update(dict.fromkeys(chosen))
    settings["validation_agents"] = list(found)
