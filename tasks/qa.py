"""Quality assurance: follows every feature to its tests, runs these, and scores what it finds.

Rule-based, no language model: the score is the sum of stated checks with stated weights, each with its evidence.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from orchestrator import AgentContext, InvalidValue, agent
from tasks.inputs import parse, read_as, read_or, shape
from tasks.making.checks import Evidence, run_checks, score, verdict
from tasks.making.tracing import trace
from tasks.models import (
    DeveloperOutput,
    FunctionalRequirement,
    NonFunctionalRequirement,
    ProjectBrief,
    QaOutput,
    SystemArchitecture,
    TechnologyStack,
    TestRun,
    UiSpec,
    UserStory,
)
from tasks.writing import to_json

TEST_TIMEOUT: Final = 60.0
"""Seconds that the skeleton's tests may take."""

_RUNNER: Final = Path(__file__).with_name("run_unittests.py")
_BRIEF: Final = shape(ProjectBrief)
_STORIES: Final = shape(tuple[UserStory, ...])
_FUNCTIONAL: Final = shape(tuple[FunctionalRequirement, ...])
_NON_FUNCTIONAL: Final = shape(tuple[NonFunctionalRequirement, ...])
_UI: Final = shape(UiSpec)
_ARCHITECTURE: Final = shape(SystemArchitecture)
_STACK: Final = shape(TechnologyStack)
_DOCUMENT: Final = shape(dict[str, Any])
_NAMES: Final = shape(tuple[str, ...])
_BUILT: Final = shape(DeveloperOutput)


@agent(
    "qa",
    cache=True,
    reads=[
        "analyst.project_brief",
        "analyst.project_metadata",
        "pm.user_stories",
        "pm.functional_requirements",
        "pm.non_functional_requirements",
        "ux_expert.ui_spec",
        "architect.system_architecture",
        "architect.technology_stack",
        "architect.api_specifications",
        "developer",
    ],
    output=QaOutput,
)
def qa(ctx: AgentContext) -> QaOutput:
    """Check everything that the other five wrote. The skeleton's tests run in a process that ends with this attempt."""
    brief = read_as(ctx, "analyst.project_brief", _BRIEF)
    evidence = _evidence(ctx, brief)
    checks = run_checks(evidence)
    output = QaOutput(
        score=score(checks),
        verdict=verdict(score(checks)),
        checks=checks,
        traceability=evidence.rows,
        test_run=evidence.run,
        consistent=all(check.achieved == 1 for check in checks if check.id in ("platform", "screens", "operations")),
    )
    for check in checks:
        if check.id == "stated":
            ctx.log.info("%d points rest on inference; the report lists them", len(check.findings))
            continue
        for finding in check.findings:
            ctx.log.warning("%s: %s", check.id, finding)
    ctx.log.info("score %.1f of 100: %s", output.score, output.verdict)
    variables = {
        **output.model_dump(mode="json"),
        "title": brief.title,
        "points": {check.id: check.points for check in checks},
        "questions": list(brief.structured_data.open_questions),
    }
    ctx.artifact("report.md", ctx.render("report.md.j2", **variables))
    ctx.artifact("report.json", to_json(output))
    return output


def _evidence(ctx: AgentContext, brief: ProjectBrief) -> Evidence:
    """Read what there is to check, and run the skeleton's tests."""
    built = _built(ctx)
    ui = read_as(ctx, "ux_expert.ui_spec", _UI)
    document = read_as(ctx, "architect.api_specifications", _DOCUMENT)
    stories = read_as(ctx, "pm.user_stories", _STORIES)
    functional = read_as(ctx, "pm.functional_requirements", _FUNCTIONAL)
    ctx.progress(0.1, "running the skeleton's tests")
    run = run_skeleton_tests(ctx, built.source_files)
    ctx.progress(0.7, f"{run.passed} of {run.ran} tests passed")
    ctx.log.info("%d of %d tests of the skeleton passed", run.passed, run.ran)
    features = brief.structured_data.features
    return Evidence(
        features=features,
        stories=stories,
        functional=functional,
        non_functional=read_or(ctx, "pm.non_functional_requirements", _NON_FUNCTIONAL, ()),
        ui=ui,
        architecture=read_as(ctx, "architect.system_architecture", _ARCHITECTURE),
        stack=read_or(ctx, "architect.technology_stack", _STACK, TechnologyStack(choices=())),
        document=document,
        built=built,
        compile_mistakes=compile_mistakes(built.source_files),
        run=run,
        rows=trace(features, functional, stories, ui.screens, document, built, run),
        questions=brief.structured_data.open_questions,
        guessed=read_or(ctx, "analyst.project_metadata.guessed", _NAMES, ()),
    )


def _built(ctx: AgentContext) -> DeveloperOutput:
    """What the developer wrote, field by field, so that anything else in its namespace is no mistake."""
    names = DeveloperOutput.model_fields
    return parse({name: ctx.read(f"developer.{name}") for name in names}, "developer", _BUILT)


def compile_mistakes(files: dict[str, str]) -> tuple[str, ...]:
    """The Python files that do not compile, with the reason."""
    mistakes = []
    for path, text in files.items():
        if path.endswith(".py"):
            try:
                compile(text, path, "exec", dont_inherit=True)
            except (SyntaxError, ValueError) as error:
                mistakes.append(f"{path}: {error}")
    return tuple(mistakes)


def run_skeleton_tests(ctx: AgentContext, files: dict[str, str]) -> TestRun:
    """Write the files into a folder of their own and run the tests there, with an empty environment."""
    with tempfile.TemporaryDirectory(prefix="skeleton-") as name:
        root = Path(name).resolve()
        for path, text in files.items():
            target = (root / path).resolve()
            if not target.is_relative_to(root):
                raise InvalidValue(
                    f"'developer.source_files' has the path '{path}', which leaves the skeleton's folder"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        command = [sys.executable, "-I", str(_RUNNER), str(root)]
        try:
            done = ctx.run(command, cwd=root, timeout=TEST_TIMEOUT, env={"PYTHONUTF8": "1"})
        except subprocess.TimeoutExpired:
            return TestRun(ran=0, passed=0, error=f"the tests did not end within {TEST_TIMEOUT:g} seconds")
    return _test_run(done)


def _test_run(done: subprocess.CompletedProcess[str]) -> TestRun:
    lines = (done.stdout or "").strip().splitlines()
    if done.returncode != 0 or not lines:
        last = (done.stderr or "").strip().splitlines()[-1:] or ["no output"]
        return TestRun(ran=0, passed=0, error=f"the tests could not be run: {last[0]} (exit status {done.returncode})")
    outcomes: dict[str, str] = json.loads(lines[-1])
    ran = {name: outcome for name, outcome in outcomes.items() if not outcome.startswith("skipped")}
    failures = tuple(f"{name}: {outcome}" for name, outcome in ran.items() if outcome != "passed")
    return TestRun(ran=len(ran), passed=len(ran) - len(failures), failures=failures, outcomes=outcomes)
