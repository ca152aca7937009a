"""What is known of a fleet: its workers, its queues, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from orchestrator.fields import Frozen


class Standing(StrEnum):
    """Whether a worker takes work: all it can, none because it does badly, or some to see whether it does better."""

    ACTIVE = "active"
    DRAINED = "drained"
    PROBING = "probing"


class Worker(Frozen):
    """A worker as it tells of itself. `home` are the queues that it was started for, `borrowed` those it helps out
    with (queue -> since when), `serves` those it could help out with, `rested` those it has let go (queue -> when).

    `busy` of its `slots` work; it is `idle` when none has for two looks. Of its newest `samples` attempts: `response`
    and `p95` (s), `slowness` (how many times as long as the fleet takes for the same work), `failures` (a share).
    As far as they are measured: `cpu_average` and `memory_peak` of its host (%) since it has started, and of an
    attempt's time the share that its way to the store and back takes, `network_share` (%).
    `since`: when its standing changed; `drains`: how often in a row it had to step back. Times are Redis'.
    """

    name: str
    home: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    borrowed: Mapping[str, float] = {}
    rested: Mapping[str, float] = {}
    slots: int = 1
    busy: int = 0
    idle: bool = False
    samples: int = 0
    response: float = 0.0
    p95: float = 0.0
    slowness: float = 1.0
    failures: float = 0.0
    standing: Standing = Standing.ACTIVE
    since: float = 0.0
    drains: int = 0
    done: int = 0
    cpu: float = 0.0
    memory: float = 0.0
    cpu_average: float | None = None
    memory_peak: float | None = None
    network_share: float | None = None

    @property
    def takes(self) -> tuple[str, ...]:
        """The queues that it takes from now."""
        return () if self.standing is Standing.DRAINED else (*self.home, *self.borrowed)


class Queue(Frozen):
    """A queue in which `depth` steps wait, each of which takes `seconds`."""

    depth: int = 0
    seconds: float = 0.0

    @property
    def work(self) -> float:
        """Seconds of work that wait."""
        return self.depth * self.seconds


class Fleet(Frozen):
    """Everything at one moment: workers by name, queues by name."""

    now: float
    workers: Mapping[str, Worker]
    queues: Mapping[str, Queue]


Act = Literal["steal", "release", "drain", "probe", "readmit", "grow", "shrink", "lost"]


class Decision(Frozen):
    """What a worker does next, and why. `at` is Redis' time, 0 until it is kept."""

    act: Act
    worker: str
    reason: str
    queue: str = ""
    at: float = 0.0
