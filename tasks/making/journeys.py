"""Journeys of the personas through the screens, and the components that the screens are built from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tasks.models import Component, Journey, JourneyStep, Persona, Screen, UserStory
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


def make_components(screens: Sequence[Screen], mobile: bool, offline: bool) -> tuple[Component, ...]:
    """The components that at least one screen needs, each with what it takes, its states and its accessibility."""
    return tuple(component for component in _components(screens, mobile, offline) if component.used_on)


def _components(screens: Sequence[Screen], mobile: bool, offline: bool) -> Iterator[Component]:
    def on(*kinds: str, having: str = "") -> tuple[str, ...]:
        return tuple(
            screen.id
            for screen in screens
            if screen.kind in kinds and (not having or any(having in element for element in screen.elements))
        )

    every = tuple(screen.id for screen in screens)
    yield Component(
        name="RecordCards" if mobile else "RecordTable",
        purpose="Shows many records of one kind, newest first.",
        properties=("records", "columns", "order", "on open"),
        states=("loading", "empty", "filled", "failed"),
        accessibility="A list with as many items as records; the number of hits is announced."
        if mobile
        else "A table with header cells; arrow keys move between rows, Enter opens.",
        used_on=on("list"),
    )
    yield Component(
        name="FilterBar",
        purpose="Narrows a list down.",
        properties=("fields", "values", "on change"),
        states=("open", "applied", "nothing found"),
        accessibility="Every filter has a label; a button clears them all.",
        used_on=on("list", "export", having="filter"),
    )
    yield Component(
        name="EntryForm",
        purpose="Takes the values of one record, with its checks.",
        properties=("fields", "values", "on send"),
        states=("fresh", "invalid", "sending", "sent", "failed"),
        accessibility="Labels stay visible; the first wrong field gets the focus and its message is read out.",
        used_on=on("form"),
    )
    yield Component(
        name="FilePicker",
        purpose="Takes photos or files, from the camera too.",
        properties=("most files", "largest size", "types"),
        states=("empty", "uploading", "done", "too large"),
        accessibility="Works with the keyboard; each file has a name and a button to remove it.",
        used_on=on("form", "detail", having="file picker"),
    )
    yield Component(
        name="DatePicker",
        purpose="Takes a day or a time.",
        properties=("value", "earliest", "latest"),
        states=("empty", "chosen", "out of range"),
        accessibility="Can be typed; the picker is an aid, never the only way.",
        used_on=on("form", "detail", having="picker: "),
    )
    yield Component(
        name="StatusHistory",
        purpose="Shows where a record stands and how it came there.",
        properties=("status", "changes"),
        states=("fresh", "changed", "final"),
        accessibility="States are told in words, not by colour alone.",
        used_on=on("detail"),
    )
    yield Component(
        name="ActionButton",
        purpose="Brings a record into its next state, after a question if that cannot be undone.",
        properties=("label", "question", "on confirm"),
        states=("ready", "running", "done", "not allowed"),
        accessibility="At least 44 by 44 pixels; the result is announced.",
        used_on=on("detail", "form", "export"),
    )
    yield Component(
        name="MessageList",
        purpose="Shows what was sent to this person.",
        properties=("messages", "channels"),
        states=("empty", "unread", "read", "not delivered"),
        accessibility="New messages are announced politely.",
        used_on=on("messages"),
    )
    yield Component(
        name="ConnectionNotice",
        purpose="Says that the data is old and what still waits to be sent.",
        properties=("last contact", "waiting changes"),
        states=("connected", "offline", "sending", "conflict"),
        accessibility="Announced once per change of state.",
        used_on=every if offline else (),
    )
