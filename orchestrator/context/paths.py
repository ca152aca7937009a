"""Where a value stands inside a document: names, list indexes, and list items known by an identity of theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_SHOWN_PARTS = 12


class Item(Struct, frozen=True):
    """The item of a list whose `key` has this value, such as `[id=US-1]`; it is found wherever it stands."""

    key: str
    value: str | int


Part = str | int | Item
Path = tuple[Part, ...]
"""From the outside to the inside. A str is a key, an int an index."""


def show(path: Sequence[Part]) -> str:
    """A path for people: `screens[2].title`, `stories[id=US-1].points`, `paths["/users/{id}"]`. Long ones are cut."""
    cut = len(path) > _SHOWN_PARTS
    text = ""
    for part in path[:_SHOWN_PARTS]:
        if isinstance(part, Item):
            text += f"[{part.key}={_short(str(part.value))}]"
        elif isinstance(part, int):
            text += f"[{part}]"
        elif _NAME.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(_short(part))}]"
    return f"{text}…" if cut else text


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def path_to_json(path: Sequence[Part]) -> list[Any]:
    """`["stories", {"key": "id", "value": "US-1"}, "points"]`."""
    return [{"key": part.key, "value": part.value} if isinstance(part, Item) else part for part in path]


def path_from_json(parts: Sequence[Any]) -> Path:
    """The inverse of `path_to_json`."""
    return tuple(Item(part["key"], part["value"]) if isinstance(part, Mapping) else part for part in parts)
