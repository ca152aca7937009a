"""The traceability matrix: every feature followed over requirement, story, screen and operation to its tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.making.skeleton import operations_of
from tasks.models import DeveloperOutput, Feature, FunctionalRequirement, Screen, TestRun, TraceRow, UserStory


def operations_by_requirement(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Requirement id -> operationIds that name it."""
    found: dict[str, list[str]] = {}
    for _, _, operation in operations_of(document):
        for requirement in operation.get("x-requirements", ()):
            found.setdefault(str(requirement), []).append(str(operation.get("operationId", "")))
    return {requirement: tuple(names) for requirement, names in found.items()}


def trace(
    features: Sequence[Feature],
    requirements: Sequence[FunctionalRequirement],
    stories: Sequence[UserStory],
    screens: Sequence[Screen],
    document: Mapping[str, Any],
    built: DeveloperOutput,
    run: TestRun,
) -> tuple[TraceRow, ...]:
    """A row per feature. A test counts only if it ran and passed."""
    served = operations_by_requirement(document)
    rows = []
    for feature in features:
        own_requirements = tuple(one.id for one in requirements if one.feature == feature.id)
        own_stories = tuple(one.id for one in stories if one.feature == feature.id)
        own_screens = tuple(one.id for one in screens if set(one.stories) & set(own_stories))
        operations = tuple(dict.fromkeys(name for one in own_requirements for name in served.get(one, ())))
        tests = tuple(
            one.id
            for one in built.tests
            if set(one.operations) & set(operations) and run.outcomes.get(one.id) == "passed"
        )
        links = {
            "requirement": own_requirements,
            "story": own_stories,
            "screen": own_screens,
            "operation": operations,
            "passing test": tests,
        }
        wanted = feature.priority != "wont"
        rows.append(
            TraceRow(
                feature=feature.id,
                title=feature.title,
                priority=feature.priority,
                requirements=own_requirements,
                stories=own_stories,
                screens=own_screens,
                operations=operations,
                tests=tests,
                gaps=tuple(name for name, found in links.items() if wanted and not found),
            )
        )
    return tuple(rows)
