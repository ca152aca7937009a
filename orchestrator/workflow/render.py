"""A plan for other eyes: the JSON contract, plain text, and a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from orchestrator.units import format_duration
from orchestrator.workflow.plan import Plan, PlannedStep
from orchestrator.workflow.sequence import Sequence

_CRITICAL_STYLE = "stroke:#c0392b,stroke-width:3px"


def to_json(plan: Plan) -> dict[str, Any]:
    """The machine contract of `plan -o json`: JSON values only, times in seconds, worker counts as text.

    A step's `group` is the one that the definition declares, else one that was found.
    """
    found = {step: group.id for group in plan.groups if not group.declared for step in group.steps}
    return {
        "workflow": plan.workflow.name,
        "critical_path": list(plan.critical_path),
        "critical_path_seconds": _rounded(plan.critical_path_seconds),
        "steps": {
            name: {
                "duration_seconds": _rounded(step.duration_seconds),
                "estimated_seconds": _rounded(step.estimated_seconds),
                "learned_seconds": None if step.learned_seconds is None else _rounded(step.learned_seconds),
                "slack_seconds": _rounded(step.slack_seconds),
                "priority": step.priority,
                "group": step.group or found.get(name),
                "earliest_start_seconds": _rounded(step.earliest_start_seconds),
                "rank_seconds": _rounded(step.rank),
                "needs": list(step.needs),
                "needs_groups": list(step.needs_groups),
                "segment": step.segment,
            }
            for name, step in plan.steps.items()
        },
        "groups": [
            {"id": group.id, "steps": list(group.steps), "declared": group.declared, "barrier": group.barrier}
            for group in plan.groups
        ],
        "makespan_seconds": {str(workers): _rounded(seconds) for workers, seconds in plan.makespan_seconds.items()},
        "limited_by": plan.limited_by,
        "segments": {name: list(steps) for name, steps in plan.segments.items()},
        "order": list(plan.order),
        "warnings": list(plan.warnings),
    }


def sequence_to_json(plan: Plan, sequence: Sequence) -> dict[str, Any]:
    """The machine contract of `plan --sequential -o json`: the order, and how long it takes beside the parallel form
    with as many workers as help."""
    return {
        "workflow": plan.workflow.name,
        "order": list(sequence.order),
        "sequential_seconds": _rounded(sequence.seconds(plan)),
        "parallel_seconds": _rounded(min(plan.makespan_seconds.values())),
        "starts": dict(zip(sequence.order, map(_rounded, sequence.starts(plan)), strict=True)),
    }


def sequence_to_text(plan: Plan, sequence: Sequence) -> str:
    """The same for people."""
    width = max(map(len, sequence.order))
    lines = [f"{plan.workflow.name}: {len(plan.steps)} steps, one after another", ""]
    for name, start in zip(sequence.order, sequence.starts(plan), strict=True):
        takes = _shown(plan.steps[name].duration_seconds)
        lines.append(f"{name.ljust(width)}  starts {_shown(start)}, takes {takes}")
    alone, together = sequence.seconds(plan), min(plan.makespan_seconds.values())
    lines += ["", f"takes {_shown(alone)}; side by side {_shown(together)}"]
    return "\n".join(lines)


def to_text(plan: Plan) -> str:
    """The plan as aligned plain text, steps in topological order; `*` marks steps without slack."""
    known = any(step.learned_seconds is not None for step in plan.steps.values())
    header = ("", "step", *(("estimate", "learned") if known else ("takes",)), "starts", "slack", "priority", "group")
    rows = [header, *(_row(plan.steps[name], known) for name in plan.order)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [f"{plan.workflow.name}: {len(plan.steps)} steps", ""]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", "groups:"] if plan.groups else []
    for group in plan.groups:
        kind = "barrier" if group.barrier else "declared" if group.declared else "found"
        lines.append(f"  {group.id} ({kind}): {', '.join(group.steps)}")
    lines += ["", f"critical path, {_shown(plan.critical_path_seconds)}: {' → '.join(plan.critical_path)}", "makespan:"]
    for workers, seconds in plan.makespan_seconds.items():
        lines.append(f"  {workers} worker{'s' if workers > 1 else ''}: {_shown(seconds)}")
    lines.append(f"limited by: {plan.limited_by}")
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines) + "\n"


def to_mermaid(plan: Plan) -> str:
    """A Mermaid flowchart: declared groups as subgraphs, the critical path in red, `wants` dotted, `validates` dotted
    with a label. Nodes are numbered, because a step may be named `end` or begin with the `o` of an arrow head; ids hold
    nothing that ends a quoted label."""
    nodes = {name: f"s{index}" for index, name in enumerate(plan.steps)}
    edges = list(_edges(plan))
    lines = ["flowchart LR", *_boxes(plan, nodes)]
    lines += [f"    {nodes[before]} {arrow} {nodes[after]}" for before, after, arrow in edges]
    critical = set(pairwise(plan.critical_path))
    marked = [str(index) for index, (before, after, _) in enumerate(edges) if (before, after) in critical]
    lines.append(f"    classDef critical {_CRITICAL_STYLE}")
    if plan.critical_path:
        lines.append(f"    class {','.join(nodes[name] for name in plan.critical_path)} critical")
    if marked:
        lines.append(f"    linkStyle {','.join(marked)} {_CRITICAL_STYLE}")
    return "\n".join(lines) + "\n"


def _edges(plan: Plan) -> Iterator[tuple[str, str, str]]:
    for step in plan.workflow.steps:
        arrows = dict.fromkeys((name for name in step.wants if name in plan.steps), "-.->")
        arrows |= dict.fromkeys(step.validates, "-. validates .->")
        arrows |= dict.fromkeys((name for name in plan.steps[step.id].needs if name in step.needs), "-->")
        yield from ((before, step.id, arrow) for before, arrow in arrows.items())


def _boxes(plan: Plan, nodes: dict[str, str]) -> Iterator[str]:
    declared = [group for group in plan.groups if group.declared]
    for index, group in enumerate(declared):
        yield f'    subgraph g{index}["{group.id}"]'
        for name in group.steps:
            yield f"        {_node(plan, name, nodes)}"
        yield "    end"
    grouped = {name for group in declared for name in group.steps}
    for name in plan.steps:
        if name not in grouped:
            yield f"    {_node(plan, name, nodes)}"


def _node(plan: Plan, name: str, nodes: dict[str, str]) -> str:
    step, agent = plan.steps[name], plan.workflow.step(name).agent
    title = name if agent == name else f"{name} ({agent})"
    return f'{nodes[name]}["{title}<br/>{_shown(step.duration_seconds)}"]'


def _row(step: PlannedStep, known: bool) -> tuple[str, ...]:
    learned = "" if step.learned_seconds is None else _shown(step.learned_seconds)
    return (
        "*" if step.on_critical_path else "",
        step.id,
        _shown(step.estimated_seconds),
        *((learned,) if known else ()),
        _shown(step.earliest_start_seconds),
        _shown(step.slack_seconds),
        str(step.priority),
        step.group or "",
    )


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


def _shown(seconds: float) -> str:
    return format_duration(round(seconds, 3))
