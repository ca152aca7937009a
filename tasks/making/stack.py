"""The technology stack: what the constraints name is taken, the rest is filled with plain choices that say so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tasks.models import Constraint, StackChoice, TechnologyStack
from tasks.reading import language
from tasks.reading.categories import technology

_LAYERS: Final = (
    "backend",
    "database",
    "frontend",
    "identity",
    "files",
    "hosting",
    "integration",
    "messaging",
    "workers",
    "cache",
    "search",
    "operations",
)
_ASSUMED: Final = {
    "backend": (
        "Python 3.11+",
        "the brief names no language; a small team can read it, and the skeleton is written in it",
    ),
    "database": ("PostgreSQL", "the brief names no database; relational data with transactions is the safe start"),
    "identity": ("OpenID Connect", "the brief names no directory; every usual provider speaks it"),
    "hosting": (
        "Containers on a Linux server",
        "the brief leaves it open; one server is enough until measured otherwise",
    ),
}
_FRONTENDS: Final = {
    "mobile_first": (
        "Progressive web app in TypeScript",
        "runs in the browser of a phone, can work offline, needs no app store",
    ),
    "desktop_primary": (
        "Web application in TypeScript",
        "nothing to install on the desks; keyboard and dense tables are possible",
    ),
}


def make_stack(constraints: Sequence[Constraint], platform: str, extra: Iterable[tuple[str, str]]) -> TechnologyStack:
    """A choice per layer. `extra` are layers that a requirement asks for, with the reason."""
    named: dict[str, list[StackChoice]] = {}
    excluded = tuple(dict.fromkeys(name for constraint in constraints for name in constraint.excluded))
    for constraint in constraints:
        for name in constraint.technologies:
            known = technology(name)
            if known is not None and name not in excluded:
                choice = StackChoice(
                    layer=known.layer,
                    choice=name,
                    reason=f"“{language.clip(constraint.text, 140)}”",
                    source=constraint.id,
                )
                own = named.setdefault(known.layer, [])
                if name not in {one.choice for one in own}:
                    own.append(choice)
    assumed = {**_ASSUMED, "frontend": _FRONTENDS[platform]}
    place = next((one for one in constraints if one.category == "hosting"), None)
    if place is not None:
        assumed["hosting"] = (_ASSUMED["hosting"][0], f"the brief says only where: “{language.clip(place.text, 120)}”")
    for layer, reason in extra:
        assumed.setdefault(layer, (_extra_choice(layer, excluded), reason))
    for layer, (choice_name, why) in assumed.items():
        if layer not in named and choice_name not in excluded:
            named[layer] = [StackChoice(layer=layer, choice=choice_name, reason=why, source="assumed")]
    ordered = sorted(named, key=_LAYERS.index)
    return TechnologyStack(choices=tuple(choice for layer in ordered for choice in named[layer]), excluded=excluded)


def _extra_choice(layer: str, excluded: Sequence[str]) -> str:
    plain = {
        "files": "Files on the server's disk, backed up with the database",
        "workers": "A queue table in the database, read by one worker",
        "operations": "Structured logs and one dashboard",
        "search": "Full-text search of the database",
    }
    return plain.get(layer, "to be decided")


def chosen(stack: TechnologyStack, layer: str) -> str:
    """The names chosen for a layer, joined; "" if it has none."""
    return " and ".join(choice.choice for choice in stack.choices if choice.layer == layer)
