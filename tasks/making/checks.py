"""The checks behind the score: what is looked at, how much it weighs, what was found. The weights add up to 100."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from tasks.making.features import UNSAID
from tasks.making.openapi import openapi_mistakes
from tasks.making.skeleton import operations_of
from tasks.making.tracing import operations_by_requirement
from tasks.models import (
    Check,
    DeveloperOutput,
    Feature,
    FunctionalRequirement,
    NonFunctionalRequirement,
    SystemArchitecture,
    TechnologyStack,
    TestRun,
    TraceRow,
    UiSpec,
    UserStory,
)
from tasks.reading.extract import TOPICS
from tasks.reading.features import STATED_ACTORS

VERDICTS: Final = (
    (90.0, "ready to be built on"),
    (80.0, "usable once the findings below are mended"),
    (0.0, "not ready: the findings below change what would be built"),
)


class Evidence(Struct, frozen=True):
    """Everything that the checks look at."""

    features: tuple[Feature, ...]
    stories: tuple[UserStory, ...]
    functional: tuple[FunctionalRequirement, ...]
    non_functional: tuple[NonFunctionalRequirement, ...]
    ui: UiSpec
    architecture: SystemArchitecture
    stack: TechnologyStack
    document: Mapping[str, Any]
    built: DeveloperOutput
    compile_mistakes: tuple[str, ...]
    run: TestRun
    rows: tuple[TraceRow, ...]
    questions: tuple[str, ...]
    guessed: tuple[str, ...]


def run_checks(evidence: Evidence) -> tuple[Check, ...]:
    """Every check in a fixed order."""
    return tuple(_checks(evidence))


def score(checks: Sequence[Check]) -> float:
    """The sum of weight times achieved, out of 100."""
    return round(sum(check.points for check in checks), 1)


def verdict(points: float) -> str:
    return next(text for least, text in VERDICTS if points >= least)


def _share(good: int, total: int) -> float:
    """The share that is good; nothing to look at counts as nothing achieved."""
    return round(good / total, 4) if total else 0.0


def _checks(it: Evidence) -> Iterator[Check]:
    gaps = [f"{row.feature} {row.title}: no {', no '.join(row.gaps)}" for row in it.rows if row.gaps]
    yield Check(
        id="traceability",
        title="Every feature can be followed to a passing test",
        weight=15,
        achieved=_share(len(it.rows) - len(gaps), len(it.rows)),
        evidence=f"{len(it.rows) - len(gaps)} of {len(it.rows)} features",
        findings=tuple(gaps),
    )
    files = [path for path in it.built.source_files if path.endswith(".py")]
    yield Check(
        id="compiles",
        title="The skeleton's Python compiles",
        weight=5,
        achieved=_share(len(files) - len(it.compile_mistakes), len(files)),
        evidence=f"{len(files) - len(it.compile_mistakes)} of {len(files)} files",
        findings=it.compile_mistakes,
    )
    yield Check(
        id="tests",
        title="The skeleton's tests pass",
        weight=15,
        achieved=_share(it.run.passed, it.run.ran),
        evidence=f"{it.run.passed} of {it.run.ran} tests ran and passed",
        findings=(*it.run.failures, *((it.run.error,) if it.run.error else ())),
    )
    yield _platform(it)
    yield _screens(it)
    yield _operations(it)
    yield _document(it)
    yield _non_functional(it)
    yield _exclusions(it)
    yield _stated(it)


def _platform(it: Evidence) -> Check:
    ui, architecture = it.ui, it.architecture
    assumed = [
        name for name, part in (("the UI specification", ui), ("the architecture", architecture)) if part.assumed
    ]
    findings = []
    if ui.platform != architecture.platform:
        findings.append(
            f"ux_expert designs {ui.platform} ({ui.platform_reason}), "
            f"but architect assumes {architecture.platform} ({architecture.platform_reason})"
        )
    findings += [f"{name} was filled in with a default, so nobody decided on a platform" for name in assumed]
    return Check(
        id="platform",
        title="UX and architecture agree on the platform",
        weight=10,
        achieved=float(not findings),
        evidence=f"ux_expert: {ui.platform}; architect: {architecture.platform}",
        findings=tuple(findings),
    )


def _screens(it: Evidence) -> Check:
    wanted = [story for story in it.stories if story.priority != "wont"]
    shown = {story for screen in it.ui.screens for story in screen.stories}
    missing = [f"{story.id} {story.title}: no screen" for story in wanted if story.id not in shown]
    return Check(
        id="screens",
        title="Every story has a screen",
        weight=10,
        achieved=_share(len(wanted) - len(missing), len(wanted)),
        evidence=f"{len(wanted) - len(missing)} of {len(wanted)} stories",
        findings=tuple(missing),
    )


def _operations(it: Evidence) -> Check:
    wanted = [one for one in it.functional if one.priority != "wont"]
    served = operations_by_requirement(it.document)
    missing = [f"{one.id} {one.statement} No operation." for one in wanted if not served.get(one.id)]
    return Check(
        id="operations",
        title="Every functional requirement has an API operation",
        weight=10,
        achieved=_share(len(wanted) - len(missing), len(wanted)),
        evidence=f"{len(wanted) - len(missing)} of {len(wanted)} requirements",
        findings=tuple(missing),
    )


def _document(it: Evidence) -> Check:
    described = [str(operation.get("operationId", path)) for path, _, operation in operations_of(it.document)]
    findings = list(openapi_mistakes(dict(it.document)))
    findings += [
        f"{name} is described, but the skeleton lacks it" for name in described if name not in it.built.operations
    ]
    findings += [f"{name} is built, but the API lacks it" for name in it.built.operations if name not in described]
    if not described:
        findings.append("the API has no operation")
    return Check(
        id="openapi",
        title="The API is valid OpenAPI 3.1, and the skeleton is built from it",
        weight=5,
        achieved=float(not findings),
        evidence=f"{len(described)} operations, {len(findings)} mistakes",
        findings=tuple(findings),
    )


def _non_functional(it: Evidence) -> Check:
    """A brief without non-functional requirements loses these points: there is nothing to hold the product to."""
    parts = [part.requirements for part in it.architecture.components]
    parts += [decision.requirements for decision in it.architecture.decisions]
    answered = {name for part in parts for name in part}
    missing = [
        f"{one.id} ({one.category}): no component or decision" for one in it.non_functional if one.id not in answered
    ]
    total = len(it.non_functional)
    return Check(
        id="non_functional",
        title="Every non-functional requirement is answered by the architecture",
        weight=5,
        achieved=_share(total - len(missing), total),
        evidence=f"{total - len(missing)} of {total} requirements",
        findings=tuple(missing) if total else ("the brief gives no non-functional requirement",),
    )


def _exclusions(it: Evidence) -> Check:
    broken = [choice.choice for choice in it.stack.choices if choice.choice in it.stack.excluded]
    undecided = not it.stack.choices
    return Check(
        id="stack",
        title="The technology stack is chosen and uses nothing that the brief rules out",
        weight=5,
        achieved=float(not broken and not undecided),
        evidence=f"{len(it.stack.choices)} choices, {len(it.stack.excluded)} exclusions",
        findings=(
            *(f"{name} is ruled out by the brief" for name in broken),
            *(("no technology was chosen",) if undecided else ()),
        ),
    )


def _stated(it: Evidence) -> Check:
    """How much of the result stands on the brief's own words rather than on inference."""
    findings = [f"the brief has no section on {topic}" for topic in it.guessed]
    findings += [f"open question: {question}" for question in it.questions]
    for feature in it.features:
        if feature.actor_reason not in STATED_ACTORS:
            findings.append(f"{feature.id} {feature.title}: for {feature.actor}? Inferred ({feature.actor_reason})")
        if feature.priority_reason == UNSAID:
            findings.append(f"{feature.id} {feature.title}: priority {feature.priority} is a guess")
        if feature.action in ("create", "manage") and not feature.fields:
            findings.append(f"{feature.id} {feature.title}: the brief does not say what is entered")
    creating = sum(feature.action in ("create", "manage") for feature in it.features)
    for choice in it.stack.choices:
        if choice.source == "assumed":
            findings.append(f"{choice.layer}: {choice.choice} is assumed ({choice.reason})")
    total = 2 * len(it.features) + creating + len(it.stack.choices) + len(it.questions) + len(TOPICS)
    return Check(
        id="stated",
        title="It stands on the brief's words, not on inference",
        weight=20,
        achieved=_share(total - len(findings), total),
        evidence=f"{total - len(findings)} of {total} points of decision are stated",
        findings=tuple(findings),
    )
