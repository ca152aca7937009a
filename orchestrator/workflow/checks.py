"""What is wrong with a workflow although each of its keys is right: cycles, owners, and what can never be scheduled."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.documents import Location
from orchestrator.problems import did_you_mean
from orchestrator.settings import EngineSettings
from orchestrator.workflow.drafts import GroupDraft, Reading, StepDraft
from orchestrator.workflow.graph import find_cycles, topological_order
from orchestrator.workflow.lock_checks import check_locks

MAX_STEPS = 100_000
MAX_GROUP_STEPS = 10_000


def check_limits(reading: Reading) -> bool:
    """Whether there is something to check, and not more than can be."""
    if len(reading.steps) > MAX_STEPS:
        message = f"a workflow has at most {MAX_STEPS:,} steps, this one has {len(reading.steps):,}"
        reading.wrong((), message, "split it")
        return False
    for group in reading.groups:
        if len(group.members) > MAX_GROUP_STEPS:
            message = f"a group has at most {MAX_GROUP_STEPS:,} agents, this one has {len(group.members):,}"
            reading.wrong((*group.location, "agents"), message, "split it")
    if not reading.steps and not reading.groups and not reading.problems:
        reading.wrong((), "a workflow needs at least one step", "begin with `steps:` or `execution_groups:`")
    return True


def check_workflow(reading: Reading, engine: EngineSettings) -> None:
    """Note everything that makes the workflow as a whole unusable."""
    _check_cycles(reading)
    check_locks(reading)
    for step in reading.steps:
        _check_resources(reading, step, engine)
        _check_owners(reading, step, engine.owners, {other.id for other in reading.steps} if step.writes else set())
        _check_namespace(reading, step, engine.owners)
    for group in reading.groups:
        _check_min_success(reading, group)


def _check_cycles(reading: Reading) -> None:
    """Every knot of steps that wait for each other. Context dependencies never block and are left out."""
    steps = {step.id: step for step in reading.steps if step.id and "needs" in step.values}
    needs = {
        name: tuple(need for need in (*step.values["needs"], *step.values["validates"]) if need in steps)
        for name, step in steps.items()
    }
    if topological_order(needs) is not None:
        return
    edges = ((before, after) for after, befores in needs.items() for before in befores)
    for cycle in find_cycles(steps, edges):
        shown = " → ".join(cycle)
        reading.wrong(_place_of_need(steps[cycle[0]], cycle[-2]), f"the steps wait for each other: {shown}", "cut it")


def _place_of_need(step: StepDraft, needed: str) -> Location:
    for reference in [*step.needs, *step.validates, *step.inputs, *(step.reads or [])]:
        if reference.text.split(".")[0] == needed:
            return reference.location
    return step.location


def _check_resources(reading: Reading, step: StepDraft, engine: EngineSettings) -> None:
    resources = step.values.get("resources")
    if not isinstance(resources, dict):
        return
    for name, words, capacity in (
        ("cpu", engine.words.cpu, engine.cpu_capacity),
        ("memory", engine.words.memory, engine.memory_capacity),
    ):
        amount = resources.get(name)
        if isinstance(amount, str) and amount.replace("_", "a").isalpha() and amount not in words:
            place = step.locate(("resources", name))
            reading.wrong(place, f"'{amount}' is no amount of {name}", did_you_mean(amount, words))
        _check_fits(
            reading, step, ("resources", name), words.get(amount, 0) if isinstance(amount, str) else amount, capacity
        )
    pools = resources.get("pools")
    for name, amount in pools.items() if isinstance(pools, dict) else ():
        if name not in engine.pools:
            place = step.locate(("resources", "pools", name))
            hint = did_you_mean(name, engine.pools) or "name it in engine.yaml"
            reading.wrong(place, f"unknown pool '{name}'", hint, of_key=True)
        else:
            _check_fits(reading, step, ("resources", "pools", name), amount, engine.pools[name])


def _check_fits(reading: Reading, step: StepDraft, location: tuple[str, ...], amount: object, capacity: float) -> None:
    if isinstance(amount, int | float) and not isinstance(amount, bool) and amount > capacity:
        message = f"{amount:g} {location[-1]} can never be scheduled"
        reading.wrong(step.locate(location), message, f"the pool has {capacity:g}")


def _check_owners(reading: Reading, step: StepDraft, owners: Mapping[str, str], ids: set[str]) -> None:
    """A step writes under its own id, into sections of its agent, and into those that nobody owns."""
    for path in step.writes or ():
        head = path.text.split(".")[0]
        owner = owners.get(head)
        if head in ids and head != step.id:
            message = f"'{path.text}' has two owners: it is the namespace of step '{head}', not of '{step.id}'"
            reading.wrong(path.location, message, f"write under '{step.id}'")
        elif owner is not None and owner != step.agent:
            message = f"'{path.text}' has two owners: the ownership rules give '{head}' to {owner}, not to {step.agent}"
            reading.wrong(path.location, message, "write another section, or change ownership_rules")


def _check_namespace(reading: Reading, step: StepDraft, owners: Mapping[str, str]) -> None:
    """A step's namespace is never merged with what others write, a shared section is: one name cannot be both."""
    owner = owners.get(step.id)
    if owner is not None:
        place = step.places.get("id", step.places.get("agent", step.location))
        message = f"'{step.id}' has two owners: the ownership rules give the shared section of that name to {owner}"
        reading.wrong(place, message, f"give the step another id, such as {step.id}_step")


def _check_min_success(reading: Reading, group: GroupDraft) -> None:
    wanted = group.barrier.values.get("min_success")
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted > len(group.members) > 0:
        message = f"{wanted} successes can never be reached by {len(group.members)} members"
        reading.wrong(group.barrier.locate(("min_success",)), message, f"write {len(group.members)} or less")
