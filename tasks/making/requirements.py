"""From stories to functional requirements, and from constraints and quantities to non-functional ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tasks.models import (
    Constraint,
    Feature,
    FunctionalRequirement,
    NonFunctionalRequirement,
    Quantity,
    Requirements,
    UserStory,
)
from tasks.reading import language
from tasks.reading.categories import constraint_category
from tasks.reading.quantities import find_quantities

_VERIFICATION: Final = {
    "performance": "Measure it under the load of a busy day; the 95th percentile counts.",
    "availability": "Probe it once a minute from outside; report each month.",
    "capacity": "Load test with the stated numbers plus one half.",
    "security and privacy": "Review of the design, then a test of every role against every operation.",
    "retention": "A test moves the clock to the limit and looks at what is left.",
    "accessibility": "Automatic check on every page in CI; a walk-through with keyboard and screen reader before release.",
    "offline use": "Cut the connection in the middle of the work, restore it, compare both sides.",
    "integration": "Contract test against a recorded exchange, and one rehearsal with the real system.",
    "hosting": "Look at the deployment: where it runs, and who can reach it.",
    "data": "Look at the deployment; restore a backup into an empty system.",
    "platform": "Run the acceptance criteria on the stated devices.",
    "language": "Every text of the interface exists in every stated language.",
    "maintenance": "Someone of the maintaining team makes a small change alone.",
}
_MEASURE_KINDS: Final = frozenset(("performance", "availability", "capacity", "retention", "offline use", "platform"))


def functional(stories: Sequence[UserStory]) -> tuple[FunctionalRequirement, ...]:
    """One requirement per story, numbered like it."""
    return tuple(
        FunctionalRequirement(
            id=f"FR-{number}",
            statement=_statement(story),
            feature=story.feature,
            stories=(story.id,),
            priority=story.priority,
            action=story.action,
            verb=story.verb,
            entity=story.entity,
            fields=story.fields,
        )
        for number, story in enumerate(stories, start=1)
    )


def _statement(story: UserStory) -> str:
    duty = {"must": "shall", "should": "should", "could": "may", "wont": "will not for now"}[story.priority]
    wish = story.i_want
    if wish.startswith("have the system "):
        return f"The system {duty} {wish.removeprefix('have the system ')}."
    if story.action == "notify":
        return f"The system {duty} see to it that {language.article(story.as_a)} {story.as_a} can {wish.removeprefix('to ')}."
    return f"The system {duty} let {language.article(story.as_a)} {story.as_a} {wish.removeprefix('to ')}."


def non_functional(constraints: Sequence[Constraint], features: Sequence[Feature]) -> tuple[NonFunctionalRequirement, ...]:
    """One per technical constraint, and one per bound on time or number inside a feature."""
    made: list[NonFunctionalRequirement] = []
    for constraint in constraints:
        if constraint.technical:
            made.append(_from_text(len(made) + 1, constraint.text, constraint.category, constraint.id, constraint.line))
    for feature in features:
        for sentence in dict.fromkeys(language.sentences(f"{feature.title}. {feature.description}")):
            bounds = [one for one in find_quantities(sentence, feature.line) if _is_bound(one)]
            if bounds:
                category = "performance" if bounds[0].kind == "time" else constraint_category(sentence)
                made.append(_from_text(len(made) + 1, sentence, category, feature.id, feature.line))
    return tuple(made)


def _is_bound(quantity: Quantity) -> bool:
    return quantity.bound in ("at_most", "at_least") and quantity.kind in ("time", "rate", "share")


def _from_text(number: int, text: str, category: str, source: str, line: int) -> NonFunctionalRequirement:
    quantities = find_quantities(text, line) if category in _MEASURE_KINDS else ()
    return NonFunctionalRequirement(
        id=f"NFR-{number}",
        category=category,
        statement=text if text.endswith((".", "?", "!")) else f"{text}.",
        measure="; ".join(quantity.phrase for quantity in quantities),
        verification=_VERIFICATION.get(category, "Review against the brief."),
        source=source,
        line=line,
    )


def make_requirements(
    stories: Sequence[UserStory], constraints: Sequence[Constraint], features: Sequence[Feature]
) -> Requirements:
    return Requirements(functional=functional(stories), non_functional=non_functional(constraints, features))
