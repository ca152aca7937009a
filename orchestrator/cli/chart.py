"""A run drawn in text: its graph and its timeline beside each other, one line per step.

The graph is drawn as `git log --graph` does it, reduced to what fits a line: how deep a step lies below the first ones,
and what it waits for. In the timeline `┄` is waiting, `━` is running, each attempt begins with its number, and `·` is
where the plan wanted the step to run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from orchestrator.cli.follow import COLOURS, seconds
from orchestrator.cli.output import stderr_console
from orchestrator.run.models import RunStatus, StepState
from orchestrator.views.models import Attempt, RunView, StepView

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

WAITING, RUNNING, PLANNED = "┄", "━", "·"
LEGEND = "● critical path, ┄ waiting, ━ running, · planned"
FEWEST_COLUMNS = 8
DEEPEST = 8
"""What lies deeper is drawn as deep as this."""
_GOING = (StepState.RUNNING, StepState.RETRYING, StepState.QUEUED, StepState.READY)
_BAD = (StepState.FAILED, StepState.TIMED_OUT)


class Chart:
    """Draws the run on a terminal again whenever something has happened, and moves its bars on in between."""

    def __init__(self, read: Callable[[], RunView]) -> None:
        from rich.live import Live

        self._read = read
        self._console = stderr_console()
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._seen: RunStatus | None = None
        self._view: RunView | None = None
        self._read_at = 0.0

    def __enter__(self) -> Chart:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, status: RunStatus) -> None:
        """The run is read when its status is another one, and not before."""
        if self._view is None or status is not self._seen:
            self._view, self._seen, self._read_at = self._read(), status, monotonic()
        now = self._view.finished_at or self._view.now + monotonic() - self._read_at
        size = self._console.size
        self._live.update(chart(self._view, now=now, width=size.width, rows=max(3, size.height - 8)))


def chart(view: RunView, *, now: float, width: int, rows: int) -> RenderableType:
    """The run as it stands at `now`, in `width` columns and at most `rows` lines of steps."""
    from rich.console import Group
    from rich.text import Text

    shown = worth_showing(view, rows)
    names, states = (32, 16) if width >= 100 else (max(14, width // 3), 10)
    scale = Scale.of(view, now, max(FEWEST_COLUMNS, width - names - states - 2))
    ended = sum(step.finished_at is not None for step in view.steps)
    head = f"{view.run_id}  {view.workflow}  {view.state}  {seconds(max(0.0, now - view.created_at))}"
    lines: list[Text] = [Text(head, style="bold")]
    lines += [_line(step, _branch(step, depth, view), (names, states), view, scale) for step, depth in shown]
    if len(shown) < len(view.steps):
        lines.append(Text(f"{len(view.steps) - len(shown)} other steps", style="dim"))
    lines.append(Text(f"{ended} of {len(view.steps)} steps ended; {scale.legend}; {LEGEND}", style="dim"))
    lines += [Text(text, style="yellow") for text in notes(view, now)]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


class Scale:
    """Moments as columns: the whole run, as far as it has come and as far as it was planned."""

    def __init__(self, start: float, end: float, columns: int, planned: float) -> None:
        self.start, self.columns = start, columns
        self._seconds = max(end - start, 1e-3)
        self.planned = planned
        self.legend = f"{columns} columns are {seconds(self._seconds)}"

    @classmethod
    def of(cls, view: RunView, now: float, columns: int) -> Scale:
        """A run that takes much longer, or shorter, than its plan is drawn without it."""
        start, end = view.created_at, max(now, view.created_at + 1e-3)
        took = end - start
        fits = took / 4 <= view.plan_seconds <= took * 4
        planned = view.plan_seconds if fits else 0.0
        return cls(start, max(end, start + planned), columns, planned)

    def column(self, moment: float) -> int:
        """Where a moment is drawn."""
        return min(self.columns - 1, max(0, int((moment - self.start) / self._seconds * self.columns)))


def depths(view: RunView) -> dict[str, int]:
    """Step -> how many steps lie before it on the longest way; barriers count for nothing."""
    before: dict[str, list[str]] = {}
    for edge in view.edges:
        if edge.kind != "wants":
            before.setdefault(edge.target, []).append(edge.source)
    found: dict[str, int] = {}
    for step in view.steps:
        _measure(step.id, before, found)
    return found


def _measure(node: str, before: Mapping[str, Sequence[str]], found: dict[str, int]) -> None:
    """Without recursion: a chain may be longer than Python's stack."""
    ahead = [node]
    while ahead:
        at = ahead[-1]
        missing = [one for one in before.get(at, ()) if one not in found]
        if missing:
            ahead += missing
            continue
        ahead.pop()
        found[at] = max((found[one] + (not one.startswith("@")) for one in before.get(at, ())), default=0)


