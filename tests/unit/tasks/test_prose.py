"""A person's text in the place of an agent's output."""

from __future__ import annotations

import json

import pytest

from orchestrator import AgentContext, InvalidValue
from tasks import architect, ux_expert
from tests.unit.tasks.running import TEMPLATES, Outcome

STORIES = "As a tenant I want to report a fault with a photo.\nAs a caretaker I want to see today's work list."


def given(**inputs: object) -> AgentContext:
    names = {name.replace("__", "."): value for name, value in inputs.items()}
    return AgentContext.for_test(inputs=names, step_id="step", templates=[TEMPLATES])


@pytest.mark.parametrize("stories", [STORIES, STORIES.splitlines()])
def test_stories_in_a_persons_words_get_screens(stories: object) -> None:
    ctx = given(pm__user_stories=stories, analyst__target_users="Tenants with phones, caretakers on the move")
    output = ux_expert(ctx)
    assert len(output["ui_spec"]["screens"]) >= 2
    assert "fault" in json.dumps(output["ui_spec"]).lower()


def test_requirements_in_a_persons_words_get_an_api() -> None:
    ctx = given(pm__requirements=STORIES, analyst__technical_constraints="PostgreSQL is the database.")
    output = architect(ctx)
    assert output["api_specifications"]["paths"]
    assert "PostgreSQL" in json.dumps(output["technology_stack"])


def test_json_in_a_text_is_the_value(housing: Outcome) -> None:
    stories = housing.context["pm"]["user_stories"]
    users = housing.context["analyst"]["target_users"]
    from_text = ux_expert(given(pm__user_stories=json.dumps(stories), analyst__target_users=json.dumps(users)))
    from_value = ux_expert(given(pm__user_stories=stories, analyst__target_users=users))
    assert from_text == from_value


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(InvalidValue):
        ux_expert(given(pm__user_stories="\x00\x01"))
