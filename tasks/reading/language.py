"""A small hand-made grammar of English: sentences, word forms, noun phrases, and names made of words."""

from __future__ import annotations

import keyword
import re
import unicodedata
from functools import lru_cache
from typing import Final

from tasks.reading import lexicon

WORD: Final = r"[^\W_]+(?:['’&/-][^\W_]+)*"
_SENTENCE_END: Final = r"(?<=[.!?])[\"'”’)]?\s+(?=[\"'“(]?[^\W_a-z])"
_ABBREVIATION: Final = r"(?i)\b(?:e\.g|i\.e|etc|approx|ca|vs|no|Dr|Mr|Mrs|Ms|St|incl)\.$"
_IRREGULAR_PAST: Final = {
    "send": "sent",
    "find": "found",
    "see": "seen",
    "sell": "sold",
    "buy": "bought",
    "get": "received",
    "set": "set",
    "pay": "paid",
    "make": "made",
    "write": "written",
    "read": "read",
    "split": "split",
    "take": "taken",
    "lend": "lent",
    "give": "given",
    "keep": "kept",
    "show": "shown",
    "hand-over": "handed over",
    "check-in": "checked in",
    "sign-up": "signed up",
}
_IRREGULAR_PLURAL: Final = {
    "person": "people",
    "child": "children",
    "man": "men",
    "woman": "women",
    "datum": "data",
    "medium": "media",
    "staff": "staff",
    "analysis": "analyses",
    "shelf": "shelves",
    "loaf": "loaves",
    "leaf": "leaves",
    "half": "halves",
    "chief": "chiefs",
}
_IRREGULAR_SINGULAR: Final = {plural: singular for singular, plural in _IRREGULAR_PLURAL.items()}


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of running text, whitespace made single; abbreviations such as "e.g." end none."""
    found: list[str] = []
    for part in re.split(_SENTENCE_END, " ".join(text.split())):
        if found and re.search(_ABBREVIATION, found[-1]):
            found[-1] = f"{found[-1]} {part}"
        elif part.strip():
            found.append(part.strip())
    return tuple(found)


def words(text: str) -> tuple[str, ...]:
    return tuple(match.group() for match in re.finditer(WORD, text))


def singular(word: str) -> str:
    """The singular of a noun by the common spelling rules: `batches` -> `batch`, `bodies` -> `body`."""
    lower = word.lower()
    if lower in _IRREGULAR_SINGULAR:
        return _IRREGULAR_SINGULAR[lower]
    if len(lower) <= 3 or lower.endswith(("ss", "us", "is", "news", "series")):
        return word
    if lower.endswith("ies") and len(lower) > 4:
        return word[:-3] + "y"
    if lower.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    return word[:-1] if lower.endswith("s") else word


def plural(word: str) -> str:
    """The plural of a noun, or of the last noun of a phrase."""
    head, space, last = word.rpartition(" ")
    lower = last.lower()
    if lower in _IRREGULAR_PLURAL:
        return head + space + _IRREGULAR_PLURAL[lower]
    if lower != singular(last).lower():
        return word
    if lower.endswith("y") and lower[-2:-1] not in tuple("aeiou"):
        return head + space + last[:-1] + "ies"
    if lower.endswith(("s", "x", "z", "ch", "sh")):
        return head + space + last + "es"
    return head + space + last + "s"


@lru_cache(maxsize=1)
def _verb_forms() -> dict[str, tuple[str, str]]:
    """Every inflected form of a known verb -> its base form and its class."""
    forms: dict[str, tuple[str, str]] = {}
    for verb_class, text in lexicon.VERB_CLASSES.items():
        for verb in text.split():
            for form in (verb, third_person(verb), past(verb), gerund(verb)):
                forms.setdefault(form, (verb, verb_class))
    return forms


def verb_base(word: str) -> str | None:
    """The base form of a known verb in any of its forms, else None."""
    found = _verb_forms().get(word.lower())
    return found[0] if found else None


def verb_class(base: str) -> str:
    """What kind of action a verb is: create, read, change, remove, notify, export, manage. Unknown verbs change."""
    found = _verb_forms().get(base.lower())
    return found[1] if found else "change"


def _doubles(verb: str) -> bool:
    if verb in ("submit", "transfer", "cancel", "label"):
        return True
    return bool(re.fullmatch(r"[^aeiou]*[aeiou][bdgmnpt]", verb))


def third_person(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "z", "ch", "sh", "o")) else "s")


def past(verb: str) -> str:
    """The past participle: `assign` -> `assigned`, `send` -> `sent`."""
    if verb in _IRREGULAR_PAST:
        return _IRREGULAR_PAST[verb]
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + (verb[-1] if _doubles(verb) else "") + "ed"


def gerund(verb: str) -> str:
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    return verb + (verb[-1] if _doubles(verb) else "") + "ing"


def noun_phrase(text: str, limit: int = 2) -> str:
    """The first noun phrase of a text, lower case, singular, without articles and adjectives; "" if there is none.

    At most `limit` words: the last ones, because the head of an English noun phrase stands at its end.
    """
    start = 0
    taken: list[str] = []
    for match in re.finditer(WORD, text):
        word, between = match.group().lower(), text[start : match.start()]
        if taken and re.search(r"[,.;:!?()–—\"]", between):
            break
        start = match.end()
        if word in lexicon.BREAKERS or word.isdigit():
            if taken:
                break
            continue
        if word in lexicon.DETERMINERS or word in lexicon.ADJECTIVES:
            if taken and word in lexicon.DETERMINERS:
                break
            continue
        if word.endswith("ly") and len(word) > 4:
            continue
        taken.append(word)
    while len(taken) > 1 and singular(taken[-1]) in lexicon.WEAK_NOUNS:
        taken.pop()
    taken = taken[-limit:]
    return " ".join([*taken[:-1], singular(taken[-1])]) if taken else ""


def is_person(noun: str) -> bool:
    """Whether a noun names somebody: a word list, and the endings of roles (-er, -or, -ist, -ian, -ee)."""
    last = singular(noun.split()[-1].lower()) if noun.split() else ""
    if last in lexicon.PEOPLE:
        return True
    return len(last) > 4 and last not in lexicon.NOT_PEOPLE and last.endswith(("ist", "ian"))


def stems(text: str) -> frozenset[str]:
    """The meaningful words of a text cut to a crude stem, to measure how much two texts have in common."""
    kept = (word.lower() for word in words(text))
    skip = lexicon.BREAKERS | lexicon.DETERMINERS
    return frozenset(_stem(word) for word in kept if len(word) > 3 and word not in skip)


def _stem(word: str) -> str:
    base = verb_base(word)
    return (base or singular(word))[:6]


def overlap(left: str, right: str) -> int:
    """How many stems two texts share."""
    return len(stems(left) & stems(right))


def mentions(text: str, phrases: tuple[str, ...]) -> bool:
    """Whether a text contains any phrase, each from the start of a word on, case aside."""
    lower = text.lower()
    return any(re.search(rf"(?<!\w){re.escape(phrase)}", lower) for phrase in phrases)


def ascii_words(text: str) -> tuple[str, ...]:
    """The words of a text in plain ASCII lower case; letters that have no ASCII form are dropped."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return tuple(re.findall(r"[a-z0-9]+", plain.lower()))


