"""From the feature lines of a brief to features that name actor, wish, entity, fields and priority."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, cast

from msgspec import Struct

from tasks.models import Action, Feature, Priority, TargetUser
from tasks.reading import language, lexicon
from tasks.reading.brief import Block, Section
from tasks.reading.features import (
    Wish,
    find_actor,
    find_fields,
    find_wish,
    marked_priority,
    split_benefit,
    split_title,
)

MAX_FEATURES: Final = 60
ASSUMED: Final = "nobody is named; the first group of users is assumed"
UNSAID: Final = "nothing in the brief says how important it is"
_SECTION_PRIORITIES: Final[tuple[tuple[tuple[str, ...], Priority], ...]] = (
    (("must", "mvp", "essential"), "must"),
    (("should",), "should"),
    (("could", "nice to have", "optional"), "could"),
)
_TEXT_PRIORITIES: Final[tuple[tuple[tuple[str, ...], Priority], ...]] = (
    (lexicon.COULD_WORDS, "could"),
    (lexicon.MUST_WORDS, "must"),
    (lexicon.SHOULD_WORDS, "should"),
)
_TITLE_WORDS: Final = 9


class _Draft(Struct, frozen=True):
    """A feature whose entity, actor and priority may still depend on the other features."""

    feature: Feature
    heading: str
    candidates: tuple[tuple[str, str], ...]


def make_features(lines: Sequence[tuple[Section, Block]], users: Sequence[TargetUser]) -> tuple[Feature, ...]:
    """A feature per line, at most `MAX_FEATURES`; whatever a line leaves open is settled by the lines around it."""
    drafts = [_draft(number, *line, users) for number, line in enumerate(lines[:MAX_FEATURES], start=1)]
    settled = _settle_entities(drafts)
    settled = _settle_actors(settled, [draft.heading for draft in drafts], users)
    return _settle_priorities(settled)


def feature_from_text(text: str, users: Sequence[TargetUser]) -> Feature:
    """The one feature of a brief that lists none: its title or summary taken as a wish."""
    return make_features([(Section("", 0, 1, ()), Block("item", text, 1))], users)[0]


def _draft(number: int, section: Section, block: Block, users: Sequence[TargetUser]) -> _Draft:
    text, marked = marked_priority(block.text)
    title, description = split_title(text, marked_priority(block.lead)[0])
    wish = find_wish(title, description, users)
    actor, actor_reason = find_actor(f"{title}. {description}", wish, users)
    wish_text = language.clip(split_benefit(wish.text)[0].split(";")[0].rstrip(".,"), 160)
    priority, priority_reason = _priority(marked, section, text)
    details = tuple(child.text for child in block.children)
    feature = Feature(
        id=f"F-{number}",
        title=_short_title(title, wish_text, wish.verb),
        description=description or title,
        details=details,
        actor=actor,
        actor_reason=actor_reason,
        wish=wish_text,
        benefit=_benefit(title, description),
        verb=wish.verb,
        action=_action(wish.verb),
        entity="",
        fields=find_fields(" ".join((split_benefit(title)[0], split_benefit(description)[0], *details))),
        priority=priority,
        priority_reason=priority_reason,
        line=block.line,
    )
    return _Draft(feature, section.heading, _candidates(wish))


def _benefit(title: str, description: str) -> str:
    """The first "so that ..." of the whole text."""
    found = (split_benefit(sentence)[1] for sentence in (title, *language.sentences(description)))
    return next((benefit for benefit in found if benefit), "")


def _short_title(title: str, wish: str, verb: str) -> str:
    """The title as written if it is one, else verb and object of the wish."""
    sentence = re.match(r"(?i)as an? |the system |.*\b(?:can|could|may|must|should|shall|wants? to|needs? to)\b", title)
    if len(title.split()) <= _TITLE_WORDS and not (sentence and len(wish.split()) > 1):
        return title.rstrip(".")
    words = wish.removeprefix("have the system ").removeprefix("rely on this: “").rstrip("”").split()
    end = next((index for index, word in enumerate(words) if index > 1 and _ends_title(word)), len(words))
    kept = words[: min(end, _TITLE_WORDS)]
    while kept and kept[-1].lower() in lexicon.BREAKERS | lexicon.DETERMINERS:
        kept.pop()
    return language.upper_first(" ".join(kept).rstrip(",;:.")) or verb.capitalize()


def _ends_title(word: str) -> bool:
    return word.strip(",;:").lower() in lexicon.BREAKERS - {"of", "and", "when", "is", "are"} or word.endswith(
        (":", ";")
    )


def _priority(marked: Priority | None, section: Section, text: str) -> tuple[Priority, str]:
    if marked:
        return marked, "marked in the brief"
    for heading in (section.heading, *reversed(section.parents)):
        for words, priority in _SECTION_PRIORITIES:
            if not heading.lower().startswith("what ") and language.mentions(heading, words):
                return priority, f"under the heading “{heading}”"
    for words, priority in _TEXT_PRIORITIES:
        said = next((word for word in words if language.mentions(text, (word,))), None)
        if said:
            return priority, f"the text says “{said.strip()}”"
    return "should", UNSAID


def _action(verb: str) -> Action:
    return "read" if verb == "use" else cast(Action, language.verb_class(verb))


def _candidates(wish: Wish) -> tuple[tuple[str, str], ...]:
    """Verb and object of each part of "scan the barcode and enter a quality result"."""
    found = []
    for index, part in enumerate(re.split(r",?\s+and\s+", wish.text.removeprefix("have the system "))):
        first, _, rest = part.partition(" ")
        base = language.verb_base(first) if index else wish.verb
        thing = language.noun_phrase(rest)
        if base and thing and (index == 0 or base == first.lower()):
            found.append((base, thing))
    return tuple(found)


def _settle_entities(drafts: Sequence[_Draft]) -> tuple[Feature, ...]:
    """Give every feature an entity of the product: synonyms joined, people and empty words replaced by what the
    feature's own text mentions. Of several objects, the one that the other features speak of is the entity."""
    texts = [f"{draft.feature.title} {draft.feature.wish} {draft.feature.description}".lower() for draft in drafts]
    chosen = [_choose(draft, texts) for draft in drafts]
    counted = Counter(thing for _, thing in chosen if thing)
    canonical = {name: _canonical(name, tuple(counted)) for name in counted}
    known = tuple(dict.fromkeys(canonical.values()))
    settled = []
    for draft, (verb, thing), text in zip(drafts, chosen, texts, strict=True):
        entity = canonical.get(thing) or _mentioned(text, known) or _own_name(draft)
        made = lexicon.RELATIONS.get(verb)
        if made and not entity.endswith(made):
            entity = f"{entity.split()[-1]} {made}"
        action = draft.feature.action if verb == draft.feature.verb else _action(verb)
        settled.append(draft.feature.model_copy(update={"entity": entity, "verb": verb, "action": action}))
    return tuple(settled)


