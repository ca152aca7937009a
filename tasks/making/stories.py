"""From features to user stories with acceptance criteria, and from users to personas."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tasks.making.criteria import make_criteria
from tasks.models import Action, Device, Feature, Persona, ProblemAnalysis, TargetUser, UserStory
from tasks.reading import language
from tasks.reading.extract import find_device

SYSTEM: Final = "have the system "
"""How a wish begins that the system fulfils by itself."""


def make_stories(features: Sequence[Feature], goals: Sequence[str], symptoms: Sequence[str]) -> tuple[UserStory, ...]:
    """One story per feature, in the order of the brief."""
    common = _common_words(features)
    return tuple(
        UserStory(
            id=f"US-{number}",
            feature=feature.id,
            title=feature.title,
            as_a=feature.actor,
            i_want=_i_want(feature),
            so_that=_so_that(feature, goals, symptoms, common),
            priority=feature.priority,
            priority_reason=feature.priority_reason,
            action=feature.action,
            verb=feature.verb,
            entity=feature.entity,
            fields=feature.fields,
            acceptance_criteria=make_criteria(feature, f"US-{number}"),
        )
        for number, feature in enumerate(features, start=1)
    )


def _common_words(features: Sequence[Feature]) -> frozenset[str]:
    """Stems that so many features have that sharing them means nothing."""
    counts = Counter(stem for feature in features for stem in language.stems(f"{feature.title} {feature.description}"))
    return frozenset(stem for stem, count in counts.items() if count > max(2, len(features) // 4))


def _i_want(feature: Feature) -> str:
    """What completes "I want ...", in the first person."""
    if feature.wish.startswith(SYSTEM):
        rest = feature.wish.removeprefix(SYSTEM)
        return f"the system to {rest}"
    people = (language.plural(feature.actor), feature.actor)
    actors = "|".join(re.escape(name) for name in people)
    told = re.match(rf"{re.escape(feature.verb)} (?:the |a |an )?(?:{actors}) (.+)", feature.wish)
    if feature.action == "notify" and told:
        return f"to be {language.past(feature.verb)} {told[1]}"
    mine = re.sub(r"\b(?:their|his or her)\b", "my", feature.wish, flags=re.I)
    return f"to {mine}"


def _so_that(feature: Feature, goals: Sequence[str], symptoms: Sequence[str], common: frozenset[str]) -> str:
    """The benefit that the brief states, else the goal or the trouble that speaks of the same things."""
    if feature.benefit:
        return re.sub(r"^they ", "I ", feature.benefit)
    own = language.stems(f"{feature.title} {feature.description}") - common
    entity = language.stems(feature.entity)

    def best(texts: Sequence[str]) -> str:
        shared = [(language.stems(text) & own, entity & language.stems(text), text) for text in texts]
        scored = [(len(words) + len(names), -index, text) for index, (words, names, text) in enumerate(shared)]
        top = max(scored, default=(0, 0, ""))
        return top[2].rstrip(".") if top[0] >= 2 else ""

    goal = best(goals)
    if goal:
        return f"we come closer to the goal “{goal}”"
    trouble = best(symptoms)
    return f"this trouble ends: “{trouble}”" if trouble else _plain_benefit(feature.action, feature.entity)


def _plain_benefit(action: Action, entity: str) -> str:
    things = language.plural(entity)
    return {
        "create": f"the {entity} is on record and nobody has to keep it in mind",
        "read": f"I know where my {things} stand without asking anybody",
        "change": f"everybody works with the same state of the {entity}",
        "remove": f"nobody acts on {language.article(entity)} {entity} that no longer counts",
        "notify": f"I hear about the {entity} in time",
        "export": f"the {things} can be used outside the product",
        "manage": f"the {things} stay correct",
    }[action]


def make_personas(
    users: Sequence[TargetUser], stories: Sequence[UserStory], problem: ProblemAnalysis, platform_texts: Sequence[str]
) -> tuple[Persona, ...]:
    """A persona per group of users, and one per actor that only the features know. No invented names or faces: what is
    not in the brief is not in here."""
    known = {user.name for user in users}
    extra = dict.fromkeys(story.as_a for story in stories if story.as_a not in known)
    groups = [*users, *(TargetUser(id="", name=name, plural=language.plural(name)) for name in extra)]
    made = []
    for number, user in enumerate(groups, start=1):
        own = tuple(story for story in stories if story.as_a == user.name)
        device, reason = _device(user, platform_texts)
        made.append(
            Persona(
                id=f"P-{number}",
                role=user.name,
                description=user.description or f"Known from the features only: {'; '.join(one.title for one in own)}.",
                device=device,
                device_reason=reason,
                goals=tuple(dict.fromkeys(story.so_that for story in own)),
                pains=tuple(text for text in problem.symptoms if _about(text, user)),
                stories=tuple(story.id for story in own),
            )
        )
    return tuple(made)


def _about(text: str, user: TargetUser) -> bool:
    return language.mentions(text, (user.name, user.plural, language.plural(user.name.split()[-1])))


def _device(user: TargetUser, texts: Sequence[str]) -> tuple[Device, str]:
    """The device that the brief gives a group, else what a constraint says of this group, else unknown."""
    if user.device != "unknown":
        return user.device, "said of this group in the brief"
    for text in texts:
        device = find_device(text)
        if device != "unknown" and _about(text, user):
            return device, f"“{language.clip(text, 90)}”"
    return "unknown", "the brief does not say"
