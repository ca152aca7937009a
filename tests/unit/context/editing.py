"""Random documents as agents write them, and random edits of them by path, for properties of merging."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from orchestrator.context.merge_models import ABSENT
from orchestrator.context.paths import Item, Path

KEYS = ("a", "b", "c", "title")
IDS = ("US-1", "US-2", "US-3", 4)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["", "x", "one\ntwo\nthree\n"])
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    mapping = st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    item = st.tuples(st.sampled_from(IDS), mapping).map(lambda pair: {**pair[1], "id": pair[0]})
    items = st.lists(item, max_size=4, unique_by=lambda found: str(found["id"]))
    plain = st.lists(st.one_of(st.integers(0, 4), st.sampled_from("xyz")), max_size=4)
    return st.one_of(mapping, mapping, items, plain, st.lists(inner, max_size=2))


values = st.recursive(scalars, _containers, max_leaves=10)
documents = st.dictionaries(st.sampled_from(KEYS), values, max_size=4)


@dataclass(frozen=True, slots=True)
class Edit:
    """Sets the value at a path, or deletes it with ABSENT."""

    path: Path
    value: Any

    def apply(self, document: Any) -> Any:
        """An edited copy."""
        edited = copy.deepcopy(document)
        parent = edited
        for part in self.path[:-1]:
            parent = _child(parent, part)
        last = self.path[-1]
        if isinstance(last, Item):
            index = next((at for at, item in enumerate(parent) if item[last.key] == last.value), None)
            item = None if self.value is ABSENT else {**self.value, last.key: last.value}
            if index is None and item is not None:
                parent.append(item)
            elif index is not None:
                parent[index : index + 1] = [] if item is None else [item]
        elif self.value is ABSENT:
            parent.pop(last, None)
        else:
            parent[last] = copy.deepcopy(self.value)
        return edited

    def touches(self, other: Edit) -> bool:
        """Whether one of the two paths leads through the other."""
        return all(one == two for one, two in zip(self.path, other.path, strict=False))


def _child(parent: Any, part: Any) -> Any:
    if isinstance(part, Item):
        return next(item for item in parent if item[part.key] == part.value)
    return parent[part]


def places(document: Any, path: Path = ()) -> Iterator[Path]:
    """Every path at which something stands or could be put: keys of mappings and items of identified lists."""
    if isinstance(document, dict):
        identity = {"id"} if path and isinstance(path[-1], Item) else set()
        for key in sorted({*document, *KEYS} - identity):
            yield (*path, key)
            yield from places(document.get(key), (*path, key))
    elif isinstance(document, list) and all(isinstance(item, dict) and "id" in item for item in document):
        known = {str(item["id"]) for item in document}
        if len(known) == len(document) and not any(isinstance(item["id"], bool) for item in document):
            for item in document:
                yield (*path, Item("id", item["id"]))
                yield from places(item, (*path, Item("id", item["id"])))
            yield from ((*path, Item("id", identity)) for identity in IDS if str(identity) not in known)


@st.composite
def edits_of(draw: st.DrawFn, document: Any, count: int) -> list[Edit]:
    """Edits whose paths do not touch."""
    chosen: list[Edit] = []
    for path in draw(
        st.lists(st.sampled_from(list(places(document))), min_size=count, max_size=count * 4, unique=True)
    ):
        mappings = st.dictionaries(st.sampled_from(KEYS), values, max_size=3)
        value = mappings if isinstance(path[-1], Item) else values
        edit = Edit(path, draw(st.one_of(st.just(ABSENT), value)))
        if len(chosen) < count and not any(edit.touches(other) for other in chosen):
            chosen.append(edit)
    return chosen


@st.composite
def branches(draw: st.DrawFn, sides: int = 2) -> tuple[Any, ...]:
    """A document and as many edited versions of it, which may contradict each other."""
    base = draw(documents)
    edited = []
    for _ in range(sides):
        side = base
        for _ in range(draw(st.integers(0, 3))):
            for edit in draw(edits_of(side, 1)):
                side = edit.apply(side)
        edited.append(side)
    return (base, *edited)
