"""What one line of a brief says about one feature: who wants what, with which verb, about which thing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tasks.models import FieldHint, FieldKind, Priority, TargetUser
from tasks.reading import language, lexicon

SAID: Final = "the feature says so"
NAMED: Final = "named in the feature"
STATED_ACTORS: Final = frozenset((SAID, NAMED))
"""The reasons of `find_actor` that are no inference."""

# Patterns are texts, which `re` compiles when it first meets them: workers of other agents never do.
_STORY: Final = (
    r"(?i)^as an? (?P<who>[^,]{2,60}?),? i (?:want|need|would like)(?: to)? (?P<wish>.+?)(?:,? so that (?P<why>.+))?$"
)
_BENEFIT: Final = r"(?i),?\s+(?:so that|so (?=[a-z]+ (?:can|does|do|is|are|will))|in order to)\s+(?P<why>.+)$"
_SPLIT: Final = r"\s*(?::\s|\s[–—-]\s)\s*"
_MARK: Final = r"(?i)\s*[(\[]\s*(must|should|could|won'?t|nice to have|optional|p[0-3])\s*[)\]]\s*"
_MARKS: Final[dict[str, Priority]] = {
    "must": "must",
    "p0": "must",
    "p1": "must",
    "should": "should",
    "p2": "should",
    "could": "could",
    "p3": "could",
    "nice to have": "could",
    "optional": "could",
    "won't": "wont",
    "wont": "wont",
}
_MODAL: Final = (
    r"(?i)^(?:(?:can|could|may|must|shall|should|will|want to|wants to|needs? to|has to|have to|is able to|are able to|"
    r"be able to|is allowed to|are allowed to|also|only|then|quickly|easily)\s+)+"
)
_FIELDS: Final = (
    r"(?i)\b(?:with|including|containing|consisting of|by|recording|noting|showing)\s+(?P<list>[^.;:()]+)"
    r"|\((?P<brackets>[^()]+)\)"
)
_SYSTEM: Final = r"(?i)\b(?:system|app|application|product|software|it|tool|platform|service|website)\b"
_NOTICES: Final = frozenset(("message", "reminder", "notification", "alert", "email", "e-mail", "notice"))
_FIELD_KINDS: Final[tuple[tuple[FieldKind, tuple[str, ...]], ...]] = (
    ("date-time", ("time", "deadline", "timestamp", "slot")),
    ("date", ("date", "day", "birthday")),
    ("uri", ("photo", "picture", "image", "file", "document", "attachment", "pdf", "link", "scan", "video")),
    ("email", ("email", "e-mail", "mail")),
    ("integer", ("count", "seats", "seat", "places", "pieces", "age")),
    (
        "number",
        (
            "amount",
            "price",
            "cost",
            "weight",
            "quantity",
            "moisture",
            "protein",
            "score",
            "rate",
            "hours",
            "hour",
            "distance",
            "temperature",
            "percentage",
            "total",
            "fee",
            "deposit",
            "length",
            "width",
            "height",
            "volume",
            "gross",
            "tare",
            "net",
        ),
    ),
)


class Wish(Struct, frozen=True):
    """ "I want to `text`", its verb in the base form, and who stands before the verb in the brief, if anybody."""

    text: str
    verb: str
    subject: str = ""


def split_title(text: str, lead: str) -> tuple[str, str]:
    """A feature's title and its description: bold lead, colon or dash; else the first sentence is the title."""
    if lead and text.startswith(lead):
        rest = text[len(lead) :].lstrip(" :.–—-")
        return lead, language.upper_first(rest)
    head, *rest_parts = re.split(_SPLIT, text, maxsplit=1)
    if rest_parts and 0 < len(head.split()) <= 8:
        return head, language.upper_first(rest_parts[0])
    parts = language.sentences(text)
    return parts[0].rstrip(".!") if parts else text, " ".join(parts[1:])


def marked_priority(text: str) -> tuple[str, Priority | None]:
    """A text without a mark such as "(must)" or "[P2]", and the priority that the mark gives."""
    match = re.search(_MARK, text)
    if match is None:
        return text, None
    return (text[: match.start()] + " " + text[match.end() :]).strip(), _MARKS[match[1].lower()]


