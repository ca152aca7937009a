"""When a figure that is looked at again and again becomes an alarm, and when that is over: no clock, no Redis."""

from __future__ import annotations

from dataclasses import dataclass

LOOKS = 2
"""So many looks in a row have to agree, so that one peak is no alarm and one good moment does not end one."""
CALM = 0.9
"""Share of the threshold below which a figure has to fall before its alarm is over."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is remembered of a figure from look to look. `raised`: None before anything is known. Between the threshold
    and CALM of it nothing changes."""

    raised: bool | None = None
    beyond: int = 0
    below: int = 0


def watch(before: Watched, value: float, threshold: float) -> Watched:
    """The next state: an alarm is raised when LOOKS in a row have reached the threshold, and over when as many in a row
    were below CALM of it."""
    beyond = before.beyond + 1 if value >= threshold else 0
    below = before.below + 1 if value < CALM * threshold or value == 0 else 0
    if beyond >= LOOKS:
        return Watched(True, beyond=LOOKS)
    if below >= LOOKS:
        return Watched(False, below=LOOKS)
    return Watched(before.raised, beyond, below)
