"""Commits and reads of the shared context: how many in a second, and how long each takes.

A commit is the end of an attempt, with a value that its agent returned: the value becomes canonical JSON, is
compressed, and is written together with the step's success. A read is the first one of an attempt, with nothing cached.
Writers are threads of one process, as in a worker with a thread pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from statistics import quantiles
from typing import NamedTuple

from orchestrator import keys
from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.bench.threads import side_by_side
from orchestrator.context.fields import split
from orchestrator.context.reader import ContextReader
from orchestrator.context.store import ContextStore
from orchestrator.engine.runtime import context_store, ledger
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.replies import Claimed, Moved
from orchestrator.run.store import Ledger
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import StepSpec, WorkflowSpec
from orchestrator.workflow.plan import make_plan

SIZES = {"1 KB": 1_000, "100 KB": 100_000, "1 MB": 1_000_000}
WRITERS = (1, 4, 16)
OPERATIONS = {"1 KB": 320, "100 KB": 96, "1 MB": 32}
"""In a round, by all writers together."""
RUN = "bench"
LIMIT = 8_000_000


class _Round(NamedTuple):
    """Seconds that each commit and each read took, and all commits together."""

    commits: list[float]
    reads: list[float]
    whole: float


class ClaimedRun:
    """A run whose steps are claimed, and wait to be ended."""

    def __init__(self, setting: Setting, steps: int) -> None:
        self.client = setting.server.client()
        self.client.flushdb()
        settings = EngineSettings()
        self.ledger: Ledger = ledger(self.client, settings)
        self.context: ContextStore = context_store(self.client, settings)
        spec = WorkflowSpec(name=RUN, steps=tuple(StepSpec(id=f"s{number}", agent="noop") for number in range(steps)))
        self.ledger.create(RUN, compile_nodes(make_plan(spec), str), workflow=RUN, spec="{}", inputs={})
        self.claimed = [self._claim(f"s{number}") for number in range(steps)]

    def _claim(self, step: str) -> Claimed:
        granted = self.ledger.claim(RUN, step, worker="bench", owner="bench", lease=600)
        assert isinstance(granted, Claimed), granted  # noqa: S101 - nobody else knows this run
        return granted

    def commit(self, number: int, value: object) -> None:
        """End a step with a value."""
        self.end(number, {"value": value})

    def end(self, number: int, document: Mapping[str, object]) -> None:
        """End a step with a document."""
        granted, step = self.claimed[number], f"s{number}"
        fields = [field.payload() for field in split(step, document, limit=LIMIT)]
        moved = self.ledger.finish(RUN, step, "success", token=granted.token, snapshot=granted.version, fields=fields)
        assert isinstance(moved, Moved), moved  # noqa: S101 - it is the step's only attempt

    def read(self, number: int, version: int) -> object:
        """Read what a step has committed, as a new attempt does."""
        return ContextReader(self.context, RUN, version=version).field(f"s{number}.value")


def value_of(size: int, random: Random) -> list[str]:
    """A JSON value of about so many bytes, of words that repeat as they do in texts."""
    words = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(3, 11))) for _ in range(2000)]
    lines, left = list[str](), size
    while left > 0:
        line = " ".join(random.choices(words, k=12))[: max(1, left - 3)]
        lines.append(line)
        left -= len(line) + 3
    return lines


def measure(setting: Setting) -> Iterator[Measure]:
    """For each size and number of writers: commits in a second, and p50 and p99 of commits and reads."""
    random = Random(setting.seed)
    for size, count in SIZES.items():
        value = value_of(count, random)
        sent = _commands(setting, value)
        for writers in WRITERS:
            operations = max(writers, setting.times(OPERATIONS[size]))
            rounds = [_round(setting, value, writers, operations) for _ in range(setting.rounds)]
            yield from _measures(f"{size}, {writers} writer{'s' if writers > 1 else ''}", rounds, sent)


def _measures(name: str, rounds: list[_Round], sent: tuple[int, int]) -> Iterator[Measure]:
    rates = tuple(len(one.commits) / one.whole for one in rounds)
    yield Measure(name=f"commits, {name}", unit="1/s", better="higher", samples=rates, commands=sent[0])
    for what, times, commands in (
        ("commit", [one.commits for one in rounds], sent[0]),
        ("read", [one.reads for one in rounds], sent[1]),
    ):
        for share in (50, 99):
            samples = tuple(_percentile(taken, share) * 1000 for taken in times)
            yield Measure(name=f"{what}, {name}, p{share}", unit="ms", samples=samples, commands=commands)


def _percentile(values: list[float], share: int) -> float:
    return quantiles(values, n=100, method="inclusive")[share - 1] if len(values) > 1 else values[0]


def _round(setting: Setting, value: object, writers: int, operations: int) -> _Round:
    bench = ClaimedRun(setting, operations)
    shares = [range(first, operations, writers) for first in range(writers)]
    commits, whole = side_by_side(shares, lambda number: bench.commit(number, value))
    newest = len(bench.context.history(RUN, operations))
    reads, _ = side_by_side(shares, lambda number: bench.read(number, newest))
    return _Round(commits, reads, whole)


def _commands(setting: Setting, value: object) -> tuple[int, int]:
    """How many commands one commit sends, and one read."""
    bench = ClaimedRun(setting, 2)
    bench.commit(0, value)  # sends the texts of the scripts
    bench.read(0, 1)
    with setting.server.listening() as committing:
        bench.commit(1, value)
    with setting.server.listening() as reading:
        bench.read(1, 2)
    bench.client.delete(keys.run_key(RUN, "meta"))
    return committing.total(), reading.total()
