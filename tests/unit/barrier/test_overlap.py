"""Which writes of a group's members are about to collide."""

from __future__ import annotations

import pytest

from orchestrator.barrier.overlap import Author, overlaps


def met(path: str, *others: Author) -> list[tuple[str, bool]]:
    return [(one.other, one.declared) for one in overlaps([path], others)]


@pytest.mark.parametrize(
    ("theirs", "meets"), [("board", True), ("board.parts.x", True), ("board.other", False), ("bo", False)]
)
def test_a_section_and_what_is_below_it_are_one_place(theirs: str, meets: bool) -> None:
    assert bool(met("board.parts", Author("b", "running", wrote=(theirs,)))) == meets
    assert bool(met("board.parts", Author("b", "running", declares=(theirs,)))) == meets


def test_what_was_written_counts_for_more_than_what_was_declared() -> None:
    both = Author("b", "running", wrote=("board.parts",), declares=("board",))
    assert met("board.parts", both) == [("b", False)]


def test_who_has_ended_without_writing_or_without_success_is_no_danger() -> None:
    assert met("board.parts", Author("b", "success", declares=("board",))) == []
    assert met("board.parts", Author("b", "failed", wrote=("board.parts",))) == []
    assert met("board.parts", Author("b", "success", wrote=("board.parts",))) == [("b", False)]
