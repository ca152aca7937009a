"""Acceptance criteria in Gherkin's three parts: the main case, what must not happen, and the brief's own rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tasks.models import Criterion, Feature
from tasks.reading import language, lexicon
from tasks.reading.quantities import find_quantities

Case = tuple[str, str, str]


def make_criteria(feature: Feature, story: str) -> tuple[Criterion, ...]:
    """At most seven criteria, numbered under the story."""
    cases = [*_main_cases(feature), *_rules(feature)]
    return tuple(
        Criterion(id=f"{story}.{number}", given=given, when=when, then=then)
        for number, (given, when, then) in enumerate(list(dict.fromkeys(cases))[:7], start=1)
    )


def _rules(feature: Feature) -> Iterator[Case]:
    """A criterion for every bound and every rule that the brief states for this feature."""
    given, when = _signed_in(feature), f"they {_do(feature)}"
    wish = language.stems(f"{feature.title} {feature.wish} {' '.join(field.words for field in feature.fields)}")
    sentences = (sentence for text in (feature.description, *feature.details) for sentence in language.sentences(text))
    for sentence in dict.fromkeys(sentences):
        bounds = [one.phrase for one in find_quantities(sentence, feature.line) if one.bound != "exactly"]
        new = language.stems(sentence) - wish
        text = sentence.rstrip(".")
        if bounds:
            yield given, when, f"the stated bound holds: {', '.join(bounds)} (“{language.clip(text, 160)}”)"
        elif sentence in feature.details or (len(new) >= 3 and _is_rule(sentence)):
            yield given, when, f"this holds: “{language.clip(text, 200)}”"


def _is_rule(sentence: str) -> bool:
    rule = r"\b(?:must|has to|have to|only|never|also|works?|every|without|accepts?|another|sorted|who changed)\b"
    return bool(re.search(rule, sentence, re.I))


def _signed_in(feature: Feature) -> str:
    return f"{language.article(feature.actor)} {feature.actor} is signed in"


def _do(feature: Feature) -> str:
    """What they do, in a few words: the wish without its lists."""
    wish = feature.wish.removeprefix("have the system ")
    head, comma, _ = wish.partition(", ")
    if comma:
        head = re.sub(r"\s(?:by|from|with|including)\s[^,]*$", "", head)
    return re.split(r"\s(?:with|including)\s", head)[0]


def _main_cases(feature: Feature) -> list[Case]:
    if feature.wish.startswith("have the system "):
        return _system_cases(feature)
    cases = {
        "create": _create_cases,
        "manage": _create_cases,
        "read": _read_cases,
        "remove": _remove_cases,
        "notify": _notify_cases,
        "export": _export_cases,
        "change": _change_cases,
    }
    return cases[feature.action](feature)


def _system_cases(feature: Feature) -> list[Case]:
    rest = feature.wish.removeprefix("have the system ")
    condition = re.search(r"\s((?:that|which|when|if|whose)\s.+)$", rest)
    done, thing = language.past(feature.verb), f"{language.article(feature.entity)} {feature.entity}"
    case = f"{thing} {condition[1]}" if condition else f"{thing} to which the rule applies"
    return [
        (case, "it is stored or changed", f"the system has {done} it, and the {feature.actor} sees why"),
        (f"{thing} to which this does not apply", "it is stored or changed", f"it is not {done}"),
    ]


def _create_cases(feature: Feature) -> list[Case]:
    names = [field.words for field in feature.fields]
    kept = f" with its {listing(names)}" if names else ""
    first, things = (names[0] if names else "entry that is required"), language.plural(feature.entity)
    given, do = _signed_in(feature), f"they {_do(feature)}"
    return [
        (given, do, f"the {feature.entity} is stored{kept}, and appears in the list of {things}"),
        (given, f"they leave out the {first}", f"nothing is stored, and a message names the missing {first}"),
    ]


def _read_cases(feature: Feature) -> list[Case]:
    names, things = [field.words for field in feature.fields], language.plural(feature.entity)
    by = f", and they can narrow these down by {listing(names)}" if names else ""
    given, do = _signed_in(feature), f"they {_do(feature)}"
    return [
        (f"{given}, and there are {things}", do, f"exactly the {things} that they may see are shown{by}"),
        (f"{given}, and there are no {things}", do, "an explanation is shown instead of an empty page"),
    ]


def _remove_cases(feature: Feature) -> list[Case]:
    thing = f"{language.article(feature.entity)} {feature.entity}"
    given, do = _signed_in(feature), f"they {_do(feature)}"
    return [
        (f"{given}, and {thing} exists", do, f"the {feature.entity} is gone after they have confirmed it once"),
        (f"{given}, and the {feature.entity} is already gone", do, "they are told so, and nothing else changes"),
    ]


def _notify_cases(feature: Feature) -> list[Case]:
    thing = f"{language.article(feature.entity)} {feature.entity}"
    actor = feature.actor
    return [
        (
            f"{thing} that concerns {language.article(actor)} {actor}",
            "the time for the message has come",
            f"the {actor} receives exactly one message, which names the {feature.entity}",
        ),
        (f"a message about {thing} that cannot be delivered", "it is sent", "somebody who can act sees it"),
    ]


def _export_cases(feature: Feature) -> list[Case]:
    things = language.plural(feature.entity)
    names = [field.words for field in feature.fields]
    columns = f" and columns for {listing(names)}" if names else ""
    given, do = _signed_in(feature), f"they {_do(feature)}"
    return [
        (f"{given}, and there are {things}", do, f"they get a file with a row for each {feature.entity}{columns}"),
        (f"{given}, and there are no {things}", do, "they get a file that has the heading row only"),
    ]


def _change_cases(feature: Feature) -> list[Case]:
    entity, done = feature.entity, language.past(feature.verb)
    given, do = _signed_in(feature), f"they {_do(feature)}"
    exists = f"{given}, and {language.article(entity)} {entity} exists"
    names = [field.words for field in feature.fields]
    kept = f" {listing(names)} and" if names else ""
    if feature.verb in lexicon.UPDATE_VERBS:
        return [
            (exists, do, f"the {entity} shows the new values, and who changed them and when"),
            (exists, f"somebody else changed the {entity} meanwhile", "they are told before they overwrite it"),
        ]
    return [
        (exists, do, f"the {entity} is marked as {done}, with{kept} who did it and when"),
        (f"{given}, and the {entity} is already {done}", do, "they are told so, and nothing else changes"),
    ]


def listing(names: Sequence[str]) -> str:
    """ "room, photo and urgency"."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
