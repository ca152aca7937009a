"""Durations and sizes in every notation that people write, each read into one number.

Durations become seconds, sizes become bytes. Every parser raises ValueError with a sentence that shows what was
found and what would be right; pydantic and the document loader turn it into a message with a position.

Duration grammar, ignoring case:
    30, 1.5, "30"                     seconds
    500ms, 10s, 10m, 1h30m, 2d        figures with units, also spelled out: "1 hour 30 minutes", 10_minutes
    PT10M, P1DT2H                     ISO 8601, without years and months
    3-5_minutes, 3m-5m                a range, only where an estimate is expected
    5_minutes_maximum                 an upper bound, read as that duration
"""

from __future__ import annotations

import math
import re

_UNIT_SECONDS = {
    "ms": 0.001,
    "millisecond": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "w": 604800.0,
    "week": 604800.0,
}
_SIZE_BYTES = {
    "b": 1,
    "byte": 1,
    "bytes": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}
_NUMBER = r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
_PLAIN = re.compile(rf"[+-]?{_NUMBER}")
_PART = re.compile(rf"({_NUMBER})[ _]?([a-z]+)")
_PARTS = re.compile(rf"{_NUMBER}[ _]?[a-z]+(?:[ _]?{_NUMBER}[ _]?[a-z]+)*")
# Two that few texts need; `re` compiles them for the first.
_ISO = rf"p(?:({_NUMBER})w)?(?:({_NUMBER})d)?(?:t(?=[0-9])(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?)?"
_ISO_SECONDS = (604800.0, 86400.0, 3600.0, 60.0, 1.0)
_RANGE = rf"({_NUMBER})([ _]?[a-z]+)?[ _]?-[ _]?({_NUMBER}[ _]?[a-z]+)"
_BOUND = re.compile(r"^(?:(?:up[ _]to|max|maximum)[ _](.+)|(.+)[ _](?:max|maximum))$")
_SIZE = re.compile(rf"({_NUMBER})[ _]?([a-z]+)")
_MAX_TEXT = 64
_FIRST_BUCKET, _BUCKET_FACTOR, _LAST_BUCKET = 1024, 4, 7


def size_bucket(size: int) -> int:
    """The bucket of a number of bytes, 0 to 7: below 1 KiB, below 4 KiB, and so on; the last is from 4 MiB up."""
    bucket, above = 0, _FIRST_BUCKET
    while size >= above and bucket < _LAST_BUCKET:
        bucket, above = bucket + 1, above * _BUCKET_FACTOR
    return bucket


def bucket_floor(bucket: int) -> int:
    """The least number of bytes of a bucket."""
    return _FIRST_BUCKET * _BUCKET_FACTOR ** (bucket - 1) if bucket else 0
_MAX_DURATION_TEXT = 800
_MAX_SECONDS = 100 * 365 * 86400.0
_MAX_BYTES = 2**53

DURATION_HINT = "write a duration such as 90, 10m, 1h30m, 10_minutes or PT10M"
ESTIMATE_HINT = "write a duration such as 10m, or a range such as 3-5_minutes"
SIZE_HINT = "write a size such as 1024, 10KB, 50MB or 64MiB"


def parse_duration(value: object) -> float:
    """Read a duration as seconds, 0 included. Raises ValueError for anything else than the grammar above."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _not_a_duration(value)
    if isinstance(value, str):
        return _bounded(_text_seconds(value), value)
    return _bounded(float(value) if abs(value) < _MAX_SECONDS * 2 else math.inf, value)


def parse_duration_range(value: object) -> tuple[float, float]:
    """Read an estimate as (low, high) seconds; a single duration gives the same figure twice."""
    if isinstance(value, str) and len(value) <= _MAX_DURATION_TEXT:
        found = re.fullmatch(_RANGE, value.strip().lower())
        if found:
            return _range_seconds(found, value)
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise ValueError(str(error).replace(DURATION_HINT, ESTIMATE_HINT)) from None
    return seconds, seconds


def parse_size(value: object) -> int:
    """Read a size as bytes. kB, MB, GB are powers of 1000; KiB, MiB, GiB powers of 1024. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _bounded_size(value, value)
    if isinstance(value, str) and len(value) <= _MAX_TEXT:
        text = value.strip().lower()
        if _PLAIN.fullmatch(text) and "." not in text:
            return _bounded_size(int(text), value)
        found = _SIZE.fullmatch(text)
        if found and found[2] in _SIZE_BYTES:
            amount = float(found[1]) * _SIZE_BYTES[found[2]]
            return _bounded_size(round(amount) if math.isfinite(amount) else _MAX_BYTES + 1, value)
    raise ValueError(f"{_shown(value)} is not a size; {SIZE_HINT}")


