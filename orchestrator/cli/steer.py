"""`cancel`, `pause`, `resume` and `retry`: what you do to a run that exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import common_options, emit_data, output_option, talk
from orchestrator.cli.targets import check_id

if TYPE_CHECKING:
    from orchestrator.client import RunHandle
    from orchestrator.run.models import RunState


@click.command()
@click.argument("run")
@click.option("--reason", default="", help="Kept with the run.")
@output_option
@common_options
def cancel(run: str, reason: str, form: str) -> None:
    """Cancel RUN: what waits is cancelled at once, what runs gets a grace period."""
    _steer(run, form, lambda handle: handle.cancel(reason), "show")


@click.command()
@click.argument("run")
@output_option
@common_options
def pause(run: str, form: str) -> None:
    """Pause RUN: nothing of it starts until `resume`; what runs goes on to its end.

    The clocks of the run and of its groups stand still meanwhile. A pause lasts over restarts.
    """
    _steer(run, form, lambda handle: handle.pause(), "resume")


@click.command()
@click.argument("run")
@output_option
@common_options
def resume(run: str, form: str) -> None:
    """Let a paused RUN go on."""
    _steer(run, form, lambda handle: handle.resume(), "watch")


@click.command()
@click.argument("run")
@click.argument("step", required=False)
@click.option("--failed", is_flag=True, help="From all steps that ended badly; good ones stay as they are.")
@output_option
@common_options
def retry(run: str, step: str | None, failed: bool, form: str) -> None:
    """Run RUN again: all of it, or only what failed, or one STEP.

    Whatever comes after a retried step runs again too. What retried steps wrote is taken back; each has all its
    attempts again. A single STEP may be retried while the rest of the run goes on, unless its steps take turns.
    """
    if step is not None and failed:
        raise click.UsageError("name one STEP, or give --failed")
    if step is not None:
        check_id(step, "step")
    _steer(run, form, lambda handle: handle.retry(step, failed=failed), "watch")


def _steer(run: str, form: str, act: Callable[[RunHandle], RunState], then: str) -> None:
    """Do it, print the state that the run is in now, and what to type next."""
    from orchestrator.cli.connect import stored_run

    with stored_run(run) as handle:
        state = str(act(handle))
    emit_data({"run_id": run, "state": state}, form, lambda: state)
    talk(f"orchestrator {then} {run}")
