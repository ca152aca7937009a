"""The analyst: reads a product brief in Markdown and says what it holds, as structured data.

Rule-based text analysis, no language model: headings, lists and tables are recognised by their structure, meanings by
word lists. The same brief always gives the same result; what was guessed is named as such.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from orchestrator import AgentContext, agent
from tasks.making.features import MAX_FEATURES, feature_from_text, make_features
from tasks.models import (
    AnalystOutput,
    Feature,
    ProblemAnalysis,
    ProjectBrief,
    ProjectMetadata,
    StructuredData,
    TargetUser,
)
from tasks.reading import extract, language
from tasks.reading.brief import Brief, checked_text, parse_brief
from tasks.reading.quantities import find_quantities
from tasks.writing import to_json

_SAMPLE: Final = Path(__file__).with_name("sample_brief.md")
Source = Literal["input", "sample"]


@agent("analyst", cache=True, output=AnalystOutput)
def analyst(ctx: AgentContext) -> AnalystOutput:
    """Read the workflow input `brief`. Raises InvalidValue when it is empty, binary or no text.

    A run without such an input analyses the sample that ships with the agents, and says so.
    """
    given = ctx.get("brief")
    source: Source = "sample" if given is None else "input"
    if given is None:
        ctx.log.warning("this run has no input 'brief': the sample that ships with the agents is analysed instead")
    text = checked_text(_SAMPLE.read_text(encoding="utf-8") if given is None else given)
    brief = parse_brief(text)
    ctx.progress(0.3, f"read {len(brief.sections)} sections")
    output = analyse(brief, len(language.words(text)), source)
    data = output.project_brief.structured_data
    ctx.log.info(
        "%s: %d features, %d groups of users, %d constraints (%d technical), %d quantities",
        brief.title, len(data.features), len(output.target_users), len(data.constraints),
        len(output.technical_constraints), len(data.quantities),
    )  # fmt: skip
    for topic in output.project_metadata.guessed:
        ctx.log.warning("the brief has no section on %s; they were looked for in the whole text", topic)
    ctx.progress(0.8, f"found {len(data.features)} features")
    ctx.artifact("brief.json", to_json(output))
    ctx.artifact("brief.md", ctx.render("analyst.md.j2", **output.model_dump(mode="json")))
    return output


def analyse(brief: Brief, words: int, source: Source) -> AnalystOutput:
    """Everything the rules find in a parsed brief."""
    sentences = extract.all_sentences(brief)
    users = extract.find_users(brief, sentences)
    constraints = extract.find_constraints(brief, sentences)
    statement, symptoms = extract.find_problem(brief, sentences)
    summary = extract.find_summary(brief, sentences)
    features, questions = _features(brief, sentences, users, summary)
    return AnalystOutput(
        project_brief=ProjectBrief(
            title=brief.title,
            summary=summary,
            structured_data=StructuredData(
                features=features,
                constraints=constraints,
                quantities=extract.find_all_quantities(sentences),
                goals=extract.find_goals(brief, sentences),
                out_of_scope=extract.find_out_of_scope(brief, sentences),
                open_questions=(*extract.find_questions(brief, sentences), *questions),
                entities=tuple(dict.fromkeys(feature.entity for feature in features)),
            ),
        ),
        target_users=users,
        technical_constraints=tuple(constraint for constraint in constraints if constraint.technical),
        problem_analysis=ProblemAnalysis(
            statement=statement,
            symptoms=symptoms,
            affected_users=tuple(user.plural for user in users if _named(user, (statement, *symptoms))),
            measures=tuple(quantity.phrase for text in symptoms for quantity in find_quantities(text, 0)),
        ),
        project_metadata=ProjectMetadata(
            source=source,
            words=words,
            sections=tuple(section.heading for section in brief.sections if section.heading),
            guessed=tuple(topic for topic in extract.TOPICS if not brief.about(topic)),
        ),
    )


def _features(
    brief: Brief, sentences: tuple[extract.Sentence, ...], users: tuple[TargetUser, ...], summary: str
) -> tuple[tuple[Feature, ...], tuple[str, ...]]:
    """The features, and the questions that finding them left open."""
    lines = extract.feature_blocks(brief, sentences)
    if not lines:
        note = "The brief lists no feature; its opening was taken as the only one. What shall the product do?"
        return (feature_from_text(summary or brief.title, users),), (note,)
    questions = []
    if len(lines) > MAX_FEATURES:
        questions.append(f"The brief lists {len(lines)} features; only the first {MAX_FEATURES} were followed up.")
    features = make_features(lines, users)
    assumed = [feature.id for feature in features if feature.actor_reason.startswith("nobody is named")]
    if assumed:
        questions.append(f"Who uses {', '.join(assumed)}? The brief does not say; {users[0].plural} are assumed.")
    return features, tuple(questions)


def _named(user: TargetUser, texts: tuple[str, ...]) -> bool:
    return any(language.mentions(text, (user.plural, user.name)) for text in texts)
