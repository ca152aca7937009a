"""libyaml's events composed into values and places, with limits. `documents` is its front."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from msgspec import Struct, field

from orchestrator.documents import MAX_BYTES, MAX_DEPTH, MAX_NODES, Document, Doubtful, Place, dotted, shown
from orchestrator.errors import Problem

_TAG = "tag:yaml.org,2002:"
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DOUBTFUL_WORDS = frozenset(
    form for word in ("yes", "no", "on", "off") for form in (word, word.capitalize(), word.upper())
)
_NUMERIC_START = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DOUBTFUL = re.compile(
    r"[-+]?0[0-9_]+(?:\.[0-9_]*)?|0[bo][0-9_]+|[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_MAX_DIGITS = 150
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_SCALAR_TAGS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}


# libyaml takes these for line breaks, as YAML 1.1 did; in YAML 1.2 and in JSON they are characters like others.
_BREAKS = re.compile("[\x85\u2028\u2029]")
_STAND_INS = re.compile("[\uf8f0-\uf8f2]")
_TO_STAND_INS = {0x85: 0xF8F0, 0x2028: 0xF8F1, 0x2029: 0xF8F2}
_TO_BREAKS = {stand_in: character for character, stand_in in _TO_STAND_INS.items()}


class _Stop(Exception):
    """The text cannot be read any further; the problem has been noted."""


class _Frame(Struct):
    """A mapping or list that is being filled."""

    value: Any
    children: Any
    place: Place
    anchor: str | None
    first_node: int
    key: str | None = None
    key_at: tuple[int, int] = (0, 0)
    awaits_value: bool = False
    merges: list[tuple[Any, Place]] = field(default_factory=list)


class _Anchored(Struct):
    value: Any
    place: Place
    nodes: int
    depth: int


def compose(text: str, source: str) -> Document:
    """Read one YAML document. Whatever is wrong stands in the document's `problems`."""
    composer = _Composer(source)
    try:
        composer.read(text)
    except _Stop:
        pass
    except yaml.YAMLError as error:
        composer.note_syntax(error)
    return Document(source, composer.value, composer.root, tuple(composer.problems))


