"""A value made plain: the careful reading, for what json.dumps would write in another way, or what is no JSON."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
from collections.abc import Iterable, Mapping, Set
from typing import Any

import rfc8785
from pydantic import BaseModel

from orchestrator.context.paths import Part, show
from orchestrator.errors import InvalidValue

MAX_DEPTH = 100
"""Levels of lists and mappings."""
MAX_KEY = 1024
"""Characters of one key."""
LARGEST_INTEGER = 2**53 - 1
"""Up to here doubles hold every integer."""

_HINTS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((bytes, bytearray, memoryview), "decode them to a text, or keep them as an artifact"),
    (Set, "write a sorted list"),
    ((datetime.date, datetime.time), "write its isoformat()"),
    (datetime.timedelta, "write its total_seconds()"),
    (decimal.Decimal, "write a float or a text"),
    (enum.Enum, "write its value"),
    (BaseException, "write its text"),
)


class _Refused(Exception):
    """What is wrong with a part; the containers around it add where it stands while the error passes them."""

    def __init__(self, complaint: str) -> None:
        self.complaint = complaint
        self.inside_out: list[Part] = []


class Normal:
    """Reads one value. `odd` tells afterwards whether json.dumps would still write it other than RFC 8785."""

    def __init__(self, limit: int, what: str) -> None:
        self.odd = False
        self._limit = limit
        self._left = limit
        self._what = what

    def read(self, value: Any) -> Any:
        """The value in exact JSON types; parts that stand at several places are copied. Raises InvalidValue."""
        try:
            return self._read(value, 0)
        except _Refused as refused:
            place = show(refused.inside_out[::-1])
            where = f"'{place}'" if place else "it"
            raise InvalidValue(f"{self._what} is no JSON document: {where} {refused.complaint}") from refused.__cause__

    def _read(self, value: Any, depth: int) -> Any:
        self._spend(1)
        if isinstance(value, str):
            return self._text(value, "holds")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return self._integer(int(value)) if isinstance(value, int) else self._number(float(value))
        if depth >= MAX_DEPTH:
            raise _Refused(f"is nested deeper than {MAX_DEPTH} levels, or holds itself")
        if isinstance(value, Mapping):
            return self._mapping(value, depth + 1)
        if isinstance(value, list | tuple):
            return self._list(value, depth + 1)
        if isinstance(value, BaseModel):
            return self._read(_dumped(value), depth + 1)
        raise _Refused(_no_json(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        found = {}
        for key, item in value.items():
            name = self._key(key)
            try:
                found[name] = self._read(item, depth)
            except _Refused as refused:
                refused.inside_out.append(name)
                raise
        return found

    def _list(self, value: Iterable[Any], depth: int) -> list[Any]:
        found: list[Any] = []
        try:
            for item in value:
                found.append(self._read(item, depth))
        except _Refused as refused:
            refused.inside_out.append(len(found))
            raise
        return found

    def _spend(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise _Refused(f"goes beyond the {self._limit:,} bytes that are kept in the context")

    def _text(self, value: str, holds: str) -> str:
        self._spend(len(value))
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                unit = f"U+{ord(value[error.start]):04X}"
                raise _Refused(f"{holds} the lone surrogate {unit}, which is no Unicode text") from error
        return str.__str__(value)

    def _key(self, key: Any) -> str:
        if not isinstance(key, str):
            raise _Refused(f"has the key {key!r:.60}, which is no text; write it in quotes")
        if len(key) > MAX_KEY:
            raise _Refused(f"has a key of {len(key):,} characters; at most {MAX_KEY:,} are allowed")
        if "\0" in key:
            raise _Refused(f"has the key {key!r:.60}, which holds NUL")
        # Python sorts by code point, RFC 8785 by UTF-16 unit; they differ beyond the basic plane only.
        self.odd = self.odd or (not key.isascii() and max(key) > "\uffff")
        return self._text(key, "has a key with")

    def _integer(self, value: int) -> int | float:
        if abs(value) <= LARGEST_INTEGER:
            return value
        # Doubles from 2^53 to 1e21 are written as integers, and such a text is read as an integer again.
        if abs(value) < 10**21 and rfc8785.dumps(float(value)) == str(value).encode():
            self.odd = True
            return float(value)
        shown = str(value) if value.bit_length() < 200 else f"of {value.bit_length():,} bits"
        raise _Refused(f"is the integer {shown}, which a JSON number cannot hold exactly; write it as a text")

    def _number(self, value: float) -> int | float:
        if not math.isfinite(value):
            raise _Refused(f"is {value}, which is no JSON number; write null or leave it out")
        if value.is_integer() and abs(value) <= LARGEST_INTEGER:
            return int(value)
        self.odd = self.odd or not 1e-4 <= abs(value) <= LARGEST_INTEGER
        return value


def _dumped(model: BaseModel) -> Any:
    try:
        return model.model_dump(mode="json", by_alias=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise _Refused(f"is a {type(model).__name__} that cannot be dumped: {error}") from error


def _no_json(value: Any) -> str:
    name = type(value).__name__
    hints = (hint for kinds, hint in _HINTS if isinstance(value, kinds))
    hint = next(hints, "write plain dicts, lists, texts and numbers")
    if dataclasses.is_dataclass(value):
        hint = "write dataclasses.asdict(...)"
    return f"is of the type {name}, which JSON does not know; {hint}"
