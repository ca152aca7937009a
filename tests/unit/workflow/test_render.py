"""The machine contract of a plan, its text and its Mermaid flowchart."""

from __future__ import annotations

import json
import re
from itertools import pairwise

from orchestrator.bench import shapes
from orchestrator.workflow.models import EstimatedDuration, GroupSpec, StepSpec, WorkflowSpec
from orchestrator.workflow.plan import Plan, make_plan
from orchestrator.workflow.render import to_json, to_mermaid, to_text


def awkward() -> Plan:
    """Steps with names that Mermaid would read as its own, and every kind of edge."""
    minute = EstimatedDuration(low=60, high=60)
    steps = (
        StepSpec(id="end", agent="end", estimated_duration=minute),
        StepSpec(id="o", agent="graph", needs=("end",), estimated_duration=minute),
        StepSpec(id="x-1", agent="x-1", needs=("end",), wants=("o",)),
        StepSpec(id="check", agent="check", needs=("o",), validates=("end", "o"), wants=("o", "end", "ghost")),
        StepSpec(id="late", agent="late", validates=("x-1",), estimated_duration=EstimatedDuration(low=0, high=0)),
    )
    return make_plan(WorkflowSpec(name="awkward", steps=steps, groups=(GroupSpec(id="subgraph", steps=("o", "x-1")),)))


def test_the_json_form_keeps_the_contract() -> None:
    document = to_json(make_plan(shapes.product()))
    assert json.loads(json.dumps(document)) == document
    assert document["critical_path"] == ["analyst", "pm", "ux_expert", "developer", "qa"]
    assert document["critical_path_seconds"] == 1860
    assert document["makespan_seconds"] == {"1": 2280, "2": 1860, "4": 1860, "8": 1860}
    assert document["steps"]["architect"].items() >= {
        "duration_seconds": 420, "slack_seconds": 0, "priority": 10, "group": "group_3_design_architecture",
    }.items()  # fmt: skip
    assert document["steps"]["pm"]["group"] is None
    assert document["groups"] == [
        {"id": "group_3_design_architecture", "steps": ["ux_expert", "architect"], "declared": True, "barrier": True}
    ]


def test_steps_of_a_found_group_name_it_in_json() -> None:
    document = to_json(make_plan(shapes.fan(2)))
    assert [document["steps"][name]["group"] for name in ("first", "m0", "m1")] == [None, "found_m0", "found_m0"]


def test_the_flowchart_of_awkward_names_and_every_kind_of_edge() -> None:
    assert (
        to_mermaid(awkward())
        == """flowchart LR
    subgraph g0["subgraph"]
        s1["o (graph)<br/>1m"]
        s2["x-1<br/>1m"]
    end
    s0["end<br/>1m"]
    s3["check<br/>1m"]
    s4["late<br/>0s"]
    s0 --> s1
    s1 -.-> s2
    s0 --> s2
    s1 --> s3
    s0 -. validates .-> s3
    s2 -. validates .-> s4
    classDef critical stroke:#c0392b,stroke-width:3px
    class s0,s1,s3 critical
    linkStyle 0,3 stroke:#c0392b,stroke-width:3px
"""
    )


def test_every_link_style_marks_an_edge_of_the_critical_path() -> None:
    plan = make_plan(shapes.ragged())
    names = list(plan.steps)
    lines = to_mermaid(plan).splitlines()
    edges = [found.groups() for line in lines if (found := re.fullmatch(r"    s(\d+) --> s(\d+)", line))]
    style = next(line for line in lines if line.startswith("    linkStyle"))
    marked = [edges[int(index)] for index in style.split()[1].split(",")]
    drawn = {(names[int(before)], names[int(after)]) for before, after in marked}
    assert drawn == set(pairwise(plan.critical_path))


def test_an_empty_plan_is_still_a_flowchart() -> None:
    plan = make_plan(WorkflowSpec(name="empty", steps=()))
    assert to_mermaid(plan).splitlines()[0] == "flowchart LR"
    assert "linkStyle" not in to_mermaid(plan)
    assert "nothing to run" in to_text(plan)


def test_the_text_shows_what_the_plan_says() -> None:
    text = to_text(make_plan(shapes.product()))
    assert "critical path, 31m: analyst → pm → ux_expert → developer → qa" in text
    assert "  group_3_design_architecture (barrier): ux_expert, architect" in text
    assert "  1 worker: 38m\n  2 workers: 31m\n" in text
    row = next(line for line in text.splitlines() if " developer " in line and line.startswith("*"))
    assert row.split() == ["*", "developer", "10m", "16m", "0s", "10"]