def worth_showing(view: RunView, rows: int) -> list[tuple[StepView, int]]:
    """Steps with their depth, from the first to the last; of too many those that failed and those that are going on."""
    depth = depths(view)
    order = sorted(view.steps, key=lambda step: (depth[step.id], step.place))
    if len(order) > rows:
        urgent = [step for step in order if step.state in _BAD] + [step for step in order if step.state in _GOING]
        rest = [step for step in reversed(order) if step.state not in (*_BAD, *_GOING) and step.finished_at is not None]
        chosen = {step.id for step in [*urgent, *rest][:rows]}
        order = [step for step in order if step.id in chosen]
    return [(step, depth[step.id]) for step in order]


def _branch(step: StepView, depth: int, view: RunView) -> str:
    """The step's name where it hangs in the graph: below none, one, or several others."""
    needs = sum(edge.target == step.id and edge.kind != "wants" for edge in view.edges)
    mark = "●" if step.planned is not None and step.planned.on_critical_path else "○"
    return "  " * min(depth, DEEPEST) + ("┬ " if not needs else "└ " if needs == 1 else "╘ ") + f"{mark} {step.id}"


def _line(step: StepView, branch: str, columns: tuple[int, int], view: RunView, scale: Scale) -> Text:
    from rich.text import Text

    names, states = columns
    line = Text(_cut(branch, names).ljust(names))
    progress = f" {step.progress:.0%}" if step.progress is not None and step.state is StepState.RUNNING else ""
    line.append(_cut(step.state + progress, states).ljust(states), style=COLOURS.get(step.state, "dim"))
    for text, style in _bar(step, view, scale):
        line.append(text, style=style)
    return line


def _bar(step: StepView, view: RunView, scale: Scale) -> list[tuple[str, str]]:
    cells: list[tuple[str, str]] = [(" ", "")] * scale.columns
    if step.planned is not None and scale.planned:
        first = scale.column(scale.start + step.planned.start_seconds)
        for at in range(first, scale.column(scale.start + step.planned.finish_seconds) + 1):
            cells[at] = (PLANNED, "dim")
    for attempt in step.attempts:
        _draw(attempt, view, scale, cells)
    return cells


def _draw(attempt: Attempt, view: RunView, scale: Scale, cells: list[tuple[str, str]]) -> None:
    end = attempt.ended_at or (view.finished_at if view.ended and view.finished_at else view.now)
    waits_from = attempt.held_at or attempt.queued_at
    if waits_from is not None:
        for at in range(scale.column(waits_from), scale.column(attempt.started_at or end) + 1):
            cells[at] = (WAITING, "dim")
    if attempt.started_at is not None:
        style = COLOURS.get(attempt.state, "dim")
        first = scale.column(attempt.started_at)
        for at in range(first, scale.column(end) + 1):
            cells[at] = (RUNNING, style)
        if attempt.attempt > 1:
            cells[first] = (str(attempt.attempt % 10), style)


def notes(view: RunView, now: float) -> list[str]:
    """What holds the run up, or is about to: barriers that count down, locks that are waited for, open conflicts."""
    found = []
    for group in view.groups:
        if group.state == "pending" and group.started_at is not None and group.deadline is not None:
            more = f", extended {group.extensions}×" if group.extensions else ""
            found.append(f"barrier of {group.id}: {seconds(max(0.0, group.deadline - now))} left{more}")
    for lock in view.locks:
        if lock.queue:
            names = ", ".join(one.node for one in lock.queue[:4])
            found.append(f"lock of {lock.section}: {names} wait for {', '.join(one.node for one in lock.holders)}")
    asked = [conflict.place for conflict in view.conflicts if conflict.state == "open"]
    if asked:
        found.append(f"a person has to decide: {', '.join(asked[:4])}; orchestrator conflicts ls {view.run_id}")
    return found


def _cut(text: str, columns: int) -> str:
    return text if len(text) < columns else text[: columns - 2] + "… "