def _choose(draft: _Draft, texts: Sequence[str]) -> tuple[str, str]:
    usable = [(verb, thing) for verb, thing in draft.candidates if _is_thing(thing)]
    if not usable:
        return draft.feature.verb, ""
    return max(usable, key=lambda pair: sum(bool(_position(text, pair[1])) for text in texts))


def _is_thing(entity: str) -> bool:
    head = entity.split()[-1] if entity else ""
    return bool(head) and head not in lexicon.WEAK_NOUNS and not language.is_person(head)


def _position(text: str, name: str) -> re.Match[str] | None:
    return re.search(rf"\b(?:{re.escape(name)}|{re.escape(language.plural(name))})\b", text)


def _canonical(name: str, known: Sequence[str]) -> str:
    """The one name for "weighing slip" and "slip", "fault report" and "fault": the shorter if it is used alone."""
    words = name.split()
    return next((part for part in (words[-1], words[0]) if part != name and part in known), name)


def _mentioned(text: str, known: Sequence[str]) -> str:
    """The known entity that a text mentions first; "" if it mentions none."""
    positions = [(match.start(), name) for name in known if (match := _position(text, name))]
    return min(positions)[1] if positions else ""


def _own_name(draft: _Draft) -> str:
    own = [thing for _, thing in draft.candidates if not language.is_person(thing)]
    return own[0] if own else language.noun_phrase(draft.feature.title) or "entry"


def _settle_actors(
    features: Sequence[Feature], headings: Sequence[str], users: Sequence[TargetUser]
) -> tuple[Feature, ...]:
    """An actor for the features that name none: whose feature is about the same thing, stands beside it, or the first
    group of users."""
    settled: list[Feature] = []
    for index, feature in enumerate(features):
        if feature.actor:
            settled.append(feature)
            continue
        near = [other for other, heading in zip(features, headings, strict=True) if heading == headings[index]]
        same = next((other for other in (*near, *features) if other.actor and other.entity == feature.entity), None)
        beside = next((other for other in (*reversed(settled[-2:]), *near) if other in near and other.actor), None)
        if same:
            update = {"actor": same.actor, "actor_reason": f"as {same.id}, which is about the same thing"}
        elif beside and headings[index]:
            update = {"actor": beside.actor, "actor_reason": f"as its neighbour {beside.id}"}
        else:
            update = {"actor": users[0].name, "actor_reason": ASSUMED}
        settled.append(feature.model_copy(update=update))
    return tuple(settled)


def _settle_priorities(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """What is stated plainly is a must in a brief that hedges other features with "should" or "could"."""
    hedged = any(one.priority in ("should", "could") and one.priority_reason != UNSAID for one in features)
    if not hedged:
        return features
    plain = {"priority": "must", "priority_reason": "stated plainly, where others are hedged with should or could"}
    return tuple(
        feature.model_copy(update=plain) if feature.priority_reason == UNSAID else feature for feature in features
    )
