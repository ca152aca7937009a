"""Quality assurance: the score falls when something is wrong, and the report names it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from orchestrator import InvalidValue
from tasks import architect, qa, ux_expert
from tests.unit.tasks.running import Outcome, context_for


def judged(outcome: Outcome, **changes: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The verdict on a context with some of its namespaces replaced, and the report."""
    ctx = context_for(qa, Outcome(context={**outcome.context, **changes}))
    return qa(ctx), ctx.artifacts["report.md"].decode()


def points(result: dict[str, Any], check: str) -> float:
    found = next(one for one in result["checks"] if one["id"] == check)
    return float(found["weight"] * found["achieved"])


def edited(outcome: Outcome, step: str) -> dict[str, Any]:
    return copy.deepcopy(outcome.context[step])


def test_the_briefs_that_ship_are_judged_well_but_not_perfect(run: Outcome) -> None:
    result = run.context["qa"]
    assert sum(check["weight"] for check in result["checks"]) == 100
    assert result["score"] == pytest.approx(sum(points(result, check["id"]) for check in result["checks"]), abs=0.06)
    assert 90 <= result["score"] < 100
    assert result["consistent"]
    assert result["test_run"]["passed"] == result["test_run"]["ran"] > 15
    assert all(row["tests"] and not row["gaps"] for row in result["traceability"])


def test_two_platforms_lower_the_score_and_are_named(grain: Outcome) -> None:
    before = grain.context["qa"]
    other = ux_expert(context_for(ux_expert, grain, platform="mobile_first"))
    result, report = judged(grain, ux_expert=other)
    assert result["score"] == pytest.approx(before["score"] - 10, abs=0.1)
    assert not result["consistent"]
    assert "ux_expert designs mobile_first (the workflow asks for it), but architect assumes desktop_primary" in report


def test_a_story_without_a_screen_is_named(housing: Outcome) -> None:
    ux = edited(housing, "ux_expert")
    for screen in ux["ui_spec"]["screens"]:
        screen["stories"] = [story for story in screen["stories"] if story != "US-3"]
    result, report = judged(housing, ux_expert=ux)
    assert points(result, "screens") == pytest.approx(9)
    assert "US-3 Assign a fault: no screen" in report
    assert "F-3 Assign a fault: no screen" in report


def test_a_requirement_without_an_operation_is_named(housing: Outcome) -> None:
    design = edited(housing, "architect")
    del design["api_specifications"]["paths"]["/faults/{faultId}/assign"]
    result, report = judged(housing, architect=design)
    assert points(result, "operations") == pytest.approx(9)
    assert points(result, "openapi") == 0
    assert "assignFault is built, but the API lacks it" in report
    assert "FR-3" in report.split("## Traceability")[0]


def test_a_failing_test_is_run_and_named(housing: Outcome) -> None:
    built = edited(housing, "developer")
    code = built["source_files"]["fixwell/resources/faults.py"]
    built["source_files"]["fixwell/resources/faults.py"] = code.replace('"assigned")', '"lost")')
    result, report = judged(housing, developer=built)
    assert result["test_run"]["passed"] == result["test_run"]["ran"] - 1
    assert "tests.test_faults.FaultsTest.test_assign_fault: failed: AssertionError" in report
    assert "F-3 Assign a fault: no passing test" in report


def test_code_that_does_not_compile_is_named(housing: Outcome) -> None:
    built = edited(housing, "developer")
    built["source_files"]["fixwell/core.py"] += "\ndef broken(:\n"
    result, report = judged(housing, developer=built)
    assert "fixwell/core.py: invalid syntax" in report
    assert result["test_run"]["passed"] == 0
    assert result["score"] < 80
    assert result["verdict"].startswith("not ready")


def test_tests_that_cannot_start_are_an_error_not_a_pass(housing: Outcome) -> None:
    built = edited(housing, "developer")
    built["source_files"]["tests/__init__.py"] = "import os\nos._exit(3)\n"
    result, _ = judged(housing, developer=built)
    assert result["test_run"]["ran"] == 0
    assert "exit status 3" in result["test_run"]["error"]


def test_what_a_barrier_filled_in_earns_nothing(housing: Outcome) -> None:
    result, report = judged(housing, ux_expert=dict(ux_expert.defaults or {}), architect=dict(architect.defaults or {}))
    for check in ("platform", "screens", "operations", "openapi", "traceability", "non_functional", "stack"):
        assert points(result, check) == 0, check
    assert "the UI specification was filled in with a default" in report


def test_a_technology_that_the_brief_rules_out_is_named(housing: Outcome) -> None:
    design = edited(housing, "architect")
    design["technology_stack"]["choices"][0]["choice"] = "AWS"
    result, report = judged(housing, architect=design)
    assert points(result, "stack") == 0
    assert "AWS is ruled out by the brief" in report


def test_files_may_not_leave_the_skeleton(housing: Outcome) -> None:
    built = edited(housing, "developer")
    built["source_files"]["../escaped.py"] = "x = 1\n"
    with pytest.raises(InvalidValue, match=r"\.\./escaped\.py"):
        judged(housing, developer=built)