class _Composer:
    def __init__(self, source: str) -> None:
        self.source = source
        self.value: Any = None
        self.root: Place | None = None
        self.problems: list[Problem] = []
        self.stack: list[_Frame] = []
        self.anchors: dict[str, _Anchored | None] = {}
        self.nodes = 0
        self.documents = 0
        self.breaks = False

    def read(self, text: str) -> None:
        text = self._prepared(text)
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event, is_mapping=kind is yaml.MappingStartEvent)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                self.documents += 1
                if self.documents > 1:
                    self._stop(event, "a second document begins here", "one file holds one document; remove the `---`")

    def _prepared(self, text: str) -> str:
        text = text.removeprefix("\ufeff")
        if len(text) > MAX_BYTES:
            self.problems.append(Problem("", f"the text is longer than {MAX_BYTES:,} characters", source=self.source))
            raise _Stop
        lone = re.search(r"[\ud800-\udfff]", text)
        if lone:
            line = text.count("\n", 0, lone.start()) + 1
            self.problems.append(Problem("", "half a surrogate pair is no text", line=line, source=self.source))
            raise _Stop
        if _BREAKS.search(text) and not _STAND_INS.search(text):
            self.breaks = True
            text = text.translate(_TO_STAND_INS)
        # JSON writes characters beyond U+FFFF as two escapes, which libyaml refuses.
        return _SURROGATES.sub(_joined_surrogates, text) if "\\u" in text else text

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        if self.breaks:
            event.value = event.value.translate(_TO_BREAKS)
        text = event.value
        value: Any = text
        if event.tag is not None and event.tag != "!":
            value = self._tagged(event)
        elif event.implicit[0]:
            value = self._resolved(event)
        self._count(event, 1)
        place = Place(mark.line + 1, mark.column + 1, text)
        if event.anchor is not None:
            self._note_anchor(event.anchor, value, place, 1)
        self._add(value, place, merge=text == "<<" and event.implicit[0])

    def _resolved(self, event: Any) -> Any:
        text = event.value
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text in _DOUBTFUL_WORDS:
            return Doubtful(text)
        return self._number(event, text) if text[0] in _NUMERIC_START else text

    def _number(self, event: Any, text: str) -> Any:
        is_integer = _INTEGER.fullmatch(text)
        if not is_integer and not _FLOAT.fullmatch(text):
            return Doubtful(text) if _DOUBTFUL.fullmatch(text) else text
        if len(text) > _MAX_DIGITS or (not is_integer and math.isinf(float(text))):
            self._note(event, f"the number {shown(text)} is too large", "put it in quotes if a text is meant")
            return 0
        return int(text, 16 if text.startswith("0x") else 10) if is_integer else float(text)

    def _tagged(self, event: Any) -> Any:
        name = event.tag.removeprefix(_TAG)
        if event.tag.startswith(_TAG) and name == "str":
            return event.value
        if event.tag.startswith(_TAG) and name in _SCALAR_TAGS:
            value = self._resolved(event)
            if type(value) in _SCALAR_TAGS[name]:
                return value
            self._note(event, f"{shown(event.value)} is no {name}", f"remove the tag !!{name}")
            return None
        self._refuse_tag(event)
        return event.value

    def _refuse_tag(self, event: Any) -> None:
        tag = "!!" + event.tag.removeprefix(_TAG) if event.tag.startswith(_TAG) else event.tag
        self._note(event, f"the tag {shown(tag)} is not accepted", "remove the tag; only plain values are read")

    def _open(self, event: Any, *, is_mapping: bool) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self._stop(event, f"the document is deeper than {MAX_DEPTH} levels", "flatten it")
        if event.tag is not None and event.tag not in (_TAG + "map", _TAG + "seq", "!"):
            self._refuse_tag(event)
        self._count(event, 1)
        mark = event.start_mark
        children: Any = {} if is_mapping else []
        place = Place(mark.line + 1, mark.column + 1, None, children)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.stack.append(_Frame({} if is_mapping else [], children, place, event.anchor, self.nodes))

    def _close(self) -> None:
        frame = self.stack.pop()
        for value, place in frame.merges:
            self._merge(frame, value, place)
        if frame.anchor is not None:
            self._note_anchor(frame.anchor, frame.value, frame.place, self.nodes - frame.first_node + 1)
        self._add(frame.value, frame.place)

    def _alias(self, event: Any) -> None:
        anchored = self.anchors.get(event.anchor)
        if anchored is None:
            known = event.anchor in self.anchors
            self._stop(event, f"the alias *{event.anchor} {'contains itself' if known else 'names no anchor'}", "")
            return
        self._count(event, anchored.nodes)
        if len(self.stack) + anchored.depth > MAX_DEPTH:
            self._stop(event, f"the document is deeper than {MAX_DEPTH} levels", "flatten it")
        self._add(anchored.value, anchored.place)

    def _note_anchor(self, anchor: str, value: Any, place: Place, nodes: int) -> None:
        self.anchors[anchor] = _Anchored(value, place, nodes, _depth(value))

    def _add(self, value: Any, place: Place, merge: bool = False) -> None:
        if not self.stack:
            self.value, self.root = value, place
            return
        frame = self.stack[-1]
        if type(frame.value) is list:
            frame.value.append(value)
            frame.children.append(place)
        elif frame.awaits_value:
            self._add_item(frame, value, place)
        else:
            self._begin_item(frame, value, place, merge)

    def _begin_item(self, frame: _Frame, key: Any, place: Place, merge: bool) -> None:
        frame.awaits_value, frame.key, frame.key_at = True, None, (place.line, place.column)
        if merge:
            frame.key = "<<"
            return
        if type(key) is not str:
            written = place.text if place.text is not None else shown(key)
            self._note_at(place, f"the key {written} is no text", "put it in quotes")
        elif key in frame.value:
            line, column, _ = frame.children[key]
            message = f"the key '{key}' stands here twice, first in line {line}, column {column}"
            self._note_at(place, message, "remove one of them", key)
        else:
            frame.key = key
            frame.value[key] = None

    def _add_item(self, frame: _Frame, value: Any, place: Place) -> None:
        frame.awaits_value = False
        key = frame.key
        if key is None:
            return
        if key == "<<" and key not in frame.value:
            frame.merges.append((value, place))
            return
        frame.value[key] = value
        frame.children[key] = (*frame.key_at, place)

    def _merge(self, frame: _Frame, value: Any, place: Place) -> None:
        parts: list[tuple[Any, Any]] = [(value, place.children)]
        if type(value) is list:
            children: Any = place.children
            parts = [(item, child.children) for item, child in zip(value, children, strict=True)]
        for mapping, places in parts:
            if type(mapping) is not dict:
                self._note_at(place, "`<<` merges mappings only", "give it an alias of a mapping")
                return
            self.nodes += len(mapping)
            for key, item in mapping.items():
                if key not in frame.value and key in places:
                    frame.value[key] = item
                    frame.children[key] = places[key]

    def _count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self._stop(
                event, f"the document has more than {MAX_NODES:,} values, aliases counted as what they stand for", ""
            )

    def note_syntax(self, error: yaml.YAMLError) -> None:
        """A text that is no YAML at all."""
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        message = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
        context = getattr(error, "context", None)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        text = f"this is no YAML: {message}" + (f" {context}" if context else "")
        self.problems.append(Problem(self._dotted(), text, "", line, column, self.source))

    def _dotted(self, last: str | None = None) -> str:
        parts: list[str | int] = []
        for frame in self.stack:
            if type(frame.value) is list:
                parts.append(len(frame.value))
            elif frame.awaits_value and frame.key is not None:
                parts.append(frame.key)
        return dotted((*parts, last) if last is not None else tuple(parts))

    def _note_at(self, place: Place, message: str, hint: str, key: str | None = None) -> None:
        self.problems.append(Problem(self._dotted(key), message, hint, place.line, place.column, self.source))

    def _note(self, event: Any, message: str, hint: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(self._dotted(), message, hint, mark.line + 1, mark.column + 1, self.source))

    def _stop(self, event: Any, message: str, hint: str) -> None:
        self._note(event, message, hint)
        raise _Stop


def _depth(value: Any) -> int:
    """Levels of containers in a value; bounded, because it was itself composed below the cap."""
    if type(value) is dict:
        return 1 + max(map(_depth, value.values()), default=0)
    if type(value) is list:
        return 1 + max(map(_depth, value), default=0)
    return 0


def _joined_surrogates(found: re.Match[str]) -> str:
    high, low = int(found[2], 16), int(found[3], 16)
    return found[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
