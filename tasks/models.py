"""What the six agents hand to each other: frozen models, dumped to plain JSON in the run's context.

Ids are counted in the order of the brief (F-1, US-1, FR-1 ...), so the same brief always gets the same ids.
`line` is the line of the brief, counted from 1, that a statement was taken from.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Device = Literal["phone", "desktop", "unknown"]
Platform = Literal["mobile_first", "desktop_primary"]
Priority = Literal["must", "should", "could", "wont"]
FieldKind = Literal["string", "number", "integer", "boolean", "date", "date-time", "email", "uri"]
Action = Literal["create", "read", "change", "remove", "notify", "export", "manage"]


class Frozen(BaseModel):
    """Base of every model here: immutable, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, defer_build=True
    )


# -- analyst ------------------------------------------------------------------------------------------------------


class Quantity(Frozen):
    """A number with its unit. `value` is in `unit` (`hours`, `percent`, `EUR`, or the thing counted)."""

    value: float
    unit: str
    kind: Literal["time", "share", "money", "data", "rate", "count"]
    bound: Literal["at_most", "at_least", "about", "exactly"]
    phrase: str
    sentence: str
    line: int


class Constraint(Frozen):
    id: str
    text: str
    technical: bool
    category: str
    technologies: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    line: int = 0


class FieldHint(Frozen):
    """A property of a thing that the brief mentions ("with a photo, a room and an urgency")."""

    name: str
    kind: FieldKind
    words: str


class TargetUser(Frozen):
    """A group of users. `name` is singular and lower case; `count` is how many the brief says there are."""

    id: str
    name: str
    plural: str
    description: str = ""
    device: Device = "unknown"
    count: int | None = None
    line: int = 0


class Feature(Frozen):
    """One thing the product shall do. `wish` completes "I want to ..."; `entity` is the thing it is about."""

    id: str
    title: str
    description: str = ""
    details: tuple[str, ...] = ()
    actor: str
    actor_reason: str
    wish: str
    benefit: str = ""
    verb: str
    action: Action
    entity: str
    fields: tuple[FieldHint, ...] = ()
    priority: Priority
    priority_reason: str
    line: int = 0


