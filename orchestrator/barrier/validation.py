"""What a validation gives, and what the barrier of a cross-validation makes of it, as values."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from orchestrator.barrier.policy import ENDED, GOOD
from orchestrator.fields import Frozen
from orchestrator.units import format_duration
from orchestrator.workflow.models import CrossValidation

UNREACHED = "upstream_failed"


class ValidationResult(Frozen):
    """What an agent says of the work of others: `{"valid": true, "findings": []}`. A finding is a sentence for people;
    an output may be valid although there is something to say about it."""

    valid: bool
    findings: tuple[str, ...] = ()


class Report(Struct, frozen=True):
    """A validator as it stands, with its result when it has succeeded."""

    step: str
    state: str
    result: ValidationResult | None = None


class Action(StrEnum):
    WAIT = "wait"
    RELEASE = "release"
    FAIL = "fail"


class Decision(Struct, frozen=True):
    """`complaints` are sentences, one for each validation that failed."""

    action: Action
    reason: str
    complaints: tuple[str, ...] = ()


def decide(spec: CrossValidation, reports: Sequence[Report], *, overdue: bool) -> Decision:
    """Judge the validation of a group. One that failed, or did not end in time, complains like one that found
    something; only a blocking validation lets complaints fail the group."""
    if any(report.state == UNREACHED for report in reports):
        return Decision(Action.FAIL, "the group has not got as far as its validation")
    ended = sum(report.state in ENDED for report in reports)
    if ended < len(reports) and not overdue:
        return Decision(Action.WAIT, f"{ended} of {len(reports)} validations have ended")
    complaints = tuple(text for report in reports if (text := _complaint(spec, report)))
    if not complaints:
        return Decision(Action.RELEASE, "all outputs are valid")
    action = Action.FAIL if spec.blocking else Action.RELEASE
    return Decision(action, f"{len(complaints)} of {len(reports)} validations failed", complaints)


def _complaint(spec: CrossValidation, report: Report) -> str:
    if report.state not in ENDED:
        return f"{report.step} did not end within {format_duration(spec.validation_timeout)}"
    if report.state not in GOOD:
        return f"{report.step} ended as {report.state}"
    if report.result is None:
        return f"{report.step} gave no result"
    if report.result.valid:
        return ""
    return f"{report.step}: {'; '.join(report.result.findings) or 'not valid'}"