def split_benefit(text: str) -> tuple[str, str]:
    """A sentence without its "so that ...", and that benefit."""
    match = re.search(_BENEFIT, text)
    return (text[: match.start()], match["why"].rstrip(".")) if match else (text, "")


def find_wish(title: str, description: str, users: Sequence[TargetUser]) -> Wish:
    """What the actor wants to do: from an imperative title, else from a sentence with a known verb, else the title."""
    story = re.match(_STORY, title)
    if story:
        wish = story["wish"].rstrip(".")
        return Wish(wish, _first_verb(wish) or "use", story["who"].lower())
    imperative = _imperative(title)
    if imperative:
        clause = _clause((language.sentences(description) or ("",))[0], users)
        first = imperative.split()[0].rstrip(",")
        return Wish(imperative, language.verb_base(first) or first, clause.subject if clause else "")
    for sentence in (title, *language.sentences(description)):
        clause = _clause(split_benefit(sentence)[0], users)
        if clause:
            return clause
    nominal = _nominal(title)
    if nominal:
        verb, thing = nominal
        return Wish(f"{verb} {thing}", verb)
    return Wish(f"use {_with_article(title)}" if len(title.split()) <= 5 else f"rely on this: “{title}”", "use")


def _with_article(title: str) -> str:
    lower = language.lower_first(title)
    return lower if lower.split()[:1] and lower.split()[0] in lexicon.DETERMINERS else f"the {lower}"


def _first_verb(text: str) -> str | None:
    return next((base for word in language.words(text)[:4] if (base := language.verb_base(word))), None)


def _imperative(title: str) -> str:
    """The title as a wish if it begins with a verb that is followed by its object, else ""."""
    parts = title.split()
    if len(parts) < 2 or not (parts[0].lower().rstrip(",") in _base_forms() or _like_an_order(parts)):
        return ""
    if language.singular(parts[1].lower().rstrip(".,:")) in lexicon.WEAK_NOUNS | lexicon.NOMINALS.keys():
        return ""
    return language.lower_first(title.rstrip("."))


def _like_an_order(parts: Sequence[str]) -> bool:
    """ "Refund a ticket": a plain word before an article, at the start, is a verb even if no list knows it."""
    first = parts[0].lower()
    known = lexicon.BREAKERS | lexicon.DETERMINERS | lexicon.ADJECTIVES
    return (
        first.isascii()
        and first.isalpha()
        and first not in known
        and parts[1].lower() in ("a", "an", "the", "my", "all")
    )


def _base_forms() -> frozenset[str]:
    return frozenset(verb for text in lexicon.VERB_CLASSES.values() for verb in text.split())


def _clause(sentence: str, users: Sequence[TargetUser]) -> Wish | None:
    """The wish in "Tenants can report a fault": the words from the verb on, when somebody known stands before it."""
    tokens = sentence.rstrip(".").split()
    for index, token in enumerate(tokens[:9]):
        base = language.verb_base(token.strip(",;:"))
        before = " ".join(tokens[:index]).lower()
        if base is None or index == 0 or tokens[index - 1].lower() in lexicon.DETERMINERS | lexicon.ADJECTIVES:
            continue
        subject = next((user.name for user in users if names(before, user)), "")
        modal = bool(re.search(_MODAL, f"{tokens[index - 1]} ")) and token.lower() == base
        conjugated = token.lower() == language.third_person(base) and tokens[0].lower() in lexicon.DETERMINERS
        rest = _until_next_clause(" ".join(tokens[index + 1 :]))
        if not rest or not (subject or modal or conjugated):
            continue
        if not subject and re.search(_SYSTEM, before):
            return Wish(f"have the system {base} {rest}", base)
        if base in ("get", "receive") and set(language.words(rest.lower())[:4]) & _NOTICES:
            return Wish(f"{base} {rest}", "notify", subject)
        return Wish(f"{base} {rest}", base, subject or before)
    return None


