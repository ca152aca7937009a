"""Journeys of the personas through the screens: Mermaid diagrams, and a step per story."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tasks.models import Journey, JourneyStep, Persona, Screen, UserStory
from tasks.reading import language
from tasks.writing import label

_ORDER: Final = {"create": 0, "manage": 0, "read": 1, "change": 2, "notify": 3, "export": 4, "remove": 5}


def make_journeys(
    personas: Sequence[Persona], stories: Sequence[UserStory], screens: Sequence[Screen]
) -> tuple[Journey, ...]:
    """A journey per persona that has stories: in the order in which things come into being, are seen and change."""
    return tuple(_journey(persona, stories, screens) for persona in personas if persona.stories)


def _journey(persona: Persona, stories: Sequence[UserStory], screens: Sequence[Screen]) -> Journey:
    own = [story for story in stories if story.id in persona.stories]
    entities = list(dict.fromkeys(story.entity for story in own))
    own.sort(key=lambda story: (entities.index(story.entity), _ORDER[story.action]))
    steps = tuple(
        JourneyStep(story=story.id, screen=screen.name, text=story.title, ease=_ease(story))
        for story in own
        if (screen := screen_of(story, screens)) is not None
    )
    title = f"A day with {', '.join(language.plural(entity) for entity in entities[:3])}"
    return Journey(
        persona=persona.id, role=persona.role, title=title, steps=steps, diagram=_diagram(persona, title, own)
    )


def screen_of(story: UserStory, screens: Sequence[Screen]) -> Screen | None:
    """The screen on which a story happens: the narrowest that names it."""
    naming = [screen for screen in screens if story.id in screen.stories]
    return min(
        naming, key=lambda screen: (screen.kind == "list" and story.action != "read", len(screen.stories)), default=None
    )


def _ease(story: UserStory) -> int:
    """How easy the step is expected to be, 5 at best: minus 1 for entering data, minus 1 for more than three entries,
    minus 1 when it needs somebody else to act first."""
    enters = story.action in ("create", "manage", "change")
    return 5 - enters - (enters and len(story.fields) > 3) - (story.action == "notify")


def _diagram(persona: Persona, title: str, stories: Sequence[UserStory]) -> str:
    lines = ["journey", f"  title {label(persona.role.capitalize())}: {label(title)}"]
    section = ""
    for story in stories:
        if story.entity != section:
            section = story.entity
            lines.append(f"  section {label(language.upper_first(language.plural(section)))}")
        lines.append(f"    {label(story.title)}: {_ease(story)}: {label(persona.role)}")
    return "\n".join(lines)
