"""From the sections of a brief to structured data: users, problem, constraints, features, quantities, goals.

Sections with a telling heading are read first; what has none is looked for sentence by sentence in the whole text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from tasks.models import Constraint, Device, Quantity, TargetUser
from tasks.reading import language, lexicon
from tasks.reading.brief import Block, Brief, Section, topic_of
from tasks.reading.categories import constraint_category, find_technologies, is_technical
from tasks.reading.quantities import find_quantities

TOPICS: Final = ("users", "problem", "features", "constraints", "goals")
"""What a brief should have a section on."""

MAX_SENTENCES: Final = 4_000
_GROUP_SIZE: Final = (
    r"\((?:about |around |roughly |some |ca\.? )?(\d[\d,]*)\b|:\s(?:Number|Count|How many):\s(\d[\d,]*)|"
    r"^[^:]+:\s(\d[\d,]*)\.\s"
)
"""How many people a group has: "Tenants (about 2,400)", or the first cell of its table row."""


class Sentence(Struct, frozen=True):
    text: str
    line: int
    topic: str


def all_sentences(brief: Brief) -> tuple[Sentence, ...]:
    """Every sentence of the brief with the topic of its section; items count as sentences."""
    found: list[Sentence] = []
    for section in brief.sections:
        for block in _flat(section.blocks):
            found.extend(Sentence(text, block.line, section.topic) for text in language.sentences(block.text))
            if len(found) > MAX_SENTENCES:
                return tuple(found[:MAX_SENTENCES])
    return tuple(found)


def _flat(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block in blocks:
        yield block
        yield from _flat(block.children)


def listed(brief: Brief, topic: str) -> tuple[Block, ...]:
    """The list items and rows of all sections on a topic; if they have none, their sentences."""
    blocks = [block for section in brief.about(topic) for block in section.blocks]
    items = [block for block in blocks if block.kind != "paragraph"]
    if items:
        return tuple(items)
    return tuple(Block("item", text, block.line) for block in blocks for text in language.sentences(block.text))


def find_summary(brief: Brief, sentences: tuple[Sentence, ...]) -> str:
    """The text of a summary section, else of the first paragraph that belongs to no topic, else the first sentences."""
    for section in (*brief.about("summary"), *(part for part in brief.sections if part.topic == "")):
        text = " ".join(block.text for block in section.blocks if block.kind == "paragraph")
        if text:
            return language.clip(text, 600)
    return language.clip(" ".join(sentence.text for sentence in sentences[:2]), 600) or brief.title


def find_users(brief: Brief, sentences: tuple[Sentence, ...]) -> tuple[TargetUser, ...]:
    """The groups of users that the brief lists, else the roles that it mentions; one general user if there is none."""
    drafts = [_listed_user(block) for block in listed(brief, "users") if block.kind != "paragraph"]
    found = {name: (name, text, line) for name, text, line in drafts if name}
    if not found or not any(block.kind != "paragraph" for section in brief.about("users") for block in section.blocks):
        found = {name: (name, text, line) for name, text, line in _mentioned_users(sentences)}
    users = [_user(index, *draft) for index, draft in enumerate(list(found.values())[:8], start=1)]
    return tuple(users) or (TargetUser(id="U-1", name="user", plural="users", description=""),)


def _listed_user(block: Block) -> tuple[str, str, int]:
    head = block.lead or re.split(r"\s*(?::|\s[–—-]\s|\(|,)\s*", block.text, maxsplit=1)[0]
    if not block.lead and len(head.split()) > 4:
        head = " ".join(head.split()[:4])
    name = language.noun_phrase(head.split(" in ")[0].split(" who ")[0], limit=3)
    return name, block.text, block.line


def _mentioned_users(sentences: tuple[Sentence, ...]) -> Iterator[tuple[str, str, int]]:
    counts: Counter[str] = Counter()
    first: dict[str, Sentence] = {}
    for sentence in sentences:
        for word in language.words(sentence.text):
            noun = language.singular(word.lower())
            if language.is_person(noun) and noun not in ("people", "person", "team", "user", "agent"):
                counts[noun] += 1
                first.setdefault(noun, sentence)
    for noun, _ in counts.most_common(4):
        yield noun, first[noun].text, first[noun].line


def _user(number: int, name: str, text: str, line: int) -> TargetUser:
    plural = language.plural(name)
    counted = re.search(_GROUP_SIZE, text)
    digits = next((group for group in counted.groups() if group), "") if counted else ""
    return TargetUser(
        id=f"U-{number}",
        name=name,
        plural=plural,
        description=language.clip(_description(text), 400),
        device=find_device(text),
        count=int(digits.replace(",", "")) if digits else None,
        line=line,
    )


def _description(text: str) -> str:
    """What is said about a group, without a table row's repeated first cell and count."""
    row = re.match(r"^[^:.]{2,60}:\s(?:\d[\d,]*\.\s)?(?:\w[\w ]*:\s)?(?P<rest>.+)$", text)
    return row["rest"] if row else text


def find_device(text: str) -> Device:
    """Which device a text speaks of: a phone or a desktop, by the number of words for each."""
    phone = sum(language.mentions(text, (word,)) for word in lexicon.MOBILE_WORDS)
    desktop = sum(language.mentions(text, (word,)) for word in lexicon.DESKTOP_WORDS)
    if phone == desktop:
        return "unknown"
    return "phone" if phone > desktop else "desktop"


