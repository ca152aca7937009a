"""Workflows of typical and of nasty shapes, for measurements and for tests. The same arguments give the same graph."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from orchestrator.workflow.models import EstimatedDuration, GroupSpec, StepSpec, WorkflowSpec


def step(
    name: str, needs: Sequence[str] = (), *, minutes: float = 1.0, agent: str = "noop", group: str | None = None
) -> StepSpec:
    """A step with an estimate in minutes; nothing else is set."""
    estimate = EstimatedDuration(low=minutes * 60, high=minutes * 60)
    return StepSpec(id=name, agent=agent, needs=tuple(needs), estimated_duration=estimate, group=group)


def chain(length: int) -> WorkflowSpec:
    """One step after another: s0, s1, s2 …"""
    steps = [step(f"s{index}", [f"s{index - 1}"] if index else []) for index in range(length)]
    return WorkflowSpec(name="chain", steps=tuple(steps))


def fan(width: int, *, grouped: bool = False) -> WorkflowSpec:
    """`first`, then m0 … side by side, then `last`; `grouped` declares the middle as a group named `middle`."""
    names = tuple(f"m{index}" for index in range(width))
    group = "middle" if grouped else None
    middle = [step(name, ["first"], group=group) for name in names]
    groups = (GroupSpec(id="middle", steps=names),) if grouped else ()
    return WorkflowSpec(name="fan", steps=(step("first"), *middle, step("last", names)), groups=groups)


def diamonds(count: int) -> WorkflowSpec:
    """A ladder of diamonds: joint j0, sides l0 and r0, joint j1, sides l1 and r1 … The left side is the longer one."""
    steps = [step("j0")]
    for index in range(count):
        left, right = f"l{index}", f"r{index}"
        steps += [step(left, [f"j{index}"], minutes=3), step(right, [f"j{index}"], minutes=2)]
        steps.append(step(f"j{index + 1}", [left, right]))
    return WorkflowSpec(name="diamonds", steps=tuple(steps))


def product() -> WorkflowSpec:
    """The six agents from analyst to qa: 31 minutes on the critical path, design and architecture side by side."""
    group = "group_3_design_architecture"
    design = ("ux_expert", "architect")
    return WorkflowSpec(
        name="product",
        steps=(
            step("analyst", minutes=4, agent="analyst"),
            step("pm", ["analyst"], minutes=5, agent="pm"),
            *(step(name, ["pm"], minutes=7, agent=name, group=group) for name in design),
            step("developer", design, minutes=10, agent="developer"),
            step("qa", ["developer"], minutes=5, agent="qa"),
        ),
        groups=(GroupSpec(id=group, steps=design),),
    )


def ragged(seed: int = 7, *, count: int = 30) -> WorkflowSpec:
    """A random graph that is no nesting of chains and groups, with durations between 6 seconds and 10 minutes."""
    random = Random(seed)
    steps: list[StepSpec] = []
    for index in range(count):
        near = [earlier.id for earlier in steps[-8:]]
        needs = random.sample(near, min(len(near), random.choice([0, 1, 1, 2, 2, 3])))
        steps.append(step(f"s{index}", sorted(needs), minutes=round(random.choice([0.1, 0.5, 1, 2, 4, 10]), 1)))
    return WorkflowSpec(name="ragged", steps=tuple(steps))


def layered(count: int, edges: int, *, layers: int = 20, seed: int = 7) -> WorkflowSpec:
    """A random graph of about so many edges: each step needs one of the layer before, the rest come from anywhere
    earlier. Many of those are redundant, as in files that people write."""
    random = Random(seed)
    depth = [index * layers // count for index in range(count)]
    starts = [depth.index(layer) for layer in sorted(set(depth))]
    needs: list[set[int]] = [set() for _ in range(count)]
    for index in range(starts[1] if len(starts) > 1 else count, count):
        needs[index].add(random.randrange(starts[depth[index] - 1], starts[depth[index]]))
    later = [index for index in range(count) if depth[index]]
    missing = edges - sum(map(len, needs))
    while later and missing > 0:
        index = random.choice(later)
        before = random.randrange(starts[depth[index]])
        missing -= before not in needs[index]
        needs[index].add(before)
    return _numbered("layered", needs, random)


def deep(count: int, edges: int, *, seed: int = 7) -> WorkflowSpec:
    """One long chain with short cuts to the 50 steps before: almost every edge is redundant, and every path is long."""
    random = Random(seed)
    needs: list[set[int]] = [{index - 1} if index else set() for index in range(count)]
    for index in range(2, count):
        cuts = min(index - 1, 50, max(0, edges // count - 1))
        needs[index] |= set(random.sample(range(max(0, index - 51), index - 1), cuts))
    return _numbered("deep", needs, random)


def _numbered(name: str, needs: Sequence[set[int]], random: Random) -> WorkflowSpec:
    steps = [
        step(f"s{index}", [f"s{before}" for before in sorted(own)], minutes=random.randint(1, 40) / 4)
        for index, own in enumerate(needs)
    ]
    return WorkflowSpec(name=name, steps=tuple(steps))
