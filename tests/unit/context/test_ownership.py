"""Who may read and write what: every rule, the message that names it, and the form in which it travels to workers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.context.ownership import Access
from orchestrator.errors import AgentError, OwnershipError
from orchestrator.settings import EngineSettings
from orchestrator.workflow.loader import load_workflow

OWNERS = EngineSettings().owners


def access(**lists: Any) -> Access:
    return Access(**{"step": "ux", "agent": "ux_expert", "owners": OWNERS, **lists})


def refused(check: Any, path: str, **options: Any) -> str:
    with pytest.raises(OwnershipError) as caught:
        check(path, **options)
    assert isinstance(caught.value, AgentError)
    return str(caught.value)


# lists of the step and its agent, a path it may read
READABLE = [
    ({}, "pm.user_stories"),
    ({}, "requirements"),
    ({"reads": ()}, "ux.ui_spec"),
    ({"reads": (), "agent_reads": ()}, "ux"),
    ({"reads": ("pm",)}, "pm"),
    ({"reads": ("pm",)}, "pm.user_stories.0"),
    ({"reads": ("pm.user_stories",)}, "pm.user_stories"),
    ({"reads": ("pm.user_stories",)}, "pm.user_stories.title"),
    ({"reads": (), "inputs": ("brief",)}, "brief"),
    ({"reads": (), "agent_reads": (), "inputs": ("pm.requirements",)}, "pm.requirements.functional"),
    ({"agent_reads": ("pm.user_stories", "analyst")}, "analyst.target_users"),
    ({"reads": ("pm",), "agent_reads": ("pm.user_stories",)}, "pm.user_stories"),
    ({"reads": ("pm.user_stories",), "agent_reads": ("pm",)}, "pm.user_stories"),
]


@pytest.mark.parametrize(("lists", "path"), READABLE)
def test_what_may_be_read(lists: dict[str, Any], path: str) -> None:
    access(**lists).may_read(path)
    assert access(**lists).can_read(path)


@pytest.mark.parametrize(
    ("lists", "path", "message"),
    [
        (
            {"reads": ("pm.user_stories", "analyst")},
            "pm.requirements",
            "step 'ux' may not read 'pm.requirements': it may read only pm.user_stories, analyst "
            "(context.read of step 'ux')",
        ),
        (
            {"reads": (), "word": "write_only"},
            "pm.user_stories",
            "step 'ux' may not read 'pm.user_stories': it may read nothing of others "
            "(context_access 'write_only' of step 'ux')",
        ),
        (
            {"reads": ("pm",), "agent_reads": ("pm.user_stories",)},
            "pm.requirements",
            "step 'ux' may not read 'pm.requirements': it may read only pm.user_stories (reads of agent 'ux_expert')",
        ),
        ({"reads": ("pm.user_stories",), "agent_reads": ("pm",)}, "pm.requirements", "(context.read of step 'ux')"),
        ({"reads": ("pm.user_stories",)}, "pm", "step 'ux' may not read 'pm': "),
        ({"reads": ("pm.user",)}, "pm.user_stories", "it may read only pm.user ("),
        ({"reads": (), "inputs": ("pm.brief",)}, "pm", "it may read nothing of others"),
        ({"reads": tuple(f"s{n}" for n in range(20))}, "pm", "only s0, s1, s2, s3, s4, s5, s6, s7 and 12 more ("),
    ],
)
def test_what_may_not_be_read(lists: dict[str, Any], path: str, message: str) -> None:
    assert message in refused(access(**lists).may_read, path)
    assert not access(**lists).can_read(path)


WRITABLE = [
    ({}, "ux.ui_spec"),
    ({}, "ux"),
    ({}, "user_experience"),
    ({}, "design_system.colours.primary"),
    ({}, "glossary.terms"),
    ({"owners": {}}, "requirements.functional"),
    ({"agent": "pm"}, "requirements.functional"),
    ({"step": "requirements", "agent": "x"}, "requirements.functional"),
    ({"writes": ("ui_spec",)}, "ux.ui_spec.screens"),
    ({"writes": ("ux.ui_spec",)}, "ux.ui_spec"),
    ({"writes": ("user_experience.flows",)}, "user_experience.flows"),
    ({"writes": ("ui_spec", "user_experience")}, "user_experience.flows"),
    ({"agent_writes": ("ui_spec",)}, "ux.ui_spec"),
    ({"agent_writes": ("user_experience",)}, "user_experience.flows"),
    ({"agent_writes": ("ui_spec", "user_journeys"), "writes": ("ui_spec",)}, "ux.ui_spec"),
    # The step keeps the whole result in one place, of which its agent knows nothing.
    ({"agent_writes": ("ui_spec",), "writes": ("ux_outputs",)}, "ux.ux_outputs"),
    ({"agent_writes": ("ui_spec",), "writes": ("ux_outputs",)}, "ux.ux_outputs.ui_spec"),
    ({"agent_writes": ("ui_spec",), "writes": ("ux.ux_outputs",)}, "ux.ux_outputs.ui_spec.screens"),
]


@pytest.mark.parametrize(("lists", "path"), WRITABLE)
def test_what_may_be_written(lists: dict[str, Any], path: str) -> None:
    access(**lists).may_write(path, is_step=lambda name: name in ("pm", "ux"))


@pytest.mark.parametrize(
    ("lists", "path", "message"),
    [
        (
            {},
            "requirements.functional",
            "step 'ux' may not write 'requirements.functional': section 'requirements' belongs to agent 'pm' "
            "(ownership_rules)",
        ),
        ({}, "api_specs", "section 'api_specs' belongs to agent 'architect' (ownership_rules)"),
        (
            {},
            "pm.user_stories",
            "step 'ux' may not write 'pm.user_stories': 'pm.*' belongs to step 'pm' (its own namespace)",
        ),
        # A list gives no right that the rules do not.
        ({"writes": ("requirements",)}, "requirements", "section 'requirements' belongs to agent 'pm'"),
        (
            {"writes": ("ui_spec", "user_experience.flows")},
            "ux.journeys",
            "step 'ux' may not write 'ux.journeys': it may write only ui_spec, user_experience.flows "
            "(context.write of step 'ux')",
        ),
        ({"writes": ("user_experience.flows",)}, "user_experience", "(context.write of step 'ux')"),
        ({"writes": ()}, "ux.ui_spec", "'ux.ui_spec': it may write nothing (context.write of step 'ux')"),
        (
            {"agent_writes": ("ui_spec",)},
            "ux.journeys",
            "step 'ux' may not write 'ux.journeys': it may write only ui_spec (writes of agent 'ux_expert')",
        ),
        ({"agent_writes": ("ui_spec",)}, "user_experience", "(writes of agent 'ux_expert')"),
        ({"agent_writes": ("ui_spec",), "writes": ("ui_spec", "more")}, "ux.more", "(writes of agent 'ux_expert')"),
        ({"agent_writes": ("ui_spec",), "writes": ("out",)}, "ux.out.more", "(writes of agent 'ux_expert')"),
        ({"agent_writes": ("ui_spec",), "writes": ("out",)}, "ux.ui_spec", "(context.write of step 'ux')"),
    ],
)
def test_what_may_not_be_written(lists: dict[str, Any], path: str, message: str) -> None:
    assert message in refused(access(**lists).may_write, path, is_step=lambda name: name in ("pm", "ux"))


def test_steps_are_asked_for_only_where_nobody_owns() -> None:
    asked: list[str] = []

    def is_step(name: str) -> bool:
        asked.append(name)
        return False

    for path in ("ux.ui_spec", "user_experience", "glossary.terms"):
        access().may_write(path, is_step=is_step)
    refused(access().may_write, "requirements", is_step=is_step)
    assert asked == ["glossary"]
    access().may_write("pm.user_stories")


@pytest.mark.parametrize(
    ("path", "absolute"),
    [
        ("ui_spec", "ux.ui_spec"),
        ("ux.ui_spec", "ux.ui_spec"),
        ("user_experience", "user_experience"),
        ("user_experience.flows", "user_experience.flows"),
        ("requirements", "ux.requirements"),
        ("requirements.functional", "requirements.functional"),
    ],
)
def test_where_a_name_leads(path: str, absolute: str) -> None:
    assert access().absolute(path) == absolute


@pytest.mark.parametrize(
    ("writes", "place"),
    [
        (None, None),
        ((), None),
        (("out",), "out"),
        (("ux.out",), "out"),
        (("out", "more"), None),
        (("out.part",), None),
        (("user_experience",), None),
    ],
)
def test_the_one_place_of_a_result(writes: tuple[str, ...] | None, place: str | None) -> None:
    assert access(writes=writes).place == place


paths = st.sampled_from(
    ["pm", "pm.user_stories", "pm.user_stories.title", "ux", "ux.out", "requirements", "glossary.a"]
)
lists = st.none() | st.lists(paths, max_size=3, unique=True).map(tuple)


@given(lists, lists, paths)
def test_lists_only_narrow(reads: Any, agent_reads: Any, path: str) -> None:
    both = access(reads=reads, agent_reads=agent_reads).can_read(path)
    assert both == (access(reads=reads).can_read(path) and access(agent_reads=agent_reads).can_read(path))
    assert access().can_read(path)


@given(lists, lists, lists, lists, st.lists(paths, max_size=2).map(tuple), st.sampled_from(["", "write_only"]))
def test_it_travels_as_a_small_document(
    reads: Any, writes: Any, agent_reads: Any, agent_writes: Any, inputs: Any, word: str
) -> None:
    found = access(
        reads=reads, writes=writes, agent_reads=agent_reads, agent_writes=agent_writes, inputs=inputs, word=word
    )
    row = json.loads(json.dumps(found.to_json()))
    assert Access.from_json(row, step="ux", agent="ux_expert", owners=OWNERS) == found
    assert "owners" not in row


def test_what_is_not_declared_takes_no_room() -> None:
    assert access().to_json() == {}
    assert access(reads=()).to_json() == {"reads": []}
    with pytest.raises(ValidationError):
        Access.from_json({"read": []}, step="ux", agent="ux", owners={})


def group_step(**keys: Any) -> dict[str, Any]:
    steps = [{"id": "analyst", "agent": "analyst"}, {"id": "pm1", "agent": "pm", "needs": ["analyst"]}]
    return {"name": "w", "steps": [*steps, {"id": "ux", "agent": "ux_expert", "needs": ["pm1"], **keys}]}


def access_of(definition: dict[str, Any], **options: Any) -> Access:
    workflow = load_workflow(definition)
    return Access.of(workflow.step("ux"), owners=OWNERS, inputs=workflow.inputs, **options)


def test_the_access_of_a_step() -> None:
    found = access_of(group_step(context={"read": ["pm1.user_stories", "brief.text"], "write": ["out"]}))
    assert found.to_json() == {
        "reads": ["pm1.user_stories", "brief.text"],
        "writes": ["out"],
        "inputs": ["brief.text"],
    }
    assert (found.step, found.agent, found.owners) == ("ux", "ux_expert", OWNERS)
    assert access_of(group_step()).to_json() == {}


def test_the_words_of_context_access() -> None:
    everything = access_of(group_step(context_access="read_all_write_ux"))
    assert everything.reads == ("analyst", "pm1")
    assert "(context_access 'read_all_write_ux' of step 'ux')" in refused(everything.may_read, "other.x")
    nothing = access_of(group_step(context_access="write_only"))
    assert "(context_access 'write_only' of step 'ux')" in refused(nothing.may_read, "pm1.x")
    # Lists that a step gives itself win over the word.
    listed = access_of(group_step(context_access="read_all_write_ux", context={"read": ["pm1.user_stories"]}))
    assert "(context.read of step 'ux')" in refused(listed.may_read, "pm1.x")


def test_inputs_of_the_step_are_read_whatever_the_word_says() -> None:
    found = access_of(group_step(context_access="write_only", inputs=["pm1.user_stories"]))
    found.may_read("pm1.user_stories")
    refused(found.may_read, "pm1.requirements")


def test_what_an_agent_declares_by_names_of_agents_is_meant_for_their_steps() -> None:
    found = access_of(
        group_step(),
        agent_reads=["pm.user_stories", "analyst"],
        agent_writes=["ui_spec"],
        steps_of=lambda agent: {"pm": ["pm1", "pm2"]}.get(agent, []),
    )
    for path in ("pm1.user_stories", "pm2.user_stories.x", "pm.user_stories", "analyst.brief"):
        found.may_read(path)
    assert "reads of agent 'ux_expert'" in refused(found.may_read, "pm1.requirements")
    found.may_write("ux.ui_spec")
    assert "writes of agent 'ux_expert'" in refused(found.may_write, "ux.other")
