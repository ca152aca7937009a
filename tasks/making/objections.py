"""What the UX expert and the architect have to say about each other's work. Sentences, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.making.tracing import operations_by_requirement
from tasks.models import FunctionalRequirement, SystemArchitecture, UiSpec


def about_platform(ui: UiSpec | None, architecture: SystemArchitecture | None) -> Iterator[str]:
    """Both have to build for the same platform; one that was filled in has decided on none."""
    if ui is None or architecture is None or ui.assumed or architecture.assumed:
        return
    if ui.platform != architecture.platform:
        yield (
            f"the screens are {ui.platform} ({ui.platform_reason}), "
            f"the architecture is {architecture.platform} ({architecture.platform_reason})"
        )


def about_api(
    ui: UiSpec | None, requirements: Sequence[FunctionalRequirement], document: Mapping[str, Any]
) -> Iterator[str]:
    """What the screens promise needs an operation: each requirement whose story is on a screen."""
    served = operations_by_requirement(document)
    shown = {story for screen in (() if ui is None else ui.screens) for story in screen.stories}
    for requirement in requirements:
        stories = [story for story in requirement.stories if story in shown]
        if stories and requirement.priority != "wont" and requirement.id not in served:
            yield f"a screen shows {', '.join(stories)}, but no operation serves {requirement.id}"


def about_screens(
    ui: UiSpec, requirements: Sequence[FunctionalRequirement], document: Mapping[str, Any]
) -> Iterator[str]:
    """What the API offers needs a screen: each story of a requirement that has an operation."""
    served = operations_by_requirement(document)
    shown = {story for screen in ui.screens for story in screen.stories}
    for requirement in requirements:
        if requirement.id in served:
            for story in requirement.stories:
                if story not in shown:
                    yield f"{', '.join(served[requirement.id])} serves {story}, which is on no screen"
    known = {screen.id for screen in ui.screens}
    for screen in ui.screens:
        for target in screen.leads_to:
            if target not in known:
                yield f"screen {screen.id} leads to {target}, which there is not"
