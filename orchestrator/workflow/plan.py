"""The plan of a workflow: what may run side by side, what must wait, and how long it will take.

A plan is a pure function of a definition. `make_plan` is its only entry.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.workflow.models import Frozen, WorkflowSpec


class PlannedStep(Frozen):
    """What the analysis found out about one step. All times in seconds.

    `needs` are the blocking dependencies after transitive reduction; `consumers` the steps whose `needs` name
    this one. `group` is the declared group, `segment` the linear run it belongs to (None when it is alone).
    `rank` is the upward rank: the longest estimated way from the start of this step to the end of the run.
    """

    id: str
    duration_seconds: float
    earliest_start_seconds: float
    slack_seconds: float
    rank: float
    priority: int
    needs: tuple[str, ...]
    consumers: tuple[str, ...]
    group: str | None = None
    segment: str | None = None
    on_critical_path: bool = False


class PlannedGroup(Frozen):
    """Steps that may run side by side. `declared` groups have a barrier; found ones only share their place."""

    id: str
    steps: tuple[str, ...]
    declared: bool


class Plan(Frozen):
    """The analysed workflow. `order` is topological, `makespan_seconds` maps a worker count to an estimate.

    `segments` maps the id of a linear run (its first step) to its steps in order. `warnings` are sentences.
    """

    workflow: WorkflowSpec
    order: tuple[str, ...]
    steps: Mapping[str, PlannedStep]
    groups: tuple[PlannedGroup, ...]
    segments: Mapping[str, tuple[str, ...]]
    critical_path: tuple[str, ...]
    critical_path_seconds: float
    makespan_seconds: Mapping[int, float]
    limited_by: str
    warnings: tuple[str, ...] = ()


def make_plan(workflow: WorkflowSpec) -> Plan:
    """Analyse a definition. Raises InvalidWorkflow, naming the cycle as `pm -> ux_expert -> pm`."""
    raise NotImplementedError