def _until_next_clause(text: str) -> str:
    ends = r";|\s[–—]\s|:\s|,\s(?:and|but|then)\s(?=(?:the|a|an|they|it|he|she)\s)|,\s(?:which|while|because)\s"
    return re.split(ends, text)[0].strip(" ,")


def names(text: str, user: TargetUser) -> re.Match[str] | None:
    """Where a text names a group: by its whole name or by its last word ("technician"), singular or plural."""
    head = user.name.split()[-1]
    forms = sorted({user.plural, user.name, head, language.plural(head)}, key=len, reverse=True)
    return re.search(rf"\b(?:{'|'.join(re.escape(form) for form in forms)})\b", text, re.I)


def _nominal(title: str) -> tuple[str, str] | None:
    """ "Plot booking" -> ("book", "plot booking"); "Fault tracking" -> ("track", "fault")."""
    parts = title.lower().rstrip(".").split()
    found = lexicon.NOMINALS.get(language.singular(parts[-1])) if parts else None
    if found is None:
        return None
    verb, keeps = found
    rest = " ".join(parts if keeps else parts[:-1])
    if not rest:
        return (verb, parts[-1]) if keeps else None
    return verb, f"the {rest}" if keeps else rest


def find_actor(text: str, wish: Wish, users: Sequence[TargetUser]) -> tuple[str, str]:
    """Who a feature is for, and why we think so; two empty strings if its text does not tell."""
    for user in users:
        if wish.subject and names(wish.subject, user):
            return user.name, SAID
    if wish.subject and language.is_person(wish.subject):
        return language.noun_phrase(wish.subject) or wish.subject, SAID
    named = [(match.start(), user.name) for user in users if (match := names(re.sub(_FIELDS, " ", text), user))]
    if named:
        return min(named)[1], NAMED
    near = [user for user in users if wish.subject and language.overlap(wish.subject, user.description)]
    if len(near) == 1:
        return near[0].name, f"the brief says of them what the feature says of “{wish.subject}”"
    scored = [(language.overlap(text, user.description), -index, user.name) for index, user in enumerate(users)]
    best = max(scored, default=(0, 0, ""))
    return (best[2], f"shares {best[0]} words with the description of this group") if best[0] >= 2 else ("", "")


def find_fields(text: str) -> tuple[FieldHint, ...]:
    """The properties that a text lists after "with", "including", "by" or in brackets; at most eight."""
    found: dict[str, FieldHint] = {}
    for match in re.finditer(_FIELDS, text):
        parts = re.split(r",\s*(?:and|or)?\s*|\s+(?:and|or)\s+", match["list"] or match["brackets"])
        for part in parts if len(parts) > 1 or match["brackets"] is None else ():
            hint = _field(part)
            if hint is None or (len(parts) == 1 and language.is_person(hint.words)):
                break
            found.setdefault(hint.name, hint)
    return tuple(found.values())[:8]


def _field(words: str) -> FieldHint | None:
    """A list entry as a field, or None when it is a clause rather than a thing, which ends the list."""
    plain = re.sub(r"^(?:the|a|an|its|their|one|his|her|optional|up to \w+)\s+", "", words.strip(), flags=re.I)
    plain = re.split(r"\s(?:for|of|on|at|from|to|so|when|if)\s", plain)[0]
    tokens = plain.lower().split()
    if not tokens or len(tokens) > 4 or any(char.isdigit() for char in plain) or set(tokens) & lexicon.BREAKERS:
        return None
    phrase = language.noun_phrase(plain, limit=3)
    if not phrase or (len(tokens) == 1 and language.verb_base(tokens[0]) and tokens[0].endswith(("ing", "ed"))):
        return None
    return FieldHint(name=language.identifier(phrase, "field"), kind=_kind(phrase), words=phrase)


def _kind(phrase: str) -> FieldKind:
    """The kind of value, by the last word of the name that tells one."""
    for word in reversed(phrase.split()):
        for kind, ends in _FIELD_KINDS:
            if language.singular(word) in ends or word in ends:
                return kind
    return "string"
