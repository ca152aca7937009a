"""Durations and sizes: every accepted notation, every refused one, and reading back what was written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.units import format_duration, format_range, parse_duration, parse_duration_range, parse_size

DURATIONS = [
    (0, 0),
    (90, 90),
    (1.5, 1.5),
    ("90", 90),
    ("0.25", 0.25),
    ("500ms", 0.5),
    ("10s", 10),
    ("10m", 600),
    ("10 minutes", 600),
    ("10_minutes", 600),
    ("10_MINUTES", 600),
    (" 1_minute ", 60),
    ("1_hour", 3600),
    ("1h30m", 5400),
    ("1 hour 30 minutes", 5400),
    ("1.5h", 5400),
    ("2d", 172800),
    ("1w", 604800),
    ("PT10M", 600),
    ("pt1.5s", 1.5),
    ("P1DT2H", 93600),
    ("P1W", 604800),
    ("5_minutes_maximum", 300),
    ("5m max", 300),
    ("up to 5 minutes", 300),
]


@pytest.mark.parametrize(("written", "seconds"), DURATIONS)
def test_a_duration_in_every_notation(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


NO_DURATIONS: list[object] = [
    *[True, False, None, [], {}, b"10m", math.nan, math.inf, -math.inf, -1, "-5m", "-5", 10**400, "9" * 1000],
    *["", " ", "no", "1:30", "010", "1e3", "0x10", "10x", "10mm", "5ss", "m", "minutes", "1h1h", "30m1h", "1.h"],
    *["P", "PT", "P1M", "P1Y", "T1M", "3-5_minutes", "session_lifetime", "101_years", "40000d", "10m\n20m", "１０m"],
]


@pytest.mark.parametrize("written", NO_DURATIONS, ids=lambda value: repr(value)[:20])
def test_what_is_no_duration_is_refused_with_what_would_be_right(written: object) -> None:
    with pytest.raises(ValueError, match="write a duration such as"):
        parse_duration(written)


@pytest.mark.parametrize("written", ["1:30", "no", "010"])
def test_the_message_shows_the_text_as_it_was_written(written: str) -> None:
    with pytest.raises(ValueError, match=f"^'{written}' is not a duration; "):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "low", "high"),
    [
        ("3-5_minutes", 180, 300),
        ("3m-5m", 180, 300),
        ("30s-2m", 30, 120),
        ("3 - 5 minutes", 180, 300),
        ("0.5-1h", 1800, 3600),
        ("10m", 600, 600),
        (7, 7, 7),
    ],
)
def test_an_estimate_may_be_a_range(written: object, low: float, high: float) -> None:
    assert parse_duration_range(written) == (low, high)


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="runs backwards"):
        parse_duration_range("5-3_minutes")


@pytest.mark.parametrize("written", ["3-5", "a-b", "3-5-7m", True, None, "-3m"])
def test_what_is_no_estimate_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"3-5_minutes"):
        parse_duration_range(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        (1024, 1024),
        ("1024", 1024),
        ("10KB", 10_000),
        ("10 kb", 10_000),
        ("50MB", 50_000_000),
        ("64MiB", 64 * 1024**2),
        ("1.5GB", 1_500_000_000),
        ("12_bytes", 12),
    ],
)
def test_a_size_in_every_notation(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", [True, None, -1, 1.5, "", "10.5", "10XB", "010", "MB", "-1MB", "9" * 50, 2**60])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="write a size such as"):
        parse_size(written)


@given(st.floats(min_value=0, max_value=3e9) | st.integers(min_value=0, max_value=3_000_000_000).map(float))
def test_a_written_duration_reads_back_exactly(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)) | st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)))
def test_a_written_range_reads_back_exactly(ends: tuple[float, float]) -> None:
    low, high = float(min(ends)), float(max(ends))
    assert parse_duration_range(format_range(low, high)) == (low, high)


@given(st.text() | st.text(alphabet="0123456789hmsdwPT.-_ ") | st.integers() | st.floats() | st.none() | st.booleans())
def test_whatever_is_given_is_a_duration_or_a_value_error(value: object) -> None:
    for parse in (parse_duration, parse_duration_range, parse_size):
        try:
            parsed = parse(value)
        except ValueError:
            continue
        figures = parsed if isinstance(parsed, tuple) else (parsed,)
        assert all(math.isfinite(figure) and figure >= 0 for figure in figures)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_what_is_no_duration_cannot_be_written(seconds: float) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        format_duration(seconds)
