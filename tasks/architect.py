"""The architect: components, decisions, technology stack and an OpenAPI 3.1 document that validates.

Rule-based, no language model: what the constraints name is taken, what they leave open is filled with plain choices and
marked as assumed; the API follows from the things and actions of the requirements.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from orchestrator import AgentContext, AgentError, ValidationResult, agent
from tasks.inputs import LATER, look_up, of_group, parse, read_or, shape
from tasks.making.architecture import make_architecture
from tasks.making.objections import about_platform, about_screens
from tasks.making.openapi import make_openapi, openapi_mistakes
from tasks.making.platform import platform_of_texts
from tasks.making.resources import make_resources
from tasks.making.stack import make_stack
from tasks.models import (
    ArchitectOutput,
    Constraint,
    FunctionalRequirement,
    NonFunctionalRequirement,
    Platform,
    Requirements,
    SystemArchitecture,
    UiSpec,
)
from tasks.prose import structured
from tasks.writing import to_json

_FUNCTIONAL: Final = shape(tuple[FunctionalRequirement, ...])
_NON_FUNCTIONAL: Final = shape(tuple[NonFunctionalRequirement, ...])
_BOTH: Final = shape(Requirements)
_CONSTRAINTS: Final = shape(tuple[Constraint, ...])
_PLATFORM: Final = TypeAdapter[Platform](Platform, config=LATER)

_UI: Final = shape(UiSpec)
_ARCHITECTURE: Final = shape(SystemArchitecture)
_API: Final = shape(dict[str, Any])

DEFAULTS: Final[dict[str, Any]] = {
    "system_architecture": {
        "style": "undecided",
        "platform": "mobile_first",
        "platform_reason": "assumed: the architect did not finish",
        "components": [],
        "decisions": [],
        "diagram": "flowchart TB",
        "assumed": True,
    },
    "technology_stack": {"choices": [], "excluded": [], "assumed": True},
    "api_specifications": {
        "openapi": "3.1.0",
        "info": {"title": "Product", "version": "0.0.0", "description": "Assumed: the architect did not finish."},
        "paths": {},
        "components": {"schemas": {}},
    },
}
"""What a barrier fills in for an architect that did not finish: valid, empty, and marked, so that it claims nothing."""


def validate(ctx: AgentContext) -> ValidationResult:
    """Whether the screens fit the architecture: the same platform, a screen for what the API serves, no dead ends."""
    ui, architecture = of_group(ctx, "ui_spec", _UI), of_group(ctx, "system_architecture", _ARCHITECTURE)
    document = of_group(ctx, "api_specifications", _API)
    findings = list(about_platform(ui, architecture))
    requirements = read_or(ctx, "pm.functional_requirements", _FUNCTIONAL, ())
    findings += [] if ui is None else about_screens(ui, requirements, document or {})
    return ValidationResult(valid=not findings, findings=tuple(findings))


@agent(
    "architect",
    cache=True,
    reads=[
        "pm.functional_requirements",
        "pm.non_functional_requirements",
        "pm.requirements",
        "analyst.technical_constraints",
    ],
    writes=["system_architecture", "technology_stack", "api_specifications"],
    defaults=DEFAULTS,
    output=ArchitectOutput,
    validate=validate,
)
def architect(ctx: AgentContext) -> ArchitectOutput:
    """Design for the requirements of pm: its two lists, or `pm.requirements` that holds both.

    The parameter `platform` overrides what the constraints suggest. Raises AgentError if the API does not validate.
    """
    functional, non_functional = _requirements(ctx)
    given = structured(look_up(ctx, "analyst.technical_constraints") or [], "analyst.technical_constraints")
    constraints = parse(given, "analyst.technical_constraints", _CONSTRAINTS)
    platform, reason = _platform(ctx, constraints, non_functional)
    stack = make_stack(constraints, platform, _further_layers(functional, non_functional))
    resources = make_resources(functional)
    ctx.progress(0.3, f"{len(resources)} resources, {platform.replace('_', ' ')}")
    ctx.log.info("%s because %s", platform, reason)
    document = make_openapi(resources, stack)
    mistakes = openapi_mistakes(document)
    if mistakes:
        raise AgentError(f"the API document is not valid OpenAPI 3.1: {'; '.join(mistakes)}")
    operations = sum(len(resource.operations) for resource in resources)
    ctx.progress(0.8, f"{operations} operations, OpenAPI document valid")
    architecture = make_architecture(functional, non_functional, resources, stack, platform, reason)
    output = ArchitectOutput(system_architecture=architecture, technology_stack=stack, api_specifications=document)
    ctx.log.info(
        "%d components, %d decisions, %d operations",
        len(architecture.components),
        len(architecture.decisions),
        operations,
    )
    ctx.artifact("architecture.md", ctx.render("architecture.md.j2", **output.model_dump(mode="json")))
    ctx.artifact("openapi.json", to_json(document))
    return output


def _requirements(
    ctx: AgentContext,
) -> tuple[tuple[FunctionalRequirement, ...], tuple[NonFunctionalRequirement, ...]]:
    """Both lists, from wherever the workflow lets this step read them."""
    functional = look_up(ctx, "pm.functional_requirements")
    if functional is None:
        both = parse(structured(ctx.read("pm.requirements"), "pm.requirements"), "pm.requirements", _BOTH)
        return both.functional, both.non_functional
    non_functional = read_or(ctx, "pm.non_functional_requirements", _NON_FUNCTIONAL, ())
    given = structured(functional, "pm.functional_requirements")
    return parse(given, "pm.functional_requirements", _FUNCTIONAL), non_functional


def _platform(
    ctx: AgentContext, constraints: tuple[Constraint, ...], non_functional: tuple[NonFunctionalRequirement, ...]
) -> tuple[Platform, str]:
    wanted = ctx.params.get("platform")
    if wanted is not None:
        return parse(wanted, "with.platform", _PLATFORM), "the workflow asks for it"
    texts = [constraint.text.rstrip(".") for constraint in constraints]
    return platform_of_texts([*texts, *(one.statement.rstrip(".") for one in non_functional)])


def _further_layers(
    functional: tuple[FunctionalRequirement, ...], non_functional: tuple[NonFunctionalRequirement, ...]
) -> list[tuple[str, str]]:
    """Layers beyond the usual ones that some requirement asks for, with the reason."""
    layers = []
    timed = any(one.category in ("process time", "retention") for one in non_functional)
    if timed or any(one.action == "notify" for one in functional):
        layers.append(("workers", "messages and timed work must not hold up a request"))
    if any(field.kind == "uri" for one in functional for field in one.fields):
        layers.append(("files", "the requirements speak of photos or documents"))
    return layers
