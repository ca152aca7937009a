"""What the barrier of a cross-validation makes of its validators."""

from __future__ import annotations

import pytest

from orchestrator.barrier.validation import Report, ValidationResult, decide
from orchestrator.workflow.models import CrossValidation

GOOD = Report("a", "success", ValidationResult(valid=True, findings=("a remark",)))
BAD = Report("b", "success", ValidationResult(valid=False, findings=("no screen", "no button")))


@pytest.mark.parametrize(
    ("reports", "overdue", "blocking", "action", "complaints"),
    [
        ((GOOD, GOOD), False, True, "release", ()),
        ((GOOD, Report("b", "running")), False, False, "wait", ()),
        ((GOOD, Report("b", "running")), True, False, "release", ("b did not end within 3m",)),
        ((GOOD, Report("b", "running")), True, True, "fail", ("b did not end within 3m",)),
        ((GOOD, BAD), False, False, "release", ("b: no screen; no button",)),
        ((BAD, GOOD), False, True, "fail", ("b: no screen; no button",)),
        ((Report("a", "timed_out"), Report("b", "failed")), False, False, "release",
         ("a ended as timed_out", "b ended as failed")),
        ((Report("a", "success"), GOOD), False, False, "release", ("a gave no result",)),
        ((Report("a", "success", ValidationResult(valid=False)),), False, False, "release", ("a: not valid",)),
        ((Report("a", "upstream_failed"), Report("b", "upstream_failed")), False, False, "fail", ()),
    ],
)  # fmt: skip
def test_a_decision(
    reports: tuple[Report, ...], overdue: bool, blocking: bool, action: str, complaints: tuple[str, ...]
) -> None:
    found = decide(CrossValidation(enabled=True, blocking=blocking), reports, overdue=overdue)
    assert (found.action, found.complaints) == (action, complaints)
