"""Which platform comes first, judged by the evidence that one agent has. Two agents may come to different answers:
they read different parts of the context, and finding that out is what quality assurance is for."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.models import Persona, Platform
from tasks.reading import language, lexicon


def platform_of_people(personas: Iterable[Persona]) -> tuple[Platform, str]:
    """By the devices of the personas, each weighed by how many stories it has."""
    weights = {"phone": 0, "desktop": 0}
    roles: dict[str, list[str]] = {"phone": [], "desktop": []}
    for persona in personas:
        if persona.device != "unknown":
            weights[persona.device] += len(persona.stories)
            roles[persona.device].append(persona.role)
    if weights["phone"] > weights["desktop"]:
        return "mobile_first", f"{weights['phone']} stories belong to people on a phone ({', '.join(roles['phone'])})"
    if weights["desktop"]:
        return (
            "desktop_primary",
            f"{weights['desktop']} stories belong to people at a desk ({', '.join(roles['desktop'])})",
        )
    return "mobile_first", "no persona has a known device; the smaller screen is the harder one, so it comes first"


def platform_of_texts(texts: Iterable[str]) -> tuple[Platform, str]:
    """By the words for devices in constraints and requirements; the sentence that decides is named."""
    phone: list[str] = []
    desktop: list[str] = []
    for text in dict.fromkeys(texts):
        if language.mentions(text, lexicon.MOBILE_WORDS):
            phone.append(text)
        if language.mentions(text, lexicon.DESKTOP_WORDS):
            desktop.append(text)
    if len(desktop) > len(phone):
        return "desktop_primary", f"“{language.clip(desktop[0], 120)}”"
    if phone:
        return "mobile_first", f"“{language.clip(phone[0], 120)}”"
    return "mobile_first", "no constraint names a device; the smaller screen is the harder one, so it comes first"
