"""Two edits of one sequence of texts: as lines, and as elements that stand at most once.

Both give the same result when the sides are swapped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from difflib import Match, SequenceMatcher
from typing import Any

MAX_PAIRS = 1_000_000
MAX_WORK = 500_000
"""Pairs of equal lines, and lines looked at, for one text at most, which is about a second: difflib takes quadratic
time and more where lines repeat, or where every other line was changed."""


class _TooMuchWork(Exception):
    pass


class _BoundedMatcher(SequenceMatcher[str]):
    """difflib's matcher, which gives up instead of keeping a worker for minutes."""

    _left = MAX_WORK

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        self._left -= (ahi or 0) - alo
        if self._left < 0:
            raise _TooMuchWork
        return super().find_longest_match(alo, ahi, blo, bhi)


def merge_lines(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> list[str] | None:
    """The sequence with both edits, or None if they touch each other, or if it would take too long to find out.

    The one place that uses merge3, which is under the GPL.
    """
    head = _common(base, ours, theirs)
    tail = _common(base[head:][::-1], ours[head:][::-1], theirs[head:][::-1])
    before, one, other = (side[head : len(side) - tail] for side in (base, ours, theirs))
    if _pairs(before, one) + _pairs(before, other) > MAX_PAIRS:
        return None
    merged = list(base[:head])
    from merge3 import Merge3  # few runs merge texts

    matcher: Any = _BoundedMatcher
    try:
        for kind, *groups in Merge3(before, one, other, sequence_matcher=matcher).merge_groups():
            if kind == "conflict":
                return None
            merged += groups[0]
    except _TooMuchWork:
        return None
    return merged + list(base[len(base) - tail :])


def _common(*sides: Sequence[str]) -> int:
    """How many elements all sides have in common at their beginning."""
    count = 0
    for elements in zip(*sides, strict=False):
        if len(set(elements)) > 1:
            break
        count += 1
    return count


def _pairs(one: Sequence[str], other: Sequence[str]) -> int:
    """How often a line of the one is a line of the other. Of long texts, difflib leaves out the commonest lines."""
    counts = Counter(other)
    often = len(other) // 100 + 1 if len(other) >= 200 else len(other)
    return sum(times * counts[line] for line, times in Counter(one).items() if counts[line] <= often)


def reordered(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether both sides put what they kept into another order, and not into the same."""
    everywhere = {*base} & {*ours} & {*theirs}
    before, one, other = ([token for token in side if token in everywhere] for side in (base, ours, theirs))
    return before not in (one, other) and one != other


def arrange(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str], kept: Container[str]) -> list[str]:
    """The kept elements in an order that respects both sides; none stands twice in any of them.

    What all three have in common keeps its order, or takes the new one of the side that changed it. Everything else
    follows what it followed on its own side; if both added something at one place, the smaller element comes first.
    """
    everywhere = {token for token in {*base} & {*ours} & {*theirs} if token in kept}
    before, one, other = ([token for token in side if token in everywhere] for side in (base, ours, theirs))
    spine = other if one == before else one
    places = {token: index for index, token in enumerate(spine)}
    our_runs, their_runs = _runs(ours, places, kept), _runs(theirs, places, kept)
    _settle_places(our_runs, their_runs)
    arranged = _interleave(our_runs.get(-1, []), their_runs.get(-1, []))
    for place, token in enumerate(spine):
        arranged += [token, *_interleave(our_runs.get(place, []), their_runs.get(place, []))]
    return arranged


def _runs(side: Sequence[str], places: Mapping[str, int], kept: Container[str]) -> dict[int, list[str]]:
    """What a side has beyond the spine, by the place in the spine after which it stands; -1 is the beginning."""
    runs: dict[int, list[str]] = {}
    place = -1
    for token in side:
        if token in places:
            place = places[token]
        elif token in kept:
            runs.setdefault(place, []).append(token)
    return runs


def _settle_places(ours: dict[int, list[str]], theirs: dict[int, list[str]]) -> None:
    """An element that both added at different places stays at the first of them."""
    first: dict[str, int] = {}
    for runs in (ours, theirs):
        for place, run in runs.items():
            for token in run:
                first[token] = min(place, first.get(token, place))
    for runs in (ours, theirs):
        for place, run in runs.items():
            runs[place] = [token for token in run if first[token] == place]


def _interleave(ours: list[str], theirs: list[str]) -> list[str]:
    """Both runs, each in its own order, as far as they do not contradict each other."""
    merged: dict[str, None] = {}
    at, left = [0, 0], [{*ours}, {*theirs}]
    while at[0] < len(ours) and at[1] < len(theirs):
        one, other = ours[at[0]], theirs[at[1]]
        # An element that the other side has further down waits, unless each waits for the other.
        waits, other_waits = one in left[1], other in left[0]
        side = int(other < one) if waits == other_waits else int(waits)
        token = (ours, theirs)[side][at[side]]
        merged[token] = None
        for index, run in enumerate((ours, theirs)):
            left[index].discard(token)
            while at[index] < len(run) and run[at[index]] not in left[index]:
                at[index] += 1
    merged.update(dict.fromkeys(ours[at[0] :]))
    merged.update(dict.fromkeys(theirs[at[1] :]))
    return list(merged)