def find_constraints(brief: Brief, sentences: tuple[Sentence, ...]) -> tuple[Constraint, ...]:
    """Everything that limits the solution, from the sections on constraints; else sentences that name a technology or a
    bound for the whole system."""
    blocks = [(text, block.line) for block in listed(brief, "constraints") for text in _statements(block)]
    if not blocks:
        blocks = [
            (sentence.text, sentence.line)
            for sentence in sentences
            if sentence.topic in ("", "summary") and (find_technologies(sentence.text)[0] or _limits(sentence))
        ]
    made: list[Constraint] = []
    for text, line in blocks[:80]:
        used, excluded = find_technologies(text)
        made.append(
            Constraint(
                id=f"C-{len(made) + 1}",
                text=text,
                technical=is_technical(text),
                category=constraint_category(text),
                technologies=used,
                excluded=excluded,
                line=line,
            )
        )
    return tuple(made)


def _statements(block: Block) -> tuple[str, ...]:
    """The sentences of an item that can stand alone; a continuation such as "It ..." stays with what it refers to."""
    parts: list[str] = []
    for text in (block.text, *(child.text for child in block.children)):
        for sentence in language.sentences(text):
            follows = re.match(r"(?:it|this|that|they|these|no [a-z]+ cloud)\b", sentence, re.I)
            if parts and follows:
                parts[-1] = f"{parts[-1]} {sentence}"
            else:
                parts.append(sentence)
    return tuple(parts)


def _limits(sentence: Sentence) -> bool:
    bounded = any(
        quantity.bound != "exactly" or quantity.kind == "money" for quantity in find_quantities(sentence.text, 0)
    )
    return bounded and language.mentions(sentence.text, (*lexicon.MUST_WORDS, "under", "budget", "at most", "works"))


def find_problem(brief: Brief, sentences: tuple[Sentence, ...]) -> tuple[str, tuple[str, ...]]:
    """The problem in at most three sentences, and each sentence that describes a symptom."""
    told = [sentence for sentence in sentences if sentence.topic == "problem"]
    words = lexicon.SYMPTOM_WORDS if told else lexicon.PROBLEM_WORDS
    hinted = [sentence for sentence in told or sentences if language.mentions(sentence.text, words)]
    statement = " ".join(sentence.text for sentence in (told[:2] or hinted[:2]))
    symptoms = tuple(dict.fromkeys(sentence.text for sentence in hinted or told))
    return language.clip(statement, 500), symptoms[:8]


def find_goals(brief: Brief, sentences: tuple[Sentence, ...]) -> tuple[str, ...]:
    items = [text for block in listed(brief, "goals") for text in (block.text,)]
    if not items:
        items = [
            sentence.text
            for sentence in sentences
            if sentence.topic in ("", "summary", "problem") and language.mentions(sentence.text, lexicon.GOAL_WORDS)
        ]
    return tuple(item.rstrip(".") for item in items[:12])


def find_out_of_scope(brief: Brief, sentences: tuple[Sentence, ...]) -> tuple[str, ...]:
    items = [block.text for block in listed(brief, "out_of_scope")]
    if not items:
        items = [
            sentence.text
            for sentence in sentences
            if sentence.topic != "constraints" and language.mentions(sentence.text, lexicon.OUT_OF_SCOPE_WORDS)
        ]
    return tuple(item.rstrip(".") for item in items[:20])


def find_questions(brief: Brief, sentences: tuple[Sentence, ...]) -> tuple[str, ...]:
    """Questions that the brief asks itself, wherever they stand."""
    items = [block.text for block in listed(brief, "questions")]
    items += [
        sentence.text
        for sentence in sentences
        if sentence.topic != "questions"
        and (sentence.text.endswith("?") or language.mentions(sentence.text, lexicon.OPEN_WORDS))
    ]
    return tuple(dict.fromkeys(items))[:20]


def find_all_quantities(sentences: tuple[Sentence, ...]) -> tuple[Quantity, ...]:
    return tuple(quantity for sentence in sentences for quantity in find_quantities(sentence.text, sentence.line))[:200]


def feature_blocks(brief: Brief, sentences: tuple[Sentence, ...]) -> tuple[tuple[Section, Block], ...]:
    """Where features stand: items of sections on features, else sub-headings of these, else all items, else sentences
    that say what somebody can or shall do."""
    told = brief.about("features")
    items = [pair for section in told for pair in _listed_features(section)]
    if items:
        return tuple(items)
    open_sections = [section for section in brief.sections if section.topic in ("", "summary")]
    items = [(section, block) for section in open_sections for block in section.blocks if block.kind != "paragraph"]
    if items:
        return tuple(items)
    paragraphs = [(section, block) for section in told or open_sections for block in section.blocks]
    return tuple(
        (section, Block("item", text, block.line))
        for section, block in paragraphs
        for text in language.sentences(block.text)
        if told or (_says_what_to_do(text) and not find_technologies(text)[0])
    )


def _listed_features(section: Section) -> Iterator[tuple[Section, Block]]:
    """A sub-heading with a text is one feature, and its items are details; else every item is a feature."""
    items = tuple(block for block in section.blocks if block.kind != "paragraph")
    text = " ".join(block.text for block in section.blocks if block.kind == "paragraph")
    if text and topic_of(section.heading) != "features":
        yield section, Block("item", f"{section.heading}: {text}", section.line, section.heading, items)
    else:
        yield from ((section, block) for block in items)


def _says_what_to_do(text: str) -> bool:
    modals = r"\b(?:can|could|may|should|shall|must|wants? to|needs? to|be able to|lets?|allows?)\b"
    return bool(re.search(modals, text, re.I))
