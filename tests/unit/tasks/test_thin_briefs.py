"""Any Markdown works: prose without headings, other languages, odd structures, and whatever hypothesis thinks of."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from orchestrator import InvalidValue
from tasks import analyst, architect, developer, pm, ux_expert
from tasks.qa import compile_mistakes
from tests.unit.tasks.running import Outcome, run_agents

FIVE = (analyst, pm, ux_expert, architect, developer)
PROSE = (
    "We run a small bike shop. Customers bring their bikes and mechanics repair them. Today everything is on paper and "
    "we lose orders. Customers should be able to book a repair online. Mechanics can see the list of repairs. "
    "The owner wants to export invoices. It must run on SQLite and answer within 2 seconds.\n"
)


@pytest.fixture(scope="module")
def prose() -> Outcome:
    return run_agents(PROSE)


def test_prose_without_headings(prose: Outcome) -> None:
    found = prose.context["analyst"]
    assert {"customer", "mechanic", "owner"} <= {user["name"] for user in found["target_users"]}
    assert [(one["actor"], one["verb"], one["action"]) for one in prose.features] == [
        ("customer", "book", "create"),
        ("mechanic", "see", "read"),
        ("owner", "export", "export"),
    ]
    assert "lose orders" in found["problem_analysis"]["statement"]
    assert found["technical_constraints"][0]["technologies"] == ["SQLite"]
    assert set(found["project_metadata"]["guessed"]) == {"users", "problem", "features", "constraints", "goals"}


def test_a_thin_brief_costs_points_and_the_report_says_why(prose: Outcome, housing: Outcome) -> None:
    result = prose.context["qa"]
    assert result["test_run"]["failures"] == []
    assert result["score"] < housing.context["qa"]["score"]
    assert "the brief has no section on goals" in prose.text("report.md")


def test_one_word_is_worked_on_and_judged_not_ready() -> None:
    outcome = run_agents("Hello")
    assert [feature["title"] for feature in outcome.features] == ["Hello"]
    assert outcome.context["qa"]["verdict"].startswith("not ready")
    assert "What shall the product do?" in outcome.text("brief.md")


def test_user_stories_are_taken_as_they_are_written() -> None:
    outcome = run_agents(
        "# Ward\n\n## User stories\n\n"
        "- As a nurse, I want to record a dose with drug and time so that nobody gives it twice\n",
        (analyst, pm),
    )
    (story,) = outcome.context["pm"]["user_stories"]
    assert (story["as_a"], story["i_want"]) == ("nurse", "to record a dose with drug and time")
    assert story["so_that"] == "nobody gives it twice"


def test_a_feature_may_be_a_sub_heading_with_details() -> None:
    outcome = run_agents(
        "# Shop\n\n## Features\n\n### Pay an order\n\nCustomers pay an order.\n\n- Refunds take at most 14 days\n",
        (analyst, pm),
    )
    assert [(one["title"], one["details"]) for one in outcome.features] == [
        ("Pay an order", ["Refunds take at most 14 days"])
    ]
    criteria = outcome.context["pm"]["user_stories"][0]["acceptance_criteria"]
    assert any("at most 14 days" in criterion["then"] for criterion in criteria)


def test_a_wish_that_is_ruled_out_needs_no_screen_or_operation() -> None:
    outcome = run_agents("# X\n\n## Features\n\n- Record a dose (must)\n- Archive a ledger (won't)\n")
    assert [feature["priority"] for feature in outcome.features] == ["must", "wont"]
    assert outcome.context["developer"]["operations"] == ["listDoses", "createDose", "getDose"]
    assert outcome.context["qa"]["traceability"][1]["gaps"] == []


def test_two_hundred_features_are_cut_and_said() -> None:
    brief = "# Many\n\n## Features\n\n" + "".join(f"- Create a thing{number}\n" for number in range(200))
    outcome = run_agents(brief, (analyst,))
    assert len(outcome.features) == 60
    assert "only the first 60" in outcome.text("brief.md")


_PIECES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["# ", "## Features\n", "- ", "| a | b |\n|---|---|\n| c | d |\n", "> ", "1. ", "**x**: ", "\n\n",
                     "Report a fault with photo and date", '"""', "{{ x }}", "{% if %}", "\\", "class", "import os",
                     "(must)",
                     "As a nurse, I want to weigh a baby so that it grows", "within 3 days", "${x}", "```\n", "---\n"]),
)  # fmt: skip


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_PIECES, min_size=1, max_size=12).map("".join))
def test_any_text_gives_code_that_compiles_or_a_clear_error(text: str) -> None:
    logging.getLogger("agent").setLevel(logging.CRITICAL)
    try:
        outcome = run_agents(text, FIVE)
    except InvalidValue as error:
        told = str(error)
        event("refused")
        assert told.startswith("the brief ")
        return
    built = outcome.context["developer"]
    assert compile_mistakes(built["source_files"]) == ()
    assert built["operations"]
