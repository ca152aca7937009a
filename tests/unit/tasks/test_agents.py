"""The six agents by plain call, on both briefs that ship."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from orchestrator import InvalidValue, MissingInput
from tasks import analyst, architect, pm, ux_expert
from tasks.making.openapi import openapi_mistakes
from tests.unit.tasks.running import ROOT, SIX, Outcome, context_for, run_agents

NAMES = ("brief.md", "requirements.md", "ui_spec.md", "architecture.md", "report.md")


def test_the_analyst_finds_what_the_housing_brief_says(housing: Outcome) -> None:
    found = housing.context["analyst"]
    data = found["project_brief"]["structured_data"]
    assert [(user["name"], user["count"], user["device"]) for user in found["target_users"]] == [
        ("tenant", 2400, "phone"),
        ("caretaker", 12, "phone"),
        ("dispatcher", 3, "unknown"),
    ]
    assert [(one["entity"], one["verb"], one["actor"]) for one in housing.features][:5] == [
        ("fault", "report", "tenant"),
        ("fault", "track", "tenant"),
        ("fault", "assign", "dispatcher"),
        ("fault", "see", "caretaker"),
        ("repair", "complete", "caretaker"),
    ]
    assert data["goals"][1] == "Cut phone calls to the office by 60 %"
    assert data["out_of_scope"][2] == "A native app for Android or iOS"
    assert len(data["open_questions"]) == 2
    excluded = [name for one in data["constraints"] for name in one["excluded"]]
    assert excluded == ["Public cloud", "AWS", "Azure"]
    assert "budget and time" not in {one["category"] for one in found["technical_constraints"]}


def test_lines_point_into_the_brief(grain: Outcome) -> None:
    lines = (ROOT / "config/briefs/grain_settlement.md").read_text(encoding="utf-8").splitlines()
    for feature in grain.features:
        first_words = " ".join(feature["wish"].removeprefix("have the system ").split()[1:3])
        assert first_words.split()[-1][:5] in lines[feature["line"] - 1], feature


def test_every_feature_becomes_a_story_and_a_requirement(run: Outcome) -> None:
    written = run.context["pm"]
    ids = [feature["id"] for feature in run.features]
    assert [story["feature"] for story in written["user_stories"]] == ids
    assert [one["feature"] for one in written["functional_requirements"]] == ids
    for story in written["user_stories"]:
        assert len(story["acceptance_criteria"]) >= 2
        assert all(one["given"] and one["when"] and one["then"] for one in story["acceptance_criteria"])
        assert story["so_that"]
    assert written["requirements"]["functional"] == written["functional_requirements"]


def test_technical_constraints_become_non_functional_requirements(run: Outcome) -> None:
    constraints = {one["id"]: one["text"] for one in run.context["analyst"]["technical_constraints"]}
    sources = [one["source"] for one in run.context["pm"]["non_functional_requirements"]]
    assert set(constraints) <= set(sources)


def test_every_story_has_a_screen_and_every_screen_a_way_to_it(run: Outcome) -> None:
    spec = run.context["ux_expert"]["ui_spec"]
    shown = {story for screen in spec["screens"] for story in screen["stories"]}
    assert shown == {story["id"] for story in run.context["pm"]["user_stories"]}
    ids = {screen["id"] for screen in spec["screens"]}
    assert {target for screen in spec["screens"] for target in screen["leads_to"]} <= ids
    reached = {screen["id"] for screen in spec["screens"] if screen["kind"] == "list"}
    for _ in ids:
        reached |= {target for one in spec["screens"] if one["id"] in reached for target in one["leads_to"]}
    assert reached == ids
    for component in run.context["ux_expert"]["component_specifications"]:
        assert component["used_on"]
        assert set(component["used_on"]) <= ids


def test_both_designers_find_the_same_platform(housing: Outcome, grain: Outcome) -> None:
    for outcome, platform in ((housing, "mobile_first"), (grain, "desktop_primary")):
        assert outcome.context["ux_expert"]["ui_spec"]["platform"] == platform
        assert outcome.context["architect"]["system_architecture"]["platform"] == platform


def test_the_stack_follows_the_constraints(housing: Outcome, grain: Outcome) -> None:
    def stack(outcome: Outcome) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for choice in outcome.context["architect"]["technology_stack"]["choices"]:
            found.setdefault(choice["layer"], set()).add(choice["choice"])
        return found

    assert stack(housing)["database"] == {"PostgreSQL"}
    assert stack(housing)["identity"] == {"Keycloak"}
    assert stack(grain)["database"] == {"Microsoft SQL Server"}
    assert stack(grain)["integration"] == {"SAP"}
    assert stack(grain)["hosting"] == {"On-premises servers", "Windows Server"}


def test_the_api_is_valid_and_serves_every_requirement(run: Outcome) -> None:
    document = json.loads(run.text("openapi.json"))
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    operations = [
        operation for item in document["paths"].values() for method, operation in item.items() if method != "parameters"
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    served = {one for operation in operations for one in operation["x-requirements"]}
    assert served == {one["id"] for one in run.context["pm"]["functional_requirements"]}
    assert all("401" in operation["responses"] for operation in operations)


@pytest.mark.parametrize("name", NAMES)
def test_artifacts_speak_of_the_brief_and_leave_no_hole(run: Outcome, name: str) -> None:
    text = re.sub(r"```mermaid.*?```", "", run.text(name), flags=re.DOTALL)
    assert len(text.splitlines()) > 30
    assert "None" not in text.replace("None.", "").replace("None were", "")
    for hole in ("{{", "{%", "[]", "Undefined", "; ;", ": .", "()"):
        assert hole not in text
    entities = {feature["entity"] for feature in run.features}
    assert sum(entity in text.lower() for entity in entities) >= len(entities) - 1


def test_json_artifacts_are_what_the_agents_returned(run: Outcome) -> None:
    names = {"analyst": "brief", "pm": "requirements", "ux_expert": "ui_spec", "qa": "report"}
    for agent, name in names.items():
        assert json.loads(run.text(f"{name}.json")) == run.context[agent]


def test_the_same_brief_gives_the_same_output(housing: Outcome) -> None:
    again = run_agents((ROOT / "config/briefs/housing_repairs.md").read_text(encoding="utf-8"))
    assert again.context == housing.context
    assert again.artifacts == housing.artifacts


@pytest.mark.parametrize("brief", ["", "   \n", "\x00\x01binary", "---"])
def test_a_brief_without_text_fails_clearly(brief: str) -> None:
    with pytest.raises(InvalidValue, match="brief"):
        analyst(context_for(analyst, Outcome(), brief))


def test_a_run_without_a_brief_analyses_the_sample_and_says_so() -> None:
    ctx = context_for(analyst, Outcome())
    found = analyst(ctx)
    assert found["project_metadata"]["source"] == "sample"
    assert "**This run was given no brief." in ctx.artifacts["brief.md"].decode()


def test_missing_input_is_named() -> None:
    with pytest.raises(MissingInput, match=r"pm\.user_stories"):
        ux_expert(context_for(ux_expert, Outcome()))
    with pytest.raises(MissingInput, match=r"pm\.requirements"):
        architect(context_for(architect, Outcome()))


def test_input_of_another_shape_is_named() -> None:
    outcome = Outcome(context={"pm": {"user_stories": [{"id": "US-1"}]}})
    with pytest.raises(InvalidValue, match=r"'pm\.user_stories' has not the expected shape: 0\.feature"):
        ux_expert(context_for(ux_expert, outcome))
    with pytest.raises(InvalidValue, match=r"with\.platform"):
        ux_expert(context_for(ux_expert, Outcome(context={"pm": {"user_stories": []}}), platform="watch"))


def test_the_enhanced_step_needs_less_context(housing: Outcome) -> None:
    """A workflow may grant ux_expert no personas, and the architect `pm.requirements` instead of its two lists."""
    written = housing.context["pm"]
    narrow = Outcome(
        context={
            "pm": {"user_stories": written["user_stories"], "requirements": written["requirements"]},
            "analyst": {name: housing.context["analyst"][name] for name in ("target_users", "technical_constraints")},
        }
    )
    assert ux_expert(context_for(ux_expert, narrow))["ui_spec"]["platform"] == "mobile_first"
    assert architect(context_for(architect, narrow)) == housing.context["architect"]


def test_agents_declare_what_they_read_and_defaults_of_the_right_shape() -> None:
    for agent in (ux_expert, architect):
        assert agent.output is not None
        assert agent.defaults is not None
        assert set(agent.writes or ()) == set(agent.defaults) == set(agent.output.model_fields)
        agent.output.model_validate(agent.defaults)
    assert [agent.name for agent in SIX] == ["analyst", "pm", "ux_expert", "architect", "developer", "qa"]
    assert all(agent.reads for agent in SIX[1:])


def test_stories_without_users_still_reach_pm() -> None:
    outcome = run_agents("Hello", (analyst, pm))
    assert outcome.context["pm"]["user_stories"][0]["as_a"] == "user"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "openapi"),
        ({"openapi": "3.1.0", "info": {"title": "x", "version": "1"}}, "document"),
        ({"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": {"x": {}}}, "'x'"),
        (
            {
                "openapi": "3.1.0",
                "info": {"title": "x", "version": "1"},
                "paths": {"/a/{id}": {"get": {"operationId": "a", "responses": {}}}},
            },
            "id",
        ),
    ],
)
def test_mistakes_of_an_api_document_are_found(document: dict[str, Any], told: str) -> None:
    mistakes = openapi_mistakes(document)
    assert mistakes
    assert any(told in mistake for mistake in mistakes), mistakes
