"""From stories to screens: one per entity and kind, every story on one of them, and the way between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from tasks.models import Action, FieldHint, Persona, Platform, Screen, UiSpec, UserStory
from tasks.reading import language
from tasks.writing import label

Kind = Literal["list", "detail", "form", "messages", "export"]

_KINDS: Final[dict[Action, Kind]] = {
    "create": "form",
    "read": "list",
    "change": "detail",
    "remove": "detail",
    "notify": "messages",
    "export": "export",
    "manage": "form",
}
_INPUTS: Final = {
    "string": "text field",
    "number": "number field",
    "integer": "number field",
    "boolean": "switch",
    "date": "date picker",
    "date-time": "date and time picker",
    "email": "e-mail field",
    "uri": "file picker",
}
_PRINCIPLES: Final[dict[Platform, tuple[str, ...]]] = {
    "mobile_first": (
        "One column; what matters next is within reach of the thumb.",
        "One question per step; what was entered survives a lost connection or an incoming call.",
        "The same pages widen for a desk; nothing exists for the large screen only.",
    ),
    "desktop_primary": (
        "List and detail stand side by side; the next record is one key away.",
        "Every action has a key, and no action needs the mouse.",
        "Dense tables with fixed heads; columns can be chosen, widths are kept.",
    ),
}


def make_ui_spec(stories: Sequence[UserStory], platform: Platform, reason: str, offline: bool) -> UiSpec:
    """All screens of the product with their navigation as a Mermaid flowchart."""
    screens = _screens(stories, platform, offline)
    principles = list(_PRINCIPLES[platform])
    if offline:
        principles.append(
            "What is on the screen says how old it is; work done without a connection is kept and marked."
        )
    return UiSpec(
        platform=platform,
        platform_reason=reason,
        principles=tuple(principles),
        screens=screens,
        navigation=_navigation(screens),
    )


def _screens(stories: Sequence[UserStory], platform: Platform, offline: bool) -> tuple[Screen, ...]:
    grouped: dict[tuple[str, Kind], list[UserStory]] = {}
    for entity in dict.fromkeys(story.entity for story in stories):
        own = [story for story in stories if story.entity == entity]
        reading = [story for story in own if _KINDS[story.action] == "list"]
        grouped[entity, "list"] = reading or own
        for story in own:
            grouped.setdefault((entity, _KINDS[story.action]), [])
            if story not in grouped[entity, _KINDS[story.action]]:
                grouped[entity, _KINDS[story.action]].append(story)
    ids = {key: f"S-{number}" for number, key in enumerate(grouped, start=1)}
    return tuple(
        Screen(
            id=ids[key],
            name=_name(*key),
            kind=key[1],
            entity=key[0],
            purpose=_purpose(own),
            stories=tuple(story.id for story in own),
            users=tuple(dict.fromkeys(story.as_a for story in own)),
            elements=_elements(*key, own, _fields(stories, key[0]), platform),
            states=_states(key[1], offline),
            leads_to=tuple(ids[other] for other in _next(*key) if other in ids),
        )
        for key, own in grouped.items()
    )


def _name(entity: str, kind: Kind) -> str:
    things = language.upper_first(language.plural(entity))
    return {
        "list": things,
        "detail": language.upper_first(entity),
        "form": f"Enter {language.article(entity)} {entity}",
        "messages": f"Messages about {language.plural(entity)}",
        "export": f"{things} as a file",
    }[kind]


def _purpose(stories: Sequence[UserStory]) -> str:
    return "; ".join(dict.fromkeys(story.title for story in stories))


def _fields(stories: Iterable[UserStory], entity: str) -> tuple[FieldHint, ...]:
    found = {field.name: field for story in stories if story.entity == entity for field in story.fields}
    return tuple(found.values())


def _elements(
    entity: str, kind: Kind, own: Sequence[UserStory], fields: Sequence[FieldHint], platform: Platform
) -> tuple[str, ...]:
    """What stands on the screen, from top to bottom."""
    names = [field.words for field in fields[:5]] or ["name"]
    if kind == "list":
        shape = "cards" if platform == "mobile_first" else "table"
        filters = [field.words for story in own if story.action == "read" for field in story.fields]
        return (
            *((f"filter by {', '.join(dict.fromkeys(filters))}",) if filters else ("search field",)),
            f"{shape} with {', '.join(names)} and status",
            "number of hits, and what to do when there are none",
        )
    if kind == "form":
        inputs = {field.name: field for story in own for field in story.fields}
        entries = [f"{_INPUTS[field.kind]}: {field.words}" for field in inputs.values()] or ["text field: name"]
        return (*entries, f"button: {own[0].title}")
    if kind == "detail":
        inputs = {field.name: field for story in own for field in story.fields}
        return (
            f"summary with {', '.join(names)}",
            "status with who changed it and when",
            *(f"{_INPUTS[field.kind]}: {field.words}" for field in inputs.values()),
            *(f"button: {story.title}" for story in own),
        )
    if kind == "messages":
        return (f"messages by date, each with a link to its {entity}", "choice of channel, and off")
    return (f"filter by {', '.join(names)}", "preview of the first rows", f"button: {own[0].title}")


def _states(kind: Kind, offline: bool) -> tuple[str, ...]:
    states = {
        "list": ("loading", "empty", "filtered to nothing", "failed"),
        "detail": ("loading", "not found", "changed by somebody else", "saved", "failed"),
        "form": ("fresh", "invalid, with the message at the field", "sending", "sent", "failed, entries kept"),
        "messages": ("empty", "unread", "read", "not delivered"),
        "export": ("ready", "preparing", "done", "failed"),
    }[kind]
    return (*states, "offline") if offline else states


def _next(entity: str, kind: Kind) -> tuple[tuple[str, Kind], ...]:
    if kind == "list":
        return (entity, "form"), (entity, "detail"), (entity, "messages"), (entity, "export")
    return ((entity, "list"),) if kind == "form" else ((entity, "detail"),) if kind == "messages" else ()


def _navigation(screens: Sequence[Screen]) -> str:
    lines = ["flowchart LR", '  home(["Start"])']
    lines += [f'  {_node(screen)}["{label(screen.name)}"]' for screen in screens]
    lines += [f"  home --> {_node(screen)}" for screen in screens if screen.kind == "list"]
    by_id = {screen.id: screen for screen in screens}
    lines += [f"  {_node(screen)} --> {_node(by_id[target])}" for screen in screens for target in screen.leads_to]
    return "\n".join(lines)


def _node(screen: Screen) -> str:
    return screen.id.replace("-", "")


def is_offline(texts: Iterable[str]) -> bool:
    """Whether any text asks for work without a connection."""
    words = (
        "offline",
        "without reception",
        "without a connection",
        "without internet",
        "synchronis",
        "synchroniz",
        "in cellars",
    )
    return any(language.mentions(text, words) for text in texts)


def persona_texts(personas: Iterable[Persona]) -> list[str]:
    return [text for persona in personas for text in (persona.description, *persona.goals, *persona.pains)]
