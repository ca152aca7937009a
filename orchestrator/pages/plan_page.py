"""The page of a plan: graph, timeline at a number of workers, critical path, slack and a table, in one HTML file that
fetches nothing. Its Content-Security-Policy allows the scripts that are in it and no others."""

from __future__ import annotations

from typing import Any

from orchestrator.pages.bundle import DAGRE, STATIC, bundle, embedded_json, source_hash
from orchestrator.units import format_duration
from orchestrator.workflow.plan import Plan
from orchestrator.workflow.schedule import schedule


def plan_document(plan: Plan) -> dict[str, Any]:
    """What the scripts read. Steps, edges and groups have the form of a run's, with `planned` times only; `schedules`
    maps worker counts (as text) to the start of each step in seconds."""
    return {
        "workflow": plan.workflow.name,
        "steps": [_step(plan, name, place) for place, name in enumerate(plan.steps)],
        "edges": [{"source": source, "target": target, "kind": kind} for source, target, kind in _edges(plan)],
        "groups": [
            {"id": group.id, "node": f"@{group.id}" if group.barrier else None, "members": list(group.steps)}
            for group in plan.groups
            if group.declared
        ],
        "critical_path": list(plan.critical_path),
        "critical_path_seconds": plan.critical_path_seconds,
        "makespan_seconds": {str(workers): seconds for workers, seconds in plan.makespan_seconds.items()},
        "schedules": {str(workers): _rounded(schedule(plan, workers)) for workers in plan.makespan_seconds},
    }


def plan_page(plan: Plan) -> str:
    """The whole page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = lambda seconds: format_duration(round(seconds, 3))
    style = (STATIC / "chart.css").read_text() + (STATIC / "plan.css").read_text()
    layout, script = (STATIC / DAGRE).read_text(), bundle("plan")
    return environment.get_template("plan.html").render(
        plan=plan,
        style=style,
        layout=layout,
        script=script,
        document=embedded_json(plan_document(plan)),
        policy="default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src {source_hash(style)}; script-src {source_hash(layout)} {source_hash(script)}",
    )


def _step(plan: Plan, name: str, place: int) -> dict[str, Any]:
    step = plan.steps[name]
    return {
        "id": name,
        "agent": plan.workflow.step(name).agent,
        "place": place,
        "planned": {
            "start_seconds": step.earliest_start_seconds,
            "finish_seconds": step.earliest_start_seconds + step.duration_seconds,
            "duration_seconds": step.duration_seconds,
            "slack_seconds": step.slack_seconds,
            "on_critical_path": step.on_critical_path,
        },
    }


def _edges(plan: Plan) -> list[tuple[str, str, str]]:
    """Who waits for whom, through barriers where they join; and who reads or checks without waiting."""
    barriers = {group.id: group for group in plan.groups if group.barrier}
    found = [(member, f"@{group.id}", "member") for group in barriers.values() for member in group.steps]
    for step in plan.workflow.steps:
        planned = plan.steps[step.id]
        joined = {member for group in planned.needs_groups for member in barriers[group].steps}
        found += [(f"@{group}", step.id, "barrier") for group in planned.needs_groups]
        found += [(need, step.id, "needs") for need in planned.needs if need not in joined]
        found += [(other, step.id, "wants") for other in step.wants if other in plan.steps]
        found += [(other, step.id, "validates") for other in step.validates if other not in planned.needs]
    return found


def _rounded(starts: dict[str, float]) -> dict[str, float]:
    return {name: round(seconds, 3) for name, seconds in starts.items()}