def format_duration(seconds: float) -> str:
    """Write seconds so that people read them easily and `parse_duration` reads them back exactly."""
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{seconds} is not a duration")
    if seconds != int(seconds):
        milliseconds = round(seconds * 1000)
        if seconds < 1 and milliseconds and milliseconds * 0.001 == seconds:
            return f"{milliseconds}ms"
        return _decimal(seconds) + "s"
    left, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    if left or not parts:
        parts.append(f"{left}s")
    return "".join(parts)


def format_range(low: float, high: float) -> str:
    """Write an estimate so that `parse_duration_range` reads it back exactly."""
    if low == high:
        return format_duration(low)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if low % size == high % size == 0:
            return f"{int(low) // size}-{int(high) // size}{unit}"
    return f"{_decimal(low)}-{_decimal(high)}s"


def _decimal(seconds: float) -> str:
    if seconds == int(seconds):
        return str(int(seconds))
    text = repr(seconds)
    return format(seconds, ".325f").rstrip("0") if "e" in text else text


def _text_seconds(value: str) -> float:
    if len(value) > _MAX_DURATION_TEXT:
        raise _not_a_duration(value)
    text = value.strip().lower()
    if text.startswith("-"):
        raise ValueError(f"{_shown(value)} is negative; {DURATION_HINT}")
    bound = _BOUND.match(text)
    if bound:
        text = bound[1] or bound[2]
    if _PLAIN.fullmatch(text):
        return float(text)
    iso = re.fullmatch(_ISO, text) if text.startswith("p") else None
    if iso and any(iso.groups()):
        return sum(float(part) * size for part, size in zip(iso.groups(), _ISO_SECONDS, strict=True) if part)
    if not _PARTS.fullmatch(text):
        raise _not_a_duration(value)
    return _sum_parts(text, value)


def _sum_parts(text: str, value: str) -> float:
    total, smallest = 0.0, math.inf
    for figure, word in _PART.findall(text):
        size = _unit_seconds(word)
        if size is None or size >= smallest:
            raise _not_a_duration(value)
        total, smallest = total + float(figure) * size, size
    return total


def _unit_seconds(word: str) -> float | None:
    if word in _UNIT_SECONDS:
        return _UNIT_SECONDS[word]
    singular = word.removesuffix("s")
    return _UNIT_SECONDS.get(singular) if len(singular) > 1 else None


def _range_seconds(found: re.Match[str], value: str) -> tuple[float, float]:
    unit = found[2] or re.sub(r"^[0-9.]+", "", found[3])
    low, high = parse_duration(f"{found[1]}{unit}"), parse_duration(found[3])
    if low > high:
        raise ValueError(f"{_shown(value)} runs backwards; write the smaller figure first")
    return low, high


def _bounded(seconds: float, value: object) -> float:
    if math.isnan(seconds) or (math.isinf(seconds) and isinstance(value, float)):
        raise _not_a_duration(value)
    if seconds < 0:
        raise ValueError(f"{_shown(value)} is negative; {DURATION_HINT}")
    if seconds > _MAX_SECONDS:
        raise ValueError(f"{_shown(value)} is longer than a hundred years; {DURATION_HINT}")
    return seconds


def _bounded_size(size: int, value: object) -> int:
    if size < 0:
        raise ValueError(f"{_shown(value)} is negative; {SIZE_HINT}")
    if size > _MAX_BYTES:
        raise ValueError(f"{_shown(value)} is larger than any store; {SIZE_HINT}")
    return size


def _not_a_duration(value: object) -> ValueError:
    return ValueError(f"{_shown(value)} is not a duration; {DURATION_HINT}")


def _shown(value: object) -> str:
    """The value as a document would show it, cut short."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of more than 77 digits"
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
    return repr(text) if isinstance(value, str) else text
