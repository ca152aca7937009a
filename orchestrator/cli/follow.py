"""Waiting for a run, and showing how it goes while waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from orchestrator.cli.interrupts import held_back
from orchestrator.cli.output import session, stderr_console, talk
from orchestrator.errors import StoreUnavailable, WaitTimeout
from orchestrator.run.models import FINAL_STEP_STATES, RunStatus, StepState, StepStatus
from orchestrator.units import format_duration

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.client import RunHandle
    from orchestrator.client.watch import Watch

_LOOK_EVERY = 0.2
_PATIENCE = 15.0
"""Seconds for which a store that does not answer is taken to be restarting."""
_LINES = 25

COLOURS = {
    "success": "green",
    "cached": "green",
    "partial": "yellow",
    "running": "cyan",
    "retrying": "yellow",
    "failed": "red",
    "timed_out": "red",
    "upstream_failed": "magenta",
    "cancelled": "magenta",
    "cancelling": "magenta",
}


class Display(Protocol):
    """Shows a run while it goes on."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *_: object) -> None: ...

    def update(self, status: RunStatus) -> None: ...


def follow(
    handle: RunHandle,
    *,
    timeout: float | None,
    check: Callable[[], None] = lambda: None,
    look: Callable[[RunStatus], None] = lambda _: None,
    draw: Callable[[], Display] | None = None,
) -> RunStatus:
    """Wait for the end of a run and show its progress on a terminal, or a line per ended step elsewhere.

    `timeout` in seconds; `check` and `look` may raise when waiting has become pointless; `draw` gives what shows it
    on a terminal, unless that is a table. Raises WaitTimeout.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    silent_since: float | None = None
    watch: Watch | None = None
    with _display(draw) as display:
        while True:
            remaining = _LOOK_EVERY if deadline is None else min(_LOOK_EVERY, deadline - time.monotonic())
            if remaining <= 0:
                raise WaitTimeout(f"run {handle.id} has not ended within {format_duration(round(timeout or 0, 3))}")
            with held_back(once=True):
                try:
                    if watch is None:
                        watch = handle.watching()
                    else:
                        watch.wait(remaining)
                    status = watch.status
                    silent_since = None
                except StoreUnavailable:
                    silent_since = silent_since or time.monotonic()
                    if time.monotonic() - silent_since > _PATIENCE:
                        raise
                    time.sleep(_LOOK_EVERY)
                    continue
                finally:
                    check()
                display.update(status)
                if status.ended:
                    return status
                look(status)


def _display(draw: Callable[[], Display] | None) -> Display:
    if session.quiet:
        return Silent()
    console = stderr_console()
    return (draw or LiveTable)() if console.is_terminal and not console.is_dumb_terminal else Lines()


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, status: RunStatus) -> None:
        return None


class Lines(Silent):
    """One line for each step that has ended or is tried again."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[StepState, int]] = {}

    def update(self, status: RunStatus) -> None:
        for step in status.steps.values():
            news = (step.state, step.attempts)
            if step.state in {*FINAL_STEP_STATES, StepState.RETRYING} and self._told.get(step.id) != news:
                self._told[step.id] = news
                talk("  ".join(part for part in (step.id, step.state, took(step), step.error or step.reason) if part))


class LiveTable:
    """All steps with state, time and worker, redrawn in place; large runs show what is going on now."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=stderr_console(), refresh_per_second=8, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, status: RunStatus) -> None:
        self._live.update(_table(status))


def _table(status: RunStatus) -> Table:
    from rich.table import Table
    from rich.text import Text

    elapsed = format_duration(round(time.time() - status.created_at))
    table = Table(box=None, pad_edge=False, title_justify="left", title=f"{status.run_id}  {status.state}  {elapsed}")
    for name in ("step", "state", "time", "worker", ""):
        table.add_column(name, no_wrap=True)
    for step in _worth_showing(status.steps.values()):
        progress = f"{step.progress:.0%} " if step.progress is not None and step.state is StepState.RUNNING else ""
        table.add_row(
            step.id,
            Text(step.state, style=COLOURS.get(step.state, "dim")),
            took(step),
            step.worker or "",
            Text(progress + (step.message or step.error or ""), style="dim"),
        )
    ended = sum(step.state in FINAL_STEP_STATES for step in status.steps.values())
    table.caption, table.caption_justify = f"{ended} of {len(status.steps)} steps ended", "left"
    return table


def _worth_showing(steps: Iterable[StepStatus]) -> list[StepStatus]:
    everything = list(steps)
    if len(everything) <= _LINES:
        return everything
    going = [step for step in everything if step.state in (StepState.RUNNING, StepState.RETRYING)]
    bad = [step for step in everything if step.state in (StepState.FAILED, StepState.TIMED_OUT)]
    return (bad + going)[:_LINES]


def took(step: StepStatus) -> str:
    """How long the last attempt took, or has been running, as text."""
    if step.started_at is None:
        return ""
    end = step.finished_at if step.finished_at is not None else time.time()
    return seconds(max(0.0, end - step.started_at))


def seconds(value: float) -> str:
    """Seconds for people: tenths below a minute."""
    return f"{value:.1f} s" if value < 60 else format_duration(round(value))
