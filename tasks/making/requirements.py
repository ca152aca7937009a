"""From stories to functional requirements, and from constraints and quantities to non-functional ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tasks.making.criteria import listing
from tasks.making.stories import SYSTEM
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
    "process time": "Take the time from event to event over a month of real use.",
    "accessibility": "Automatic check of every page in CI; walk-through with keyboard and screen reader.",
    "offline use": "Cut the connection in the middle of the work, restore it, compare both sides.",
    "integration": "Contract test against a recorded exchange, and one rehearsal with the real system.",
    "hosting": "Look at the deployment: where it runs, and who can reach it.",
    "data": "Look at the deployment; restore a backup into an empty system.",
    "platform": "Run the acceptance criteria on the stated devices.",
    "language": "Every text of the interface exists in every stated language.",
    "maintenance": "Someone of the maintaining team makes a small change alone.",
}
_MEASURE_KINDS: Final = frozenset(
    ("performance", "availability", "capacity", "retention", "offline use", "process time")
)


def functional(stories: Sequence[UserStory], features: Sequence[Feature]) -> tuple[FunctionalRequirement, ...]:
    """One requirement per story, numbered like it."""
    wishes = {feature.id: feature.wish for feature in features}
    return tuple(
        FunctionalRequirement(
            id=f"FR-{number}",
            statement=_statement(story, wishes[story.feature]),
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


def _statement(story: UserStory, wish: str) -> str:
    duty = {"must": "shall", "should": "should", "could": "may", "wont": "will not for now"}[story.priority]
    if wish.startswith(SYSTEM):
        return f"The system {duty} {wish.removeprefix(SYSTEM)}."
    if story.action == "notify" and not wish.startswith(("get ", "receive ")):
        return f"The system {duty} {wish}."
    names = [field.words for field in story.fields]
    missing = names and not all(name.split()[-1][:4] in wish for name in names)
    fields = f", {'by' if story.action in ('read', 'export') else 'with'} {listing(names)}" if missing else ""
    return f"The system {duty} let {language.article(story.as_a)} {story.as_a} {wish}{fields}."


def non_functional(
    constraints: Sequence[Constraint], features: Sequence[Feature]
) -> tuple[NonFunctionalRequirement, ...]:
    """One per technical constraint, and one per bound on time or number inside a feature."""
    made: list[NonFunctionalRequirement] = []
    for constraint in constraints:
        if constraint.technical:
            made.append(_from_text(len(made) + 1, constraint.text, constraint.category, constraint.id, constraint.line))
    for feature in features:
        for sentence in dict.fromkeys(language.sentences(f"{feature.title}. {feature.description}")):
            bounds = [one for one in find_quantities(sentence, feature.line) if _is_bound(one)]
            if bounds:
                category = _bound_category(bounds[0], sentence)
                made.append(_from_text(len(made) + 1, sentence, category, feature.id, feature.line))
    return tuple(made)


def _bound_category(quantity: Quantity, sentence: str) -> str:
    """What a machine does is measured in seconds; what takes longer is how people work with it."""
    if quantity.kind != "time":
        return constraint_category(sentence)
    return "performance" if quantity.unit in ("milliseconds", "seconds") else "process time"


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
    return Requirements(functional=functional(stories, features), non_functional=non_functional(constraints, features))
