"""The UX expert and the architect look at each other's work, by plain call."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from orchestrator import Agent, AgentContext
from tasks import architect, ux_expert
from tests.unit.tasks.running import Outcome

OTHER = {"ux_expert": "architect", "architect": "ux_expert"}


def checked(agent: Agent, context: dict[str, dict[str, Any]]) -> list[str]:
    ctx = AgentContext.for_test(
        context=context, step_id=f"{agent.name}-validates", validates=[OTHER[agent.name]], validates_as=agent.name
    )
    result = agent.check(ctx)
    assert result["valid"] is not bool(result["findings"])
    return list(result["findings"])


@pytest.mark.parametrize("agent", [ux_expert, architect], ids=lambda agent: agent.name)
def test_what_fits_is_valid_but_for_the_platform(run: Outcome, agent: Agent) -> None:
    context = copy.deepcopy(run.context)
    context["ux_expert"]["ui_spec"]["platform"] = context["architect"]["system_architecture"]["platform"]
    assert checked(agent, context) == []
    context["ux_expert"]["ui_spec"]["platform"] = "desktop_primary"
    context["architect"]["system_architecture"]["platform"] = "mobile_first"
    (finding,) = checked(agent, context)
    assert finding.startswith("the screens are desktop_primary (")
    assert "the architecture is mobile_first (" in finding


def test_the_ux_expert_misses_an_operation(housing: Outcome) -> None:
    context = copy.deepcopy(housing.context)
    paths = context["architect"]["api_specifications"]["paths"]
    for path in paths.values():
        for operation in path.values():
            if isinstance(operation, dict) and "FR-1" in operation.get("x-requirements", ()):
                operation["x-requirements"] = [one for one in operation["x-requirements"] if one != "FR-1"]
    (finding,) = checked(ux_expert, context)
    assert finding == "a screen shows US-1, but no operation serves FR-1"


def test_the_architect_misses_a_screen_and_finds_a_dead_end(housing: Outcome) -> None:
    context = copy.deepcopy(housing.context)
    screens = context["ux_expert"]["ui_spec"]["screens"]
    for screen in screens:
        screen["stories"] = [story for story in screen["stories"] if story != "US-1"]
    screens[0]["leads_to"] = [*screens[0]["leads_to"], "nowhere"]
    findings = checked(architect, context)
    assert findings[-1] == f"screen {screens[0]['id']} leads to nowhere, which there is not"
    assert findings[0].endswith("serves US-1, which is on no screen")


def test_outputs_may_lie_whole_under_one_key(housing: Outcome) -> None:
    context = {
        **housing.context,
        "ux_expert": {"ux_outputs": housing.context["ux_expert"]},
        "architect": {"architecture_outputs": housing.context["architect"]},
    }
    context["ux_expert"] = copy.deepcopy(context["ux_expert"])
    ui = context["ux_expert"]["ux_outputs"]["ui_spec"]
    architecture = housing.context["architect"]["system_architecture"]
    ui["platform"] = "mobile_first" if architecture["platform"] == "desktop_primary" else "desktop_primary"
    assert len(checked(architect, context)) == 1


def test_what_a_barrier_filled_in_is_not_held_against_anybody(housing: Outcome) -> None:
    context = {**housing.context, "architect": dict(architect.defaults or {})}
    findings = checked(ux_expert, context)
    assert findings
    assert all("no operation serves" in finding for finding in findings)