class StructuredData(Frozen):
    features: tuple[Feature, ...]
    constraints: tuple[Constraint, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    goals: tuple[str, ...] = ()
    out_of_scope: tuple[str, ...] = ()
    open_questions: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()


class ProjectBrief(Frozen):
    title: str
    summary: str
    structured_data: StructuredData


class ProblemAnalysis(Frozen):
    statement: str
    symptoms: tuple[str, ...] = ()
    affected_users: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()


class ProjectMetadata(Frozen):
    """Where the analysis stands on thin ground: `guessed` names what the brief has no section for."""

    source: Literal["input", "sample"]
    words: int
    sections: tuple[str, ...]
    guessed: tuple[str, ...]


class AnalystOutput(Frozen):
    project_brief: ProjectBrief
    target_users: tuple[TargetUser, ...]
    technical_constraints: tuple[Constraint, ...]
    problem_analysis: ProblemAnalysis
    project_metadata: ProjectMetadata


# -- pm -----------------------------------------------------------------------------------------------------------


class Criterion(Frozen):
    """An acceptance criterion in Gherkin's three parts."""

    id: str
    given: str
    when: str
    then: str


class UserStory(Frozen):
    id: str
    feature: str
    title: str
    as_a: str
    i_want: str
    so_that: str
    priority: Priority
    priority_reason: str = ""
    action: Action
    verb: str
    entity: str
    fields: tuple[FieldHint, ...] = ()
    acceptance_criteria: tuple[Criterion, ...]


class Persona(Frozen):
    id: str
    role: str
    description: str
    device: Device
    device_reason: str
    goals: tuple[str, ...]
    pains: tuple[str, ...]
    stories: tuple[str, ...]


class FunctionalRequirement(Frozen):
    id: str
    statement: str
    feature: str
    stories: tuple[str, ...]
    priority: Priority
    action: Action
    verb: str
    entity: str
    fields: tuple[FieldHint, ...] = ()


class NonFunctionalRequirement(Frozen):
    id: str
    category: str
    statement: str
    measure: str = ""
    verification: str
    source: str
    line: int = 0


class Requirements(Frozen):
    functional: tuple[FunctionalRequirement, ...]
    non_functional: tuple[NonFunctionalRequirement, ...]


class StoryCriterion(Frozen):
    story: str
    criterion: Criterion


class PmOutput(Frozen):
    user_stories: tuple[UserStory, ...]
    user_personas: tuple[Persona, ...]
    functional_requirements: tuple[FunctionalRequirement, ...]
    non_functional_requirements: tuple[NonFunctionalRequirement, ...]
    requirements: Requirements
    acceptance_criteria: tuple[StoryCriterion, ...]


# -- ux_expert ----------------------------------------------------------------------------------------------------


class Screen(Frozen):
    id: str
    name: str
    kind: Literal["list", "detail", "form", "messages", "export"]
    entity: str
    purpose: str
    stories: tuple[str, ...]
    users: tuple[str, ...]
    elements: tuple[str, ...]
    states: tuple[str, ...]
    leads_to: tuple[str, ...] = ()


class UiSpec(Frozen):
    platform: Platform
    platform_reason: str
    principles: tuple[str, ...]
    screens: tuple[Screen, ...]
    navigation: str
    assumed: bool = False


class JourneyStep(Frozen):
    story: str
    screen: str
    text: str
    ease: int = Field(ge=1, le=5)


class Journey(Frozen):
    persona: str
    role: str
    title: str
    steps: tuple[JourneyStep, ...]
    diagram: str


class Component(Frozen):
    name: str
    purpose: str
    properties: tuple[str, ...]
    states: tuple[str, ...]
    accessibility: str
    used_on: tuple[str, ...]


class UxOutput(Frozen):
    ui_spec: UiSpec
    user_journeys: tuple[Journey, ...]
    component_specifications: tuple[Component, ...]


# -- architect ----------------------------------------------------------------------------------------------------


class ArchitectureComponent(Frozen):
    id: str
    name: str
    kind: Literal["client", "service", "module", "store", "worker", "external"]
    responsibility: str
    requirements: tuple[str, ...] = ()


class Decision(Frozen):
    id: str
    title: str
    context: str
    decision: str
    consequences: str
    requirements: tuple[str, ...] = ()


class SystemArchitecture(Frozen):
    style: str
    platform: Platform
    platform_reason: str
    components: tuple[ArchitectureComponent, ...]
    decisions: tuple[Decision, ...]
    diagram: str
    assumed: bool = False


class StackChoice(Frozen):
    layer: str
    choice: str
    reason: str
    source: str


class TechnologyStack(Frozen):
    choices: tuple[StackChoice, ...]
    excluded: tuple[str, ...] = ()
    assumed: bool = False


class ArchitectOutput(Frozen):
    system_architecture: SystemArchitecture
    technology_stack: TechnologyStack
    api_specifications: dict[str, Any]


# -- developer ----------------------------------------------------------------------------------------------------


class GeneratedTest(Frozen):
    """A test of the skeleton: `id` is unittest's dotted name, `operations` the operationIds it calls."""

    id: str
    operations: tuple[str, ...]
    requirements: tuple[str, ...]


class DeveloperOutput(Frozen):
    """`source_files` maps paths relative to the skeleton's root to their text."""

    package: str
    source_files: dict[str, str]
    operations: tuple[str, ...]
    tests: tuple[GeneratedTest, ...]
    notes: tuple[str, ...]


# -- qa -----------------------------------------------------------------------------------------------------------


class TraceRow(Frozen):
    """One feature followed to its tests; `gaps` says what the chain lacks."""

    feature: str
    title: str
    priority: str
    requirements: tuple[str, ...]
    stories: tuple[str, ...]
    screens: tuple[str, ...]
    operations: tuple[str, ...]
    tests: tuple[str, ...]
    gaps: tuple[str, ...]


class Check(Frozen):
    """One stated check: `achieved` (0 to 1) times `weight` is what it adds to the score."""

    id: str
    title: str
    weight: int
    achieved: float = Field(ge=0, le=1)
    evidence: str
    findings: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        return round(self.weight * self.achieved, 2)


class TestRun(Frozen):
    __test__ = False

    ran: int
    passed: int
    failures: tuple[str, ...] = ()
    outcomes: dict[str, str] = Field(default_factory=dict)
    error: str = ""


class QaOutput(Frozen):
    """`score` is the sum of weight times achieved over all checks, out of 100."""

    score: float = Field(ge=0, le=100)
    verdict: str
    checks: tuple[Check, ...]
    traceability: tuple[TraceRow, ...]
    test_run: TestRun
    consistent: bool
