"""Items of a mapped step as chunks hold them: packed JSON, in which each value is a canonical text of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from orchestrator.context.codec import pack, unpack
from orchestrator.context.store import MAX_VALUE_BYTES

CHUNK_BYTES = 16 * MAX_VALUE_BYTES
"""A chunk unfolds to so much at most: what its values may have is bounded one by one."""


class Item(Struct, frozen=True):
    """An item at its place among all items. `text` is its value as canonical JSON."""

    place: int
    text: str

    @property
    def value(self) -> Any:
        return json.loads(self.text)


class Failure(Struct, frozen=True):
    """An item that failed: what it was, the error as `Type: message`, why it is not tried again, after how many
    attempts."""

    item: Item
    error: str
    reason: str
    attempts: int


class Part(Struct):
    """How far a chunk is: `done` maps places to results (None: filtered out), `tries` to attempts that failed; the
    item `at` was begun when this was stored, -1 for none. `before`: attempts that count no more."""

    done: dict[int, str | None] = field(default_factory=dict)
    failed: dict[int, Failure] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    at: int = -1
    before: dict[int, int] = field(default_factory=dict)

    def packed(self) -> bytes:
        failed = [(f.item.place, f.item.text, f.error, f.reason, f.attempts) for f in self.failed.values()]
        return pack(json.dumps([list(self.done.items()), failed, list(self.tries.items()), self.at]))

    @classmethod
    def of(cls, packed: bytes) -> Part:
        if not packed:
            return cls()
        done, failed, tries, at = json.loads(unpack(packed, "chunk", limit=CHUNK_BYTES))
        return cls(
            dict(done),
            {place: Failure(Item(place, text), *rest) for place, text, *rest in failed},
            dict(tries),
            at,
        )


def pack_items(items: Sequence[Item], failures: Sequence[Failure] = ()) -> bytes:
    """Items, and what is to be said of those that failed."""
    places = [item.place for item in items]
    told = [[one.error, one.reason, one.attempts] for one in failures]
    inner = ",".join(item.text for item in items)
    return pack(f'{{"p":{json.dumps(places)},"v":[{inner}],"e":{json.dumps(told)}}}')


def unpack_items(packed: bytes) -> list[Item]:
    """What `pack_items` made of items."""
    return [item for item, _ in _rows(packed)]


def unpack_failures(packed: bytes) -> list[Failure]:
    """What `pack_items` made of failures; nothing of items that have not failed."""
    return [Failure(item, *told) for item, told in _rows(packed) if told]


def _rows(packed: bytes) -> Iterable[tuple[Item, Sequence[Any]]]:
    document: Mapping[str, Any] = json.loads(unpack(packed, "chunk", limit=CHUNK_BYTES))
    told = document["e"] or [()] * len(document["p"])
    for place, value, more in zip(document["p"], document["v"], told, strict=True):
        yield Item(place, _text(value)), more


_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
