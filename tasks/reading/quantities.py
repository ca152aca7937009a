"""Numbers with units in running text: "within 4 hours", "2,400 tenants", "99.5 %", "€ 60,000"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from tasks.models import Quantity
from tasks.reading import language, lexicon

_NUMBER: Final = r"\d{1,3}(?:[, \u00a0\u202f]\d{3})+(?![\d])|\d+(?:\.\d+)?"
_QUANTITY: Final = (
    rf"(?i)(?P<money>[€$£]|\b(?:EUR|USD|GBP|CHF))?\s?(?<![\w.,-])(?P<number>{_NUMBER})"
    r"(?:\s?(?P<scale>k|m|bn|thousand|million)\b)?(?:\s?[-–]\s?|\s?)(?P<unit>%|[€$£]|[A-Za-z][A-Za-z-]*)?"
    r"(?:\s(?P<next>(?!(?:an?|per|each|every)\b)[A-Za-z][A-Za-z-]*))?(?P<per>\s?(?:/|per |a |an |each |every )\s?"
    r"(?:second|minute|hour|day|week|month|year|season|night)\b)?"
)
_UNITS: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), ("time", "milliseconds")),
    **dict.fromkeys(("s", "sec", "second", "seconds"), ("time", "seconds")),
    **dict.fromkeys(("min", "minute", "minutes"), ("time", "minutes")),
    **dict.fromkeys(("h", "hour", "hours"), ("time", "hours")),
    **dict.fromkeys(("day", "days"), ("time", "days")),
    **dict.fromkeys(("week", "weeks"), ("time", "weeks")),
    **dict.fromkeys(("month", "months"), ("time", "months")),
    **dict.fromkeys(("year", "years"), ("time", "years")),
    **dict.fromkeys(("%", "percent"), ("share", "percent")),
    **dict.fromkeys(("€", "eur", "euro", "euros"), ("money", "EUR")),
    **dict.fromkeys(("$", "usd", "dollar", "dollars"), ("money", "USD")),
    **dict.fromkeys(("£", "gbp", "pounds"), ("money", "GBP")),
    **dict.fromkeys(("chf", "francs"), ("money", "CHF")),
    "kb": ("data", "kB"),
    "mb": ("data", "MB"),
    "gb": ("data", "GB"),
    "tb": ("data", "TB"),
}
_SCALES: Final = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "bn": 1e9}
_AT_MOST: Final = (
    "at most",
    "no more than",
    "not more than",
    "within",
    "under",
    "less than",
    "below",
    "up to",
    "max",
    "maximum of",
    "fewer than",
    "in less than",
    "no longer than",
    "not exceed",
    "<",
    "≤",
)
_AT_LEAST: Final = ("at least", "more than", "over", "minimum of", "no less than", "not less than", ">", "≥")
_ABOUT: Final = ("about", "around", "roughly", "some", "approximately", "approx.", "nearly", "almost", "~")
_NO_UNIT: Final = lexicon.BREAKERS | lexicon.DETERMINERS

Kind = Literal["time", "share", "money", "data", "rate", "count"]
Bound = Literal["at_most", "at_least", "about", "exactly"]


def find_quantities(sentence: str, line: int) -> tuple[Quantity, ...]:
    """All numbers of a sentence that have a unit or count something, in order. Bare numbers and years are left out."""
    return tuple(_quantities(sentence, line))


def _quantities(sentence: str, line: int) -> Iterator[Quantity]:
    for match in re.finditer(_QUANTITY, sentence):
        measured = _measure(match)
        if measured is None:
            continue
        kind, unit = measured
        value = float(re.sub(r"[^\d.]", "", match["number"])) * _SCALES.get((match["scale"] or "").lower(), 1)
        if match["per"] and kind != "money":
            kind, unit = "rate", f"{unit} per {language.words(match['per'])[-1].lower()}"
        bound, start = _bound(sentence, match.start())
        phrase = sentence[start : _end(match, kind)].strip(" ,.;")
        yield Quantity(value=value, unit=unit, kind=kind, bound=bound, phrase=phrase, sentence=sentence, line=line)


def _measure(match: re.Match[str]) -> tuple[Kind, str] | None:
    """What is measured and in which unit, or None if the number stands for nothing countable."""
    unit = (match["unit"] or "").lower()
    money = (match["money"] or "").lower()
    if money:
        return "money", _UNITS[money][1]
    if unit in _UNITS:
        kind, name = _UNITS[unit]
        return kind, name  # type: ignore[return-value]
    if not unit or unit in _NO_UNIT or len(unit) < 3:
        return None
    noun = match["next"] if unit in lexicon.ADJECTIVES and match["next"] else unit
    return ("count", noun.lower()) if noun.lower().endswith("s") or noun.lower() in ("people", "staff") else None


def _end(match: re.Match[str], kind: Kind) -> int:
    """Where the words end that belong to the quantity."""
    if match["per"]:
        return match.end("per")
    if match["money"]:
        return max(match.end("number"), match.end("scale"))
    with_noun = kind in ("count", "rate") and (match["unit"] or "").lower() in lexicon.ADJECTIVES and match["next"]
    return match.end("next") if with_noun else match.end("unit")


def _bound(sentence: str, position: int) -> tuple[Bound, int]:
    """How the number is limited, by the words just before it, and where these begin."""
    before = sentence[:position].rstrip().lower()
    kinds: tuple[tuple[Bound, tuple[str, ...]], ...] = (
        ("at_most", _AT_MOST),
        ("at_least", _AT_LEAST),
        ("about", _ABOUT),
    )
    best: tuple[int, Bound] | None = None
    for bound, phrases in kinds:
        for phrase in phrases:
            if before.endswith(phrase) and (best is None or len(phrase) > best[0]):
                best = (len(phrase), bound)
    return (best[1], len(before) - best[0]) if best else ("exactly", position)
