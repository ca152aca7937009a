"""The product manager: user stories, personas, and requirements that trace back to the brief.

Rule-based, no language model: one story per feature, its criteria from the kind of action and from what the brief says;
one requirement per story, and one per technical constraint or stated bound.
"""

from __future__ import annotations

from typing import Final

from orchestrator import AgentContext, agent
from tasks.inputs import read_as, read_or, shape
from tasks.making.requirements import make_requirements
from tasks.making.stories import make_personas, make_stories
from tasks.models import (
    Constraint,
    PmOutput,
    ProblemAnalysis,
    ProjectBrief,
    StoryCriterion,
    TargetUser,
)
from tasks.writing import to_json

_BRIEF: Final = shape(ProjectBrief)
_USERS: Final = shape(tuple[TargetUser, ...])
_CONSTRAINTS: Final = shape(tuple[Constraint, ...])
_PROBLEM: Final = shape(ProblemAnalysis)


@agent(
    "pm",
    cache=True,
    reads=[
        "analyst.project_brief",
        "analyst.target_users",
        "analyst.technical_constraints",
        "analyst.problem_analysis",
    ],
    output=PmOutput,
)
def pm(ctx: AgentContext) -> PmOutput:
    """Turn the analyst's findings into requirements. Raises MissingInput without `analyst.project_brief`."""
    brief = read_as(ctx, "analyst.project_brief", _BRIEF)
    users = read_as(ctx, "analyst.target_users", _USERS)
    constraints = read_or(ctx, "analyst.technical_constraints", _CONSTRAINTS, ())
    problem = read_or(ctx, "analyst.problem_analysis", _PROBLEM, ProblemAnalysis(statement=""))
    data = brief.structured_data
    stories = make_stories(data.features, data.goals, problem.symptoms)
    ctx.progress(0.4, f"wrote {len(stories)} user stories")
    requirements = make_requirements(stories, constraints, data.features)
    ctx.progress(0.7, f"wrote {len(requirements.functional) + len(requirements.non_functional)} requirements")
    output = PmOutput(
        user_stories=stories,
        user_personas=make_personas(users, stories, problem, [constraint.text for constraint in constraints]),
        functional_requirements=requirements.functional,
        non_functional_requirements=requirements.non_functional,
        requirements=requirements,
        acceptance_criteria=tuple(
            StoryCriterion(story=story.id, criterion=criterion)
            for story in stories
            for criterion in story.acceptance_criteria
        ),
    )
    idle = [persona.role for persona in output.user_personas if not persona.stories]
    if idle:
        ctx.log.warning("no story is for %s: the brief names them but gives them nothing to do", ", ".join(idle))
    ctx.log.info(
        "%d stories with %d acceptance criteria, %d functional and %d non-functional requirements",
        len(stories),
        len(output.acceptance_criteria),
        len(requirements.functional),
        len(requirements.non_functional),
    )
    variables = output.model_dump(mode="json")
    ctx.artifact("requirements.md", ctx.render("requirements.md.j2", title=brief.title, idle=idle, **variables))
    ctx.artifact("requirements.json", to_json(output))
    return output
