"""The UX expert: screens, journeys and components that serve the user stories.

Rule-based, no language model: every story lands on a screen by its kind of action, the platform follows the devices of
the personas.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from orchestrator import AgentContext, ValidationResult, agent
from tasks.inputs import LATER, look_up, of_group, parse, read_or, shape
from tasks.making.components import make_components
from tasks.making.journeys import make_journeys
from tasks.making.objections import about_api, about_platform
from tasks.making.platform import platform_of_people
from tasks.making.screens import is_offline, make_ui_spec, persona_texts
from tasks.models import (
    FunctionalRequirement,
    Persona,
    Platform,
    SystemArchitecture,
    TargetUser,
    UiSpec,
    UserStory,
    UxOutput,
)
from tasks.prose import structured
from tasks.writing import to_json

_STORIES: Final = shape(tuple[UserStory, ...])
_PERSONAS: Final = shape(tuple[Persona, ...])
_USERS: Final = shape(tuple[TargetUser, ...])
_PLATFORM: Final = TypeAdapter[Platform](Platform, config=LATER)

_REQUIREMENTS: Final = shape(tuple[FunctionalRequirement, ...])
_UI: Final = shape(UiSpec)
_ARCHITECTURE: Final = shape(SystemArchitecture)
_API: Final = shape(dict[str, Any])

DEFAULTS: Final[dict[str, Any]] = {
    "ui_spec": {
        "platform": "mobile_first",
        "platform_reason": "assumed: the UX expert did not finish",
        "principles": [],
        "screens": [],
        "navigation": "flowchart LR",
        "assumed": True,
    },
    "user_journeys": [],
    "component_specifications": [],
}
"""What a barrier fills in for a UX expert that did not finish. It claims nothing, so that quality assurance sees it."""


def validate(ctx: AgentContext) -> ValidationResult:
    """Whether the architecture carries the screens: the same platform, and an operation for what they show."""
    ui, architecture = of_group(ctx, "ui_spec", _UI), of_group(ctx, "system_architecture", _ARCHITECTURE)
    document = of_group(ctx, "api_specifications", _API)
    findings = list(about_platform(ui, architecture))
    requirements = read_or(ctx, "pm.functional_requirements", _REQUIREMENTS, ())
    findings += [] if document is None else about_api(ui, requirements, document)
    return ValidationResult(valid=not findings, findings=tuple(findings))


@agent(
    "ux_expert",
    cache=True,
    reads=["pm.user_stories", "pm.user_personas", "analyst.target_users"],
    writes=["ui_spec", "user_journeys", "component_specifications"],
    defaults=DEFAULTS,
    output=UxOutput,
    validate=validate,
)
def ux_expert(ctx: AgentContext) -> UxOutput:
    """Design for `pm.user_stories`. Personas that nobody wrote are made of `analyst.target_users`.

    The parameter `platform` overrides what the personas suggest.
    """
    stories = parse(structured(ctx.read("pm.user_stories"), "pm.user_stories"), "pm.user_stories", _STORIES)
    named = structured(look_up(ctx, "analyst.target_users") or [], "analyst.target_users")
    users = parse(named, "analyst.target_users", _USERS)
    personas = read_or(ctx, "pm.user_personas", _PERSONAS, ()) or _personas(users, stories)
    platform, reason = _platform(ctx, personas)
    offline = is_offline([*persona_texts(personas), *(story.i_want for story in stories)])
    ctx.progress(0.2, f"{len(stories)} stories, {platform.replace('_', ' ')}")
    spec = make_ui_spec(stories, platform, reason, offline)
    ctx.log.info("%s because %s", platform, reason)
    ctx.progress(0.6, f"{len(spec.screens)} screens")
    output = UxOutput(
        ui_spec=spec,
        user_journeys=make_journeys(personas, stories, spec.screens),
        component_specifications=make_components(spec.screens, platform == "mobile_first", offline),
    )
    ctx.log.info("%d screens from %d components", len(spec.screens), len(output.component_specifications))
    ctx.artifact("ui_spec.md", ctx.render("ui_spec.md.j2", **output.model_dump(mode="json")))
    ctx.artifact("ui_spec.json", to_json(output))
    return output


def _platform(ctx: AgentContext, personas: tuple[Persona, ...]) -> tuple[Platform, str]:
    wanted = ctx.params.get("platform")
    if wanted is None:
        return platform_of_people(personas)
    return parse(wanted, "with.platform", _PLATFORM), "the workflow asks for it"


def _personas(users: tuple[TargetUser, ...], stories: tuple[UserStory, ...]) -> tuple[Persona, ...]:
    return tuple(
        Persona(
            id=f"P-{number}",
            role=user.name,
            description=user.description,
            device=user.device,
            device_reason="said of this group in the brief" if user.device != "unknown" else "the brief does not say",
            goals=(),
            pains=(),
            stories=tuple(story.id for story in stories if story.as_a == user.name),
        )
        for number, user in enumerate(users, start=1)
    )
