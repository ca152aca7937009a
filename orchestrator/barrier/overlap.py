"""Conflicts that are about to happen: members of a group that write to the same place, while others still work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from orchestrator.barrier.policy import ENDED, GOOD


class Author(Struct, frozen=True):
    """Another member: its state, the shared paths that it has written so far, and those that it declares to write."""

    step: str
    state: str
    wrote: tuple[str, ...] = ()
    declares: tuple[str, ...] = ()


class Overlap(Struct, frozen=True):
    """Two members and one place: `path` is what the first has written; the other wrote it too, or is going to."""

    path: str
    other: str
    declared: bool

    def __str__(self) -> str:
        return f"'{self.path}' is also {'declared' if self.declared else 'written'} by {self.other}"


def overlaps(paths: Sequence[str], others: Sequence[Author]) -> Iterator[Overlap]:
    """Where what was just written meets what other members have written, or, while they have not ended, declare.
    `a` and `a.b` are one place. What a member wrote that has failed will never be merged."""
    for author in others:
        going = author.state not in ENDED
        if not going and author.state not in GOOD:
            continue
        for path in dict.fromkeys(paths):
            if any(_meet(path, theirs) for theirs in author.wrote):
                yield Overlap(path, author.step, declared=False)
            elif going and any(_meet(path, theirs) for theirs in author.declares):
                yield Overlap(path, author.step, declared=True)


def _meet(one: str, other: str) -> bool:
    first, second = one.split("."), other.split(".")
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]
