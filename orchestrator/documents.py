"""YAML and JSON text read into plain values, with the position of every one of them, and with nothing guessed.

Plain YAML loses what a message needs and keeps what it should refuse: the last of two equal keys wins, `no` becomes
false, `1:30` becomes 90, a nest of aliases becomes gigabytes. Here the events of libyaml's parser are composed by
a loop of our own that counts nodes and depth, remembers where each key and value stands, and reports what is doubtful.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from orchestrator.errors import Problem

Location = tuple[str | int, ...]
"""The way from the top of a document to a value: keys and list indexes."""

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 1_000_000
MAX_BITS = 512

_CUT = 60
_NO_LISTS = (str, bytes, bytearray, memoryview)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Place(NamedTuple):
    """Where a value stands, counted from 1, and its text as written if it is a scalar.

    `children` mirrors the value: a list of places, or a mapping from key to (line, column, place of the value).
    """

    line: int
    column: int
    text: str | None = None
    children: list[Place] | dict[str, tuple[int, int, Place]] | None = None


class Doubtful(str):
    """A scalar that YAML readers disagree about, as written: `no`, `010`, `1:30`, `2024-01-01`, `.nan`."""

    __slots__ = ()

    @property
    def is_boolean(self) -> bool:
        return self.lower() in _BOOLEAN_WORDS


_BOOLEAN_WORDS = frozenset({"yes", "no", "on", "off"})


class Document(Struct, frozen=True):
    """A value with positions. `problems` are the mistakes of the text itself; with any, `value` may be partial."""

    source: str
    value: Any
    root: Place | None = None
    problems: tuple[Problem, ...] = ()

    def position(self, location: Location, *, of_key: bool = False) -> tuple[int | None, int | None]:
        """(line, column) of the value at a location, or of its nearest ancestor; (None, None) if unknown."""
        place, at = self.root, (None, None) if self.root is None else (self.root.line, self.root.column)
        for index, part in enumerate(location):
            step = _descend(place, part)
            if step is None:
                break
            key_at, place = step
            at = key_at if of_key and index == len(location) - 1 else (place.line, place.column)
        return at

    def text(self, location: Location) -> str | None:
        """The scalar at a location as it was written, or None."""
        place = self.root
        for part in location:
            step = _descend(place, part)
            if step is None:
                return None
            place = step[1]
        return place.text if place is not None else None

    def problem(self, location: Location, message: str, hint: str = "", *, of_key: bool = False) -> Problem:
        """A Problem about the value (or the key) at a location."""
        line, column = self.position(location, of_key=of_key)
        return Problem(dotted(location), message, hint, line, column, self.source)


def dotted(location: Location) -> str:
    """`("steps", 2, "timeout")` as `steps[2].timeout`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def load_document(path: str | Path) -> Document:
    """Read a YAML or JSON file. Never raises: whatever is wrong stands in `problems`."""
    source = str(path)
    try:
        text = _read_text(Path(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Document(source, None, problems=(Problem("", f"cannot be read: {reason}", source=source),))
    return parse_document(text, source)


def parse_document(text: str, source: str = "") -> Document:
    """Read YAML or JSON text. Never raises: whatever is wrong stands in `problems`."""
    from orchestrator.composer import compose

    return compose(text, source)


def wrap_value(value: object, source: str = "") -> Document:
    """A document around a value that was made in Python: the same limits, but without positions."""
    problems: list[Problem] = []
    budget = [MAX_NODES]
    plain = _plain(value, (), problems, budget)
    return Document(source, plain, problems=tuple(problems))


def doubtful_scalars(value: object, location: Location = ()) -> Iterator[tuple[Location, Doubtful]]:
    """Every doubtful scalar below a value, in document order."""
    if isinstance(value, Doubtful):
        yield location, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from doubtful_scalars(item, (*location, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from doubtful_scalars(item, (*location, index))


def shown(value: object) -> str:
    """A value as a message shows it: as JSON would write it, cut short."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, Mapping | list | tuple):
        return f"a {'mapping' if isinstance(value, Mapping) else 'list'} of {len(value)}"
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= _CUT else text[: _CUT - 3] + "..."
    return repr(text) if isinstance(value, str) else text


def _descend(place: Place | None, part: str | int) -> tuple[tuple[int, int], Place] | None:
    children = place.children if place is not None else None
    if isinstance(children, dict) and isinstance(part, str) and part in children:
        line, column, child = children[part]
        return (line, column), child
    if isinstance(children, list) and isinstance(part, int) and 0 <= part < len(children):
        child = children[part]
        return (child.line, child.column), child
    return None


def _read_text(path: Path) -> str:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("it is a directory, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"it has {status.st_size:,} bytes, more than the {MAX_BYTES:,} allowed")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than the {MAX_BYTES:,} bytes allowed")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"it is not UTF-8 text: byte 0x{data[error.start]:02x} in line {line}") from None


def _plain(value: Any, location: Location, problems: list[Problem], budget: list[int]) -> Any:
    budget[0] -= 1
    if len(location) > MAX_DEPTH or budget[0] < 0:
        limit = f"deeper than {MAX_DEPTH} levels" if budget[0] >= 0 else f"larger than {MAX_NODES:,} values"
        if not problems or problems[-1].message != f"the document is {limit}":
            problems.append(Problem(dotted(location[:8]), f"the document is {limit}"))
        return None
    kind = type(value)
    is_scalar = kind in (str, int, bool, float)  # spares most values the slow checks against abstract classes
    if kind is dict or (not is_scalar and isinstance(value, Mapping)):
        return _plain_mapping(value, location, problems, budget)
    if kind is list or (not is_scalar and isinstance(value, Sequence) and not isinstance(value, _NO_LISTS)):
        return [_plain(item, (*location, index), problems, budget) for index, item in enumerate(value)]
    refusal = _refusal(value)
    if refusal:
        problems.append(Problem(dotted(location), f"{refusal} cannot be written as JSON"))
        return None
    return str(value) if isinstance(value, str) else value


def _refusal(value: object) -> str:
    """What a scalar is, if it is none of JSON's, else nothing."""
    if isinstance(value, str):
        return "half a surrogate pair" if _SURROGATE.search(value) else ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"the number {value}"
    if isinstance(value, int):
        return "" if value.bit_length() <= MAX_BITS else "so large a number"
    return "" if value is None else f"a {type(value).__name__}"


def _plain_mapping(
    value: Mapping[Any, Any], location: Location, problems: list[Problem], budget: list[int]
) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            problems.append(Problem(dotted(location), f"the key {shown(key)} is no text"))
        elif budget[0] >= 0:
            plain[str(key)] = _plain(item, (*location, str(key)), problems, budget)
    return plain
