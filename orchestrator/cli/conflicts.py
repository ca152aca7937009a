"""`conflicts ls|show|resolve`: what agents wrote that could not be merged or breaks a rule, and who decides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import common_options, emit_data, output_option, table, talk
from orchestrator.errors import NotFound

if TYPE_CHECKING:
    from orchestrator.context.models import ContextConflict


@click.group()
@common_options
def conflicts() -> None:
    """Look at what agents of a run wrote into one place, and decide what waits for you."""


@conflicts.command("ls")
@click.argument("run")
@output_option
@common_options
def ls(run: str, form: str) -> None:
    """List the conflicts of RUN and the rules that do not hold, with what was decided."""
    found = _conflicts(run)
    rows = [(one.id, one.place, ", ".join(one.ours_by), one.theirs_by, one.state, one.reason or None) for one in found]
    emit_data(
        [one.model_dump(mode="json", exclude_unset=True) for one in found],
        form,
        lambda: table(("conflict", "place", "ours by", "theirs by", "state", "why"), rows),
    )


@conflicts.command("show")
@click.argument("run")
@click.argument("conflict")
@output_option
@common_options
def show(run: str, conflict: str, form: str) -> None:
    """Show CONFLICT of RUN: base, ours and theirs, one below the other."""
    found = {one.id: one for one in _conflicts(run)}.get(conflict)
    if found is None:
        raise NotFound(f"run {run} has no conflict '{conflict[:80]}'")
    emit_data(found.model_dump(mode="json", exclude_unset=True), form, lambda: "\n".join(_screen(found)))
    if found.state == "open":
        sides = "ours|theirs|base" if found.kind == "write" else "accept|ours|theirs" if found.equal else "accept"
        talk(f"orchestrator conflicts resolve {run} {conflict} {sides}, or --value JSON")


@conflicts.command("resolve")
@click.argument("run")
@click.argument("conflict")
@click.argument("side", required=False, type=click.Choice(["ours", "theirs", "base", "accept"]))
@click.option("--value", metavar="JSON", help="Another value for the place, instead of a side.")
@output_option
@common_options
def resolve(run: str, conflict: str, side: str | None, value: str | None, form: str) -> None:
    """Decide CONFLICT of RUN for a SIDE or a value, or accept a rule that does not hold. Then the run goes on."""
    from orchestrator.cli.connect import stored_run

    if (side is None) == (value is None):
        raise click.UsageError("name a side, ours, theirs, base or accept, or give --value")
    with stored_run(run) as handle:
        done = handle.resolve(conflict, side) if value is None else handle.resolve(conflict, value=_parsed(value))
    emit_data(done.model_dump(mode="json", exclude_unset=True), form, lambda: f"{done.place}: {done.reason}")


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--value is no JSON: {error}") from error


def _conflicts(run: str) -> list[ContextConflict]:
    from orchestrator.cli.connect import stored_run

    with stored_run(run) as handle:
        return handle.conflicts()


def _screen(found: ContextConflict) -> Iterator[str]:
    yield f"{found.place}: {found.state}" + (f" ({found.reason})" if found.reason else "")
    authors = {"base": "before", "ours": f"by {', '.join(found.ours_by)}", "theirs": f"by {found.theirs_by}"}
    if found.kind == "consistency":
        del authors["base"]
    for side, author in authors.items():
        value = getattr(found, side)
        text = json.dumps(value, indent=2, ensure_ascii=False) if side in found.sides else "(nothing)"
        yield f"\n{side}, {author}:"
        yield from (f"  {line}" for line in text.splitlines())
