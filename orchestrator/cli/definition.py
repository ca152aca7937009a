"""`validate`, `plan` and `explain`: everything that can be said about a file without running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import common_options, emit, emit_data, output_option, talk
from orchestrator.cli.targets import engine_settings, learned_here, need_definition, plan_of

if TYPE_CHECKING:
    from orchestrator.workflow.plan import Plan


@click.command()
@click.argument("file")
@output_option
@common_options
def validate(file: str, form: str) -> int:
    """Check FILE (a workflow or engine settings) and tell every mistake at once. Exit status 3 if there are any."""
    from orchestrator.workflow.loader import validate as check

    path = need_definition(file)
    found = check(path, engine=engine_settings())

    def human() -> str:
        lines = [f"error: {problem}" for problem in found.problems]
        lines += [f"warning: {warning}" for warning in found.warnings]
        what = f"{path}: {found.kind} file"
        if found.workflow is not None:
            what += f", workflow '{found.workflow.name}' with {len(found.workflow.steps)} steps"
        count = len(found.problems)
        verdict = "valid" if found.valid else f"{count} mistake{'s' if count > 1 else ''}"
        return "\n".join([*lines, f"{what}: {verdict}"])

    emit_data(found.to_json(), form, human)
    return 0 if found.valid else 3


@click.command()
@click.argument("file")
@click.option("--mermaid", is_flag=True, help="Print a Mermaid flowchart, critical path highlighted.")
@click.option("--canvas", is_flag=True, help="Print the Celery signatures that the steps are sent as.")
@click.option("--sequential", is_flag=True, help="The sequential form: the order, and how long it would take.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write it as one web page.")
@output_option
@common_options
def plan(file: str, form: str, mermaid: bool, canvas: bool, sequential: bool, page: Path | None) -> None:
    """Analyse FILE: groups, critical path, slack, priorities, makespan at 1 to 8 workers and what limits it."""
    from orchestrator.workflow import render

    if mermaid and (canvas or sequential):
        raise click.UsageError("--mermaid goes with neither --canvas nor --sequential")
    if page and (mermaid or canvas or sequential):
        raise click.UsageError("--html goes with none of --mermaid, --canvas and --sequential")
    planned = plan_of(need_definition(file), learned_here())
    if page:
        _write_page(planned, page)
    elif mermaid:
        emit(render.to_mermaid(planned))
    elif canvas:
        from orchestrator.cli.doctor import load_app
        from orchestrator.engine.agent import REGISTRY
        from orchestrator.engine.canvas import describe
        from orchestrator.run.nodes import compile_nodes
        from orchestrator.run.shape import Shape
        from orchestrator.settings import Environment

        name = Environment.load().app
        try:
            load_app(name)
        except (ImportError, AttributeError):
            talk(f"{name} cannot be imported here: each agent is shown in a class of its own")

        def queue_of(name: str) -> str:
            return REGISTRY[name].queue if name in REGISTRY else name

        shape = Shape.of(engine_settings(), sequential=sequential or None)
        emit("\n".join(describe(compile_nodes(planned, queue_of, shape))))
    elif sequential:
        from orchestrator.workflow.sequence import sequence

        order = sequence(planned)
        emit_data(render.sequence_to_json(planned, order), form, lambda: render.sequence_to_text(planned, order))
    else:
        emit_data(render.to_json(planned), form, lambda: render.to_text(planned))
    if mermaid or canvas:
        for warning in planned.warnings:
            talk(f"warning: {warning}")


def _write_page(planned: Plan, page: Path) -> None:
    from orchestrator.pages.plan_page import plan_page

    try:
        page.write_text(plan_page(planned), encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"--html {page}: it cannot be written: {error.strerror}") from None
    talk(f"{page}: the plan of {planned.workflow.name}")


@click.command()
@click.argument("file")
@click.argument("step", required=False)
@output_option
@common_options
def explain(file: str, step: str | None, form: str) -> None:
    """Say in words what each step of FILE (or one STEP) waits for, reads, writes, and how its group is joined."""
    from orchestrator.cli import narrate

    planned = plan_of(need_definition(file))
    steps = [narrate.find_step(planned, step)] if step else list(planned.order)
    stories = {name: narrate.step_facts(planned, name) for name in steps}
    emit_data(
        {"workflow": planned.workflow.name, "description": planned.workflow.description, "steps": stories},
        form,
        lambda: narrate.text(planned, stories, whole=step is None),
    )