def slug(text: str, separator: str = "-", fallback: str = "item") -> str:
    """A name for paths and identifiers: `Weighing slips` -> `weighing-slips`; never empty, no digit first."""
    joined = separator.join(ascii_words(text)[:6])[:48].strip(separator)
    if not joined:
        return fallback
    return joined if joined[0].isalpha() else f"n{separator if separator == '_' else ''}{joined}"


def identifier(text: str, fallback: str = "item") -> str:
    """A snake_case name that is usable in Python."""
    name = slug(text, "_", fallback)
    return f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) else name


def camel(text: str, fallback: str = "Item") -> str:
    """`quality sample` -> `QualitySample`."""
    joined = "".join(word.capitalize() for word in ascii_words(text)[:4])
    return joined if joined and joined[0].isalpha() else fallback + joined


def article(noun: str) -> str:
    """`a` or `an`, by the first letter."""
    return "an" if noun[:1].lower() in tuple("aeio") or noun.lower().startswith("un") else "a"


def lower_first(text: str) -> str:
    """Decapitalised, unless the first word is an acronym or has capitals inside."""
    first = text.split(" ", 1)[0]
    return text if sum(letter.isupper() for letter in first) > 1 else text[:1].lower() + text[1:]


def upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def clip(text: str, limit: int) -> str:
    """A text on one line, cut at a word boundary with an ellipsis when it is longer than `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"
