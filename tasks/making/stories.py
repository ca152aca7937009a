"""From features to user stories with acceptance criteria, and from users to personas."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.models import Action, Criterion, Device, Feature, Persona, ProblemAnalysis, TargetUser, UserStory
from tasks.reading import language
from tasks.reading.quantities import find_quantities


def make_stories(features: Sequence[Feature], goals: Sequence[str], problem: str) -> tuple[UserStory, ...]:
    """One story per feature, in the order of the brief."""
    return tuple(
        UserStory(
            id=f"US-{number}",
            feature=feature.id,
            title=feature.title,
            as_a=feature.actor,
            i_want=feature.wish if feature.wish.startswith("have ") else f"to {feature.wish}",
            so_that=_so_that(feature, goals, problem),
            priority=feature.priority,
            priority_reason=feature.priority_reason,
            action=feature.action,
            verb=feature.verb,
            entity=feature.entity,
            fields=feature.fields,
            acceptance_criteria=tuple(_criteria(feature, f"US-{number}")),
        )
        for number, feature in enumerate(features, start=1)
    )


def _so_that(feature: Feature, goals: Sequence[str], problem: str) -> str:
    """The benefit that the brief states, else the goal that speaks of the same things, else what it does away with."""
    if feature.benefit:
        return feature.benefit
    text = f"{feature.title} {feature.description} {feature.entity}"
    scored = [(language.overlap(goal, text), -index, goal) for index, goal in enumerate(goals)]
    best = max(scored, default=(0, 0, ""))
    if best[0] >= 1:
        return f"we come closer to the goal “{best[2]}”"
    pains = [(language.overlap(sentence, text), -index, sentence) for index, sentence in enumerate(language.sentences(problem))]
    pain = max(pains, default=(0, 0, ""))
    if pain[0] >= 2:
        return f"this no longer holds: “{pain[2].rstrip('.')}”"
    return _plain_benefit(feature.action, feature.entity)


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


def _criteria(feature: Feature, story: str) -> list[Criterion]:
    """The main case, what must not happen, and every bound and rule that the brief states for this feature."""
    given = f"{language.article(feature.actor)} {feature.actor} is signed in"
    drafts = [*_main_case(feature, given)]
    text = ". ".join((feature.title, feature.description, *feature.details))
    for sentence in dict.fromkeys(language.sentences(text)):
        bounds = [quantity for quantity in find_quantities(sentence, feature.line) if quantity.bound != "exactly"]
        rule = re.search(r"\b(?:must|has to|have to|only|never|also|at least|works?|every)\b", sentence, re.I)
        if bounds or (rule and sentence.rstrip(".") != feature.title):
            drafts.append((given, f"they {_do(feature)}", f"this holds: “{sentence.rstrip('.')}”"))
    drafts += [(given, f"they {_do(feature)}", f"this holds: “{detail.rstrip('.')}”") for detail in feature.details]
    unique = list(dict.fromkeys(drafts))[:6]
    return [
        Criterion(id=f"{story}.{number}", given=given, when=when, then=then)
        for number, (given, when, then) in enumerate(unique, start=1)
    ]


def _do(feature: Feature) -> str:
    """What they do, in a few words: the wish without its lists."""
    short = re.split(r",|;|\s(?:with|including|so that)\s", feature.wish.removeprefix("have the system "))[0]
    return f"make the system {short}" if feature.wish.startswith("have the system") else short


def _main_case(feature: Feature, given: str) -> list[tuple[str, str, str]]:
    entity, things = feature.entity, language.plural(feature.entity)
    a_thing = f"{language.article(entity)} {entity}"
    do = f"they {_do(feature)}"
    names = [field.words for field in feature.fields]
    if feature.action in ("create", "manage"):
        kept = f" with its {_listing(names)}" if names else ""
        first = names[0] if names else "name"
        return [
            (given, do, f"the {entity} is stored{kept}, and appears in the list of {things}"),
            (given, f"they leave out the {first}", f"nothing is stored, and a message names the missing {first}"),
        ]
    if feature.action == "read":
        by = f", and can be narrowed down by {_listing(names)}" if names else ""
        return [
            (f"{given}, and there are {things}", do, f"they see the {things} they may see{by}"),
            (f"{given}, and there are no {things}", do, "an explanation is shown instead of an empty page"),
        ]
    if feature.action == "remove":
        return [
            (f"{given}, and {a_thing} exists", do, f"the {entity} is gone after they have confirmed it once"),
            (given, f"the {entity} is already gone", "they are told so, and nothing else changes"),
        ]
    if feature.action == "notify":
        return [
            (f"{a_thing} exists that concerns {language.article(feature.actor)} {feature.actor}", "its time has come",
             f"the {feature.actor} receives exactly one message that names the {entity}"),
            (f"the message about {a_thing} cannot be delivered", "it is sent", "this is visible to those who look after it"),
        ]
    if feature.action == "export":
        return [(f"{given}, and there are {things}", do, f"they get a file with one row for each {entity} they may see")]
    done = language.past(feature.verb)
    return [
        (f"{given}, and {a_thing} exists", do, f"the {entity} is marked as {done}, with who did it and when"),
        (f"{given}, and the {entity} is already {done}", do, "they are told so, and nothing else changes"),
    ]


def _listing(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


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
                description=user.description or f"Named in the features only: {', '.join(story.title for story in own)}.",
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
    from tasks.reading.extract import find_device

    if user.device != "unknown":
        return user.device, "said of this group in the brief"
    for text in texts:
        device = find_device(text)
        if device != "unknown" and _about(text, user):
            return device, f"“{language.clip(text, 90)}”"
    return "unknown", "the brief does not say"
