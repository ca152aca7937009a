"""`context show|history|diff|restore|locks`: what the agents of a run share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import common_options, emit_data, output_option, table, talk

if TYPE_CHECKING:
    from orchestrator.context.lock_models import Entry, LockStatus
    from orchestrator.context.models import Difference, Version

_SHOWN = 60
"""Characters of a value in a table; the other formats show it whole."""


@click.group()
@common_options
def context() -> None:
    """Look at the shared context of a run, at its versions, and go back to one."""


@context.command("show")
@click.argument("run")
@click.option("--version", metavar="N", help="A version's number, or a snapshot's name such as barrier:design.")
@output_option
@common_options
def show(run: str, version: str | None, form: str) -> None:
    """Show the context of RUN, as it is or as a version had it."""
    from orchestrator.cli.connect import stored_run

    with stored_run(run) as handle:
        found = handle.context(version)
        marks = handle.marks(version) if form == "table" else {}
    emit_data(found, form, lambda: _fields(found, marks))


def _fields(documents: dict[str, Any], marks: dict[str, str]) -> str:
    rows = [
        (f"{section}.{key}", _short(value), marks.get(f"{section}.{key}", ""))
        for section, document in sorted(documents.items())
        for key, value in sorted(document.items())
    ]
    return table(("field", "value", ""), rows)


@context.command("history")
@click.argument("run")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@output_option
@common_options
def history(run: str, limit: int, form: str) -> None:
    """List the versions of RUN's context that are kept, newest first."""
    from orchestrator.cli.connect import stored_run

    with stored_run(run) as handle:
        found = handle.history(limit)
    emit_data([version.model_dump(mode="json") for version in found], form, lambda: _versions(found))


def _versions(found: list[Version]) -> str:
    rows = [
        (
            version.version,
            f"{datetime.fromtimestamp(version.at, UTC).astimezone():%Y-%m-%d %H:%M:%S}",
            version.author + (f"#{version.attempt}" if version.attempt else ""),
            version.hash[:12],
            _fields_of(version),
            ", ".join(version.names) or None,
        )
        for version in found
    ]
    return table(("version", "at", "author", "hash", "fields", "snapshot"), rows)


def _fields_of(version: Version) -> str:
    names = [change.field for change in version.changed]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@context.command("diff")
@click.argument("run")
@click.argument("a")
@click.argument("b")
@output_option
@common_options
def diff(run: str, a: str, b: str, form: str) -> None:
    """Show what changed in RUN's context from version A to version B."""
    from orchestrator.cli.connect import stored_run

    with stored_run(run) as handle:
        found = handle.diff(a, b)
    emit_data([one.model_dump(mode="json") for one in found], form, lambda: "\n".join(_changes(found)))


def _changes(found: list[Difference]) -> Iterator[str]:
    if not found:
        yield "nothing differs"
    for one in found:
        yield f"{one.field} ({one.kind})"
        if one.kind != "added":
            yield f"  - {_short(one.before)}"
        if one.kind != "removed":
            yield f"  + {_short(one.after)}"


@context.command("restore")
@click.argument("run")
@click.argument("version")
@output_option
@common_options
def restore(run: str, version: str, form: str) -> None:
    """Make RUN's context what it was at VERSION. That is a new version; nothing is lost."""
    from orchestrator.cli.connect import stored_run

    with stored_run(run) as handle:
        made = handle.restore(version)
    emit_data({"run_id": run, "version": made}, form, lambda: str(made))
    talk(f"orchestrator context diff {run} {made - 1} {made}")


@context.command("locks")
@click.argument("run")
@output_option
@common_options
def locks(run: str, form: str) -> None:
    """Show the locks of RUN's sections: who holds them, who waits, and how long they were waited for."""
    from orchestrator.cli.connect import stored_run

    with stored_run(run) as handle:
        found = handle.locks()
    emit_data({section: _lock_document(lock) for section, lock in found.items()}, form, lambda: _locks(found))


def _lock_document(lock: LockStatus) -> dict[str, Any]:
    return {
        **{name: getattr(lock, name) for name in ("grants", "waits", "late", "total", "max", "p50", "p99")},
        "holders": [_holder(entry) for entry in lock.holders],
        "queue": [_holder(entry) for entry in lock.queue],
    }


def _holder(entry: Entry) -> dict[str, Any]:
    mode = "write" if entry.write else "read"
    return {"step": entry.holder.step, "mode": mode, "declared": entry.declared, "token": entry.token}


def _locks(found: Mapping[str, LockStatus]) -> str:
    rows = []
    for section, lock in found.items():
        times = [f"{value:.3f}" if lock.waits else None for value in (lock.p50, lock.p99, lock.max, lock.total)]
        names = (", ".join(f"{one.holder.step} ({'writes' if one.write else 'reads'})" for one in entries) or None
                 for entries in (lock.holders, lock.queue))  # fmt: skip
        rows.append((section, lock.grants, lock.waits, lock.late, *times, *names))
    titles = ("section", "grants", "waited", "gave up", "p50 s", "p99 s", "max s", "total s", "held by", "waiting")
    return table(titles, rows)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
