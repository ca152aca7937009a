"""Markdown, words and numbers: what the rules see in a text."""

from __future__ import annotations

import pytest

from orchestrator import InvalidValue
from tasks.reading import language
from tasks.reading.brief import checked_text, parse_brief
from tasks.reading.categories import constraint_category, find_technologies, is_technical
from tasks.reading.features import find_fields, marked_priority, split_title
from tasks.reading.quantities import find_quantities


def test_sections_know_their_topic_and_their_line() -> None:
    brief = parse_brief(
        "# Tool club\n\nLends tools.\n\n## Who uses it\n\n- Members\n\n## Must have\n\n### Loans\n\n- Lend\n"
    )
    assert brief.title == "Tool club"
    assert [(section.heading, section.topic, section.line) for section in brief.sections] == [
        ("Tool club", "", 1),
        ("Who uses it", "users", 5),
        ("Must have", "features", 9),
        ("Loans", "features", 11),
    ]


def test_a_table_row_leads_with_its_first_cell() -> None:
    brief = parse_brief("| Role | Work |\n| --- | --- |\n| Clerks | type |\n")
    block = brief.sections[0].blocks[0]
    assert (block.kind, block.lead, block.text, block.line) == ("row", "Clerks", "Clerks: type", 3)


def test_front_matter_is_no_text_and_gives_the_title() -> None:
    brief = parse_brief("---\ntitle: Bakery\nauthor: me\n---\n\nSells bread.\n")
    assert brief.title == "Bakery"
    assert brief.sections[0].blocks[0].line == 6


def test_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    assert checked_text("\ufeff# A\r\n\r\ntext\r") == "# A\n\ntext\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("%PDF-1.7\x00\x01", "U\\+0000 in line 1"),
        ("fine\nnot \ufffd fine", "U\\+FFFD in line 2"),
        ("a \ud800 surrogate", "U\\+D800"),
        ("escape \x1b[31m", "U\\+001B"),
        (b"bytes", "is a bytes"),
        ({"brief": "x"}, "is a dict"),
        ("x" * 400_001, "400,001 characters"),
    ],
)
def test_what_is_no_brief_is_refused_with_the_reason(value: object, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        checked_text(value)


@pytest.mark.parametrize("text", ["---\n", "```\nonly code\n```", "<!-- -->\n\n***\n"[9:]])
def test_markup_without_words_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="no words"):
        parse_brief(text)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Stored within 4 hours.", ("time", "at_most", 4, "hours")),
        ("About 30 reports arrive a day.", ("rate", "about", 30, "reports per day")),
        ("Used by 2,400 tenants.", ("count", "exactly", 2400, "tenants")),
        ("The budget is € 60,000 and no more.", ("money", "exactly", 60_000, "EUR")),
        ("It costs 180,000 EUR.", ("money", "exactly", 180_000, "EUR")),
        ("Available 99.5 % of the time.", ("share", "exactly", 99.5, "percent")),
        ("Answers in under 300 ms.", ("time", "at_most", 300, "milliseconds")),
        ("At least 1.5 million rows.", ("count", "at_least", 1_500_000, "rows")),
        ("Up to 40 concurrent users.", ("count", "at_most", 40, "users")),
    ],
)
def test_quantities(sentence: str, expected: tuple[str, str, float, str]) -> None:
    (found,) = find_quantities(sentence, 7)
    assert (found.kind, found.bound, found.value, found.unit) == expected
    assert found.phrase in sentence
    assert found.line == 7


@pytest.mark.parametrize("sentence", ["In 2024 we began.", "ISO 27001 and WCAG 2.2.", "Version 3.", "No number."])
def test_bare_numbers_are_no_quantities(sentence: str) -> None:
    assert find_quantities(sentence, 1) == ()


@pytest.mark.parametrize(
    ("verb", "past", "gerund", "third"),
    [
        ("assign", "assigned", "assigning", "assigns"),
        ("submit", "submitted", "submitting", "submits"),
        ("open", "opened", "opening", "opens"),
        ("plan", "planned", "planning", "plans"),
        ("pay", "paid", "paying", "pays"),
        ("notify", "notified", "notifying", "notifies"),
        ("dispatch", "dispatched", "dispatching", "dispatches"),
    ],
)
def test_verb_forms(verb: str, past: str, gerund: str, third: str) -> None:
    assert (language.past(verb), language.gerund(verb), language.third_person(verb)) == (past, gerund, third)
    assert {language.verb_base(form) for form in (past, gerund, third)} == {verb}


@pytest.mark.parametrize("noun", ["fault", "delivery", "batch", "box", "analysis", "weighing slip", "child"])
def test_plural_and_singular_are_inverse(noun: str) -> None:
    last = language.plural(noun).split()[-1]
    assert last != noun.rsplit(maxsplit=1)[-1]
    assert language.singular(last) == noun.rsplit(maxsplit=1)[-1]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("the open weighing slips of a grower", "weighing slip"),
        ("a fault with a photo", "fault"),
        ("their finished repairs, by cost", "repair"),
        ("and with the", ""),
    ],
)
def test_noun_phrases(text: str, phrase: str) -> None:
    assert language.noun_phrase(text) == phrase


def test_technologies_and_their_negation() -> None:
    assert find_technologies("PostgreSQL on Debian; no AWS, and without Azure") == (
        ("PostgreSQL", "Linux"),
        ("AWS", "Azure"),
    )
    assert find_technologies("Users react to reports") == ((), ())
    assert constraint_category("Pages load in under 2 seconds") == "performance"
    assert is_technical("Hosted in Germany")
    assert not is_technical("The budget is 5,000 EUR")


def test_fields_of_a_feature() -> None:
    fields = find_fields("Report a fault with a room, up to 3 photos, the date of the damage and an e-mail")
    assert [(field.name, field.kind) for field in fields] == [
        ("room", "string"), ("photo", "uri"), ("date", "date"), ("e_mail", "email"),
    ]  # fmt: skip
    assert find_fields("it is confirmed by a dispatcher") == ()


def test_titles_and_marks() -> None:
    assert split_title("Report a fault: with a photo.", "") == ("Report a fault", "With a photo.")
    assert marked_priority("Report a fault (must): now") == ("Report a fault : now", "must")
    assert marked_priority("Report a fault") == ("Report a fault", None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Weighing slips", "weighing_slips"),
        ("class", "class_"),
        ("2 words", "n_2_words"),
        ("租户", "item"),
        ("Größe", "grosse"),
    ],
)
def test_names_are_usable_in_python(text: str, name: str) -> None:
    assert language.identifier(text) == name
    assert name.isidentifier()
