"""The catalogue of components, and which of them the screens of a product need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tasks.models import Component, Screen


class _Entry(Struct, frozen=True):
    """A component of the catalogue. It is used on screens of these `kinds`, if one of their elements `begins` so."""

    name: str
    purpose: str
    properties: tuple[str, ...]
    states: tuple[str, ...]
    accessibility: str
    kinds: tuple[str, ...]
    begins: str = ""


_CARDS: Final = _Entry(
    name="RecordCards",
    purpose="Shows many records of one kind, newest first.",
    properties=("records", "columns", "order", "on open"),
    states=("loading", "empty", "filled", "failed"),
    accessibility="A list with as many items as records; the number of hits is announced.",
    kinds=("list",),
)
_TABLE: Final = _Entry(
    name="RecordTable",
    purpose="Shows many records of one kind, newest first.",
    properties=("records", "columns", "order", "on open"),
    states=("loading", "empty", "filled", "failed"),
    accessibility="A table with header cells; arrow keys move between rows, Enter opens.",
    kinds=("list",),
)
_CATALOGUE: Final = (
    _Entry(
        name="FilterBar",
        purpose="Narrows a list down.",
        properties=("fields", "values", "on change"),
        states=("open", "applied", "nothing found"),
        accessibility="Every filter has a label; a button clears them all.",
        kinds=(
            "list",
            "export",
        ),
        begins="filter",
    ),
    _Entry(
        name="EntryForm",
        purpose="Takes the values of one record, with its checks.",
        properties=("fields", "values", "on send"),
        states=("fresh", "invalid", "sending", "sent", "failed"),
        accessibility="Labels stay visible; the first wrong field gets the focus and its message is read out.",
        kinds=("form",),
    ),
    _Entry(
        name="FilePicker",
        purpose="Takes photos or files, from the camera too.",
        properties=("most files", "largest size", "types"),
        states=("empty", "uploading", "done", "too large"),
        accessibility="Works with the keyboard; each file has a name and a button to remove it.",
        kinds=(
            "form",
            "detail",
        ),
        begins="file picker",
    ),
    _Entry(
        name="DatePicker",
        purpose="Takes a day or a time.",
        properties=("value", "earliest", "latest"),
        states=("empty", "chosen", "out of range"),
        accessibility="Can be typed; the picker is an aid, never the only way.",
        kinds=(
            "form",
            "detail",
        ),
        begins="date ",
    ),
    _Entry(
        name="StatusHistory",
        purpose="Shows where a record stands and how it came there.",
        properties=("status", "changes"),
        states=("fresh", "changed", "final"),
        accessibility="States are told in words, not by colour alone.",
        kinds=("detail",),
    ),
    _Entry(
        name="ActionButton",
        purpose="Brings a record into its next state, after a question if that cannot be undone.",
        properties=("label", "question", "on confirm"),
        states=("ready", "running", "done", "not allowed"),
        accessibility="At least 44 by 44 pixels; the result is announced.",
        kinds=(
            "detail",
            "form",
            "export",
        ),
    ),
    _Entry(
        name="MessageList",
        purpose="Shows what was sent to this person.",
        properties=("messages", "channels"),
        states=("empty", "unread", "read", "not delivered"),
        accessibility="New messages are announced politely.",
        kinds=("messages",),
    ),
)
_CONNECTION: Final = _Entry(
    name="ConnectionNotice",
    purpose="Says that the data is old and what still waits to be sent.",
    properties=("last contact", "waiting changes"),
    states=("connected", "offline", "sending", "conflict"),
    accessibility="Announced once per change of state.",
    kinds=("list", "detail", "form", "messages", "export"),
)


def make_components(screens: Sequence[Screen], mobile: bool, offline: bool) -> tuple[Component, ...]:
    """The components that at least one screen needs, each with the screens that use it."""
    entries = (_CARDS if mobile else _TABLE, *_CATALOGUE, *((_CONNECTION,) if offline else ()))
    made = (
        Component(
            name=entry.name,
            purpose=entry.purpose,
            properties=entry.properties,
            states=entry.states,
            accessibility=entry.accessibility,
            used_on=tuple(screen.id for screen in screens if _needs(screen, entry)),
        )
        for entry in entries
    )
    return tuple(component for component in made if component.used_on)


def _needs(screen: Screen, entry: _Entry) -> bool:
    return screen.kind in entry.kinds and any(element.startswith(entry.begins) for element in screen.elements)
