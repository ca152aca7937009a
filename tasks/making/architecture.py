"""The system's components with a Mermaid flowchart, and the decisions behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from tasks.making.resources import Resource
from tasks.making.stack import chosen
from tasks.models import (
    ArchitectureComponent,
    Decision,
    FunctionalRequirement,
    NonFunctionalRequirement,
    Platform,
    SystemArchitecture,
    TechnologyStack,
)
from tasks.reading import language
from tasks.writing import label

Kind = Literal["client", "service", "module", "store", "worker", "external"]
_SHAPES: Final[dict[Kind, str]] = {
    "client": '(["{}"])',
    "service": '["{}"]',
    "module": '["{}"]',
    "store": '[("{}")]',
    "worker": '[["{}"]]',
    "external": '{{{{"{}"}}}}',
}
_ANSWERS: Final[dict[str, tuple[str, str, str]]] = {
    "offline use": (
        "Work continues without a connection",
        "The client keeps what it needs locally and queues changes with an id of their own; the server accepts "
        "each id once and answers a conflict with both versions.",
        "Every writing operation has to be repeatable. Conflicts need a screen.",
    ),
    "performance": (
        "Answer within the stated time by doing little per request",
        "Lists are paged and indexed on what they are filtered by; whatever may take longer runs in the background.",
        "The stated time is measured in CI with a data set of the stated size.",
    ),
    "availability": (
        "Stay available with two processes and tested restores",
        "Two stateless processes behind a proxy, replaced one at a time; backups are restored monthly.",
        "No state in the processes. A monthly rehearsal costs an hour.",
    ),
    "capacity": (
        "Size for the stated load and a half, and no more",
        "One database server carries the load; processes can be added because they keep no state.",
        "No cluster to look after. Beyond the stated load the question opens again.",
    ),
    "retention": (
        "Keep and erase by rule, not by hand",
        "Every table states how long its rows live. A nightly job applies it and writes down what it did; history is "
        "appended, never changed.",
        "Reports have to cope with erased people and with records that cannot be altered.",
    ),
    "security and privacy": (
        "Sign-in stays outside, permission stays inside",
        "An identity provider says who somebody is; the service alone decides what they may do, next to the operation.",
        "One table of roles and operations, tested cell by cell.",
    ),
    "accessibility": (
        "Accessible by construction",
        "One set of components is checked once and used everywhere; pages are checked automatically in CI.",
        "No component from elsewhere without the same check.",
    ),
    "integration": (
        "Other systems are reached through an adapter each",
        "An adapter translates at the border and keeps what it sent and received, so that an exchange can be repeated.",
        "The core never sees a foreign format. Each adapter needs a stand-in for tests.",
    ),
    "hosting": (
        "Runs where the brief says, and nowhere else",
        "The whole system is described by files in the repository and can be set up on a bare machine.",
        "No service that exists in one cloud only.",
    ),
    "process time": (
        "Watch the time that people need, not only the machine's",
        "The moments of each status change are stored; a report shows which cases miss the stated time.",
        "The times are there from the first day, also to be argued about.",
    ),
}


def make_architecture(
    requirements: Sequence[FunctionalRequirement],
    non_functional: Sequence[NonFunctionalRequirement],
    resources: Sequence[Resource],
    stack: TechnologyStack,
    platform: Platform,
    reason: str,
) -> SystemArchitecture:
    """A modular service with the parts that the requirements ask for."""
    components = tuple(_components(requirements, non_functional, resources, stack, platform))
    return SystemArchitecture(
        style="modular monolith",
        platform=platform,
        platform_reason=reason,
        components=components,
        decisions=_decisions(non_functional, resources, stack),
        diagram=_diagram(components),
    )


def _components(
    requirements: Sequence[FunctionalRequirement],
    non_functional: Sequence[NonFunctionalRequirement],
    resources: Sequence[Resource],
    stack: TechnologyStack,
    platform: Platform,
) -> Iterator[ArchitectureComponent]:
    def of(*categories: str) -> tuple[str, ...]:
        return tuple(one.id for one in non_functional if one.category in categories)

    yield _component(
        "client",
        chosen(stack, "frontend"),
        "client",
        f"What people see; {platform.replace('_', ' ')}.",
        of("offline use", "accessibility", "platform", "language"),
    )
    yield _component(
        "api",
        f"API service ({chosen(stack, 'backend')})",
        "service",
        "The only way in: checks who asks, what they may, and what they send.",
        of("performance", "capacity", "availability", "security and privacy", "maintenance"),
    )
    for resource in resources:
        own = tuple(one.id for one in requirements if one.entity == resource.entity)
        yield _component(
            f"m_{resource.collection}",
            language.upper_first(language.plural(resource.entity)),
            "module",
            f"Rules and states of {language.plural(resource.entity)}: {', '.join(resource.statuses)}.",
            own,
        )
    yield _component(
        "db",
        chosen(stack, "database") or "Database",
        "store",
        "Everything that has to be kept, with history.",
        of("data", "retention"),
    )
    yield from _supporting(requirements, of("process time", "retention"), stack)
    yield _component(
        "identity", chosen(stack, "identity"), "external", "Says who somebody is.", of("security and privacy")
    )
    for choice in stack.choices:
        if choice.layer in ("integration", "messaging", "search"):
            does = f"Reached through an adapter of its own: {choice.reason}."
            yield _component(f"x_{language.slug(choice.choice)}", choice.choice, "external", does, of("integration"))


def _supporting(
    requirements: Sequence[FunctionalRequirement], timed: tuple[str, ...], stack: TechnologyStack
) -> Iterator[ArchitectureComponent]:
    """What only some products need: a worker for messages and timed work, a store for files."""
    notified = tuple(one.id for one in requirements if one.action == "notify")
    if notified or timed:
        does = f"Sends messages, watches times, applies retention. {chosen(stack, 'workers')}."
        yield _component("worker", "Background worker", "worker", does, notified + timed)
    files = tuple(one.id for one in requirements if any(field.kind == "uri" for field in one.fields))
    if files:
        does = "Photos and documents, checked for size and type."
        yield _component("files", chosen(stack, "files"), "store", does, files)


def _component(
    key: str, name: str, kind: Kind, responsibility: str, requirements: tuple[str, ...] = ()
) -> ArchitectureComponent:
    return ArchitectureComponent(id=key, name=name, kind=kind, responsibility=responsibility, requirements=requirements)


def _decisions(
    non_functional: Sequence[NonFunctionalRequirement], resources: Sequence[Resource], stack: TechnologyStack
) -> tuple[Decision, ...]:
    """On the shape of the whole, on the given technologies, and on each category of non-functional requirements."""
    names = ", ".join(language.plural(resource.entity) for resource in resources)
    drafts: list[tuple[str, str, str, str, tuple[str, ...]]] = [
        (
            "One service with modules inside",
            f"{len(resources)} kinds of things ({names}) share people, states and one database.",
            "A modular monolith: one deployment, a module per kind of thing, calls through front doors only.",
            "Simple to run and to test; a module can be taken out later.",
            (),
        ),
    ]
    given = [choice for choice in stack.choices if choice.source != "assumed"]
    if given or stack.excluded:
        without = f" Ruled out: {', '.join(stack.excluded)}." if stack.excluded else ""
        drafts.append(
            (
                "Take what is given",
                f"The brief names {', '.join(choice.choice for choice in given) or 'what not to use'}.{without}",
                "These are used as named; what is left open gets the plainest choice, marked as assumed.",
                "The assumed choices can still be changed without touching a promise of the brief.",
                (),
            ),
        )
    for category in dict.fromkeys(one.category for one in non_functional):
        own = [one for one in non_functional if one.category == category]
        if category in _ANSWERS:
            title, decision, consequences = _ANSWERS[category]
            context = " ".join(language.clip(one.statement, 220) for one in own)
            drafts.append((title, context, decision, consequences, tuple(one.id for one in own)))
    return tuple(
        Decision(
            id=f"D-{number}",
            title=title,
            context=context,
            decision=decision,
            consequences=consequences,
            requirements=ids,
        )
        for number, (title, context, decision, consequences, ids) in enumerate(drafts, start=1)
    )


def _diagram(components: Sequence[ArchitectureComponent]) -> str:
    """A flowchart: client to service to modules to stores; worker and outside systems at the side."""
    ids = {component.id: f"n{number}" for number, component in enumerate(components, start=1)}
    lines = ["flowchart TB"]
    outside = [component for component in components if component.kind != "module"]
    modules = [component for component in components if component.kind == "module"]
    lines += [f"  {ids[one.id]}{_SHAPES[one.kind].format(label(one.name))}" for one in outside]
    lines.append('  subgraph modules["Modules"]')
    lines += [f"    {ids[one.id]}{_SHAPES[one.kind].format(label(one.name))}" for one in modules]
    lines.append("  end")
    lines.append(f"  {ids['client']} -->|HTTPS, JSON| {ids['api']}")
    lines.append(f"  {ids['api']} --> modules")
    lines.append(f"  modules --> {ids['db']}")
    lines.append(f"  {ids['client']} -->|sign-in| {ids['identity']}")
    lines.append(f"  {ids['api']} -.->|checks tokens| {ids['identity']}")
    if "worker" in ids:
        lines.append(f"  {ids['worker']} --> {ids['db']}")
    if "files" in ids:
        lines.append(f"  modules --> {ids['files']}")
    lines += [f"  modules -.->|adapter| {ids[one.id]}" for one in components if one.id.startswith("x_")]
    return "\n".join(lines)
