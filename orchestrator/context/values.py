"""Values of the context: JSON documents in the one text that RFC 8785 gives them, refused when they are anything else.

Equal values have equal texts whoever wrote them, so that a hash of the text tells whether anything changed. Keys are
sorted, and numbers are written as ECMAScript does: 1.0 is stored as 1, -0.0 as 0, 1e-05 as 1e-5. What is read from the
context can always be written back.

Refused, with the place inside the value: NaN and infinity; integers that a JSON number (a double) cannot hold exactly,
so nearly all beyond ±2^53; lone surrogates; keys that are no text, hold NUL or have more than 1,024 characters; bytes,
sets, dates and other objects; nesting beyond 100 levels, which covers a value inside itself. Tuples are lists, and a
pydantic model is dumped in JSON mode under its aliases.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from orchestrator.context.normal import LARGEST_INTEGER, MAX_DEPTH, MAX_KEY, Normal
from orchestrator.errors import InvalidValue

# What is encoded was seen to end, so that looking out for cycles is left out.
_dumps = json.JSONEncoder(
    allow_nan=False, sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False
).encode


def canonical(value: Any, *, limit: int, what: str) -> str:
    """The canonical JSON text of a value.

    Raises InvalidValue, naming `what` and the place inside it, for values that are no JSON document or whose text
    exceeds `limit` bytes in UTF-8.
    """
    # json.dumps is seven times as fast as rfc8785, and writes the same text for a value that `_is_plain` passes.
    text = _dumps(value) if _is_plain(value, limit) else _slowly(value, limit, what)
    if not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            return _slowly(value, limit, what)
    else:
        size = len(text)
    if size > limit:
        raise InvalidValue(f"{what} has {size:,} bytes; at most {limit:,} are kept in the context{_largest(value)}")
    return text


encode = canonical
"""The name under which agents' results are encoded."""


def content_hash(text: str) -> str:
    """The hash of a canonical text: BLAKE2b, 16 bytes, as 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values have the same canonical text. Other than for ==, True is not 1."""
    if one is other:
        return True
    if one != other:
        return False
    return _dumps(one) == _dumps(other) or _same_types(one, other)


def _same_types(one: Any, other: Any) -> bool:
    """Equal values that differ in 1 and 1.0, or in 1 and True, at some place."""
    if isinstance(one, Mapping):
        return all(_same_types(item, other[key]) for key, item in one.items())
    if isinstance(one, list | tuple):
        return all(map(_same_types, one, other))
    return isinstance(one, bool) == isinstance(other, bool)


def _slowly(value: Any, limit: int, what: str) -> str:
    normal = Normal(limit, what)
    tree = normal.read(value)
    return rfc8785.dumps(tree).decode() if normal.odd else _dumps(tree)


def _is_plain(value: Any, limit: int) -> bool:
    """Whether json.dumps writes the value as RFC 8785 wants it: exact JSON types, texts as keys whose order by code
    points is that by UTF-16 units, integers within ±2^53, fractions that Python and ECMAScript write alike.

    Goes level by level and stops where the text must exceed `limit`, so that no cycle and no bomb of shared parts is
    followed. What is left open are lone surrogates: encoding the text finds them.
    """
    level, left = [value], limit
    for _ in range(MAX_DEPTH):
        left -= len(level)
        if not level or left < 0:
            break
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                left -= len(item)
            elif kind is dict:
                if (characters := _plain_keys(item)) < 0:
                    return False
                left -= characters
                below += item.values()
            elif kind is list:
                below += item
            elif kind is int or kind is float:
                if not _plain_number(item):
                    return False
            elif item is not None and kind is not bool:
                return False
        level = below
    return not level and left >= 0


def _plain_keys(value: dict[Any, Any]) -> int:
    """The characters of all keys together, or -1 if one of them needs a closer look."""
    try:
        keys = "".join(value)
    except TypeError:
        return -1
    if not keys.isascii() or "\0" in keys or (len(keys) > MAX_KEY and max(map(len, value)) > MAX_KEY):
        return -1
    return len(keys)


def _plain_number(number: int | float) -> bool:
    if isinstance(number, int):
        return -LARGEST_INTEGER <= number <= LARGEST_INTEGER
    return 1e-4 <= abs(number) <= LARGEST_INTEGER and not number.is_integer()


def _largest(value: Any) -> str:
    if not isinstance(value, Mapping) or len(value) < 2:
        return ""
    sizes = {key: len(json.dumps(item, default=str, ensure_ascii=False)) for key, item in value.items()}
    key = max(sizes, key=lambda name: sizes[name])
    return f"; the largest part is '{key}'"
