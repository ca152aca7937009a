"""The branches of a group in one value: merged in the order of the definition, decided by policy where they collide."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.context.joining import Branch, Joined, join
from orchestrator.context.merge import ABSENT, Chosen, MergeRules
from orchestrator.context.paths import Item, Path, show
from orchestrator.context.policy import RESOLUTIONS, Action, ConflictPolicy, ConflictSpec, Writer
from orchestrator.context.values import canonical
from tests.unit.context import editing

FIRST = ConflictSpec()
BASE = {"platform": "web", "stories": [{"id": "US-1", "points": 1}, {"id": "US-2", "points": 2}]}


def branch(step: str, committed: int, priority: int = 0, **changed: Any) -> Branch:
    return Branch(Writer(step, committed, priority), {**BASE, **changed})


def three(one: Any, other: Any, third: Any) -> list[Branch]:
    return [Branch(Writer("a", 3, 5), one), Branch(Writer("b", 1, 2), other), Branch(Writer("c", 2, 9), third)]


def test_nothing_and_one() -> None:
    assert join(BASE, [], FIRST) == Joined(BASE)
    assert join(BASE, [branch("a", 1, platform="ios")], FIRST).value["platform"] == "ios"
    assert join(ABSENT, [], FIRST).value is ABSENT


def test_edits_that_do_not_collide_all_hold() -> None:
    stories = BASE["stories"]
    found = join(
        BASE,
        [
            branch("ux", 2, platform="mobile"),
            branch("arch", 1, stories=[{"id": "US-1", "points": 8}, *stories[1:]]),
            branch("qa", 3, stories=[*stories, {"id": "US-3"}], risk=None),
        ],
        FIRST,
    )
    assert found.records == ()
    assert found.value == {
        "platform": "mobile",
        "stories": [{"id": "US-1", "points": 8}, {"id": "US-2", "points": 2}, {"id": "US-3"}],
        "risk": None,
    }


@pytest.mark.parametrize(
    ("word", "value"),
    [("first_writer", "B"), ("last_writer", "A"), ("priority", "C"), ("highest_priority_wins", "C")],
)
def test_of_three_that_collide_the_right_one_wins(word: str, value: str) -> None:
    for order in itertools.permutations(three("A", "B", "C")):
        found = join("base", order, RESOLUTIONS[word])
        assert found.value == value
        assert not found.waiting
        assert not found.failed


def test_records_tell_who_wrote_what() -> None:
    branches = [branch("ux", 2, platform="mobile"), branch("dev", 1), branch("arch", 4, platform="desktop")]
    (record,) = join(BASE, branches, FIRST, at=("pm", "plan")).records
    assert record.to_json() == {
        "path": ["pm", "plan", "platform"],
        "place": "pm.plan.platform",
        "base": "web",
        "ours": "mobile",
        "theirs": "desktop",
        "ours_by": ["ux"],
        "theirs_by": "arch",
        "action": "ours",
        "winner": "ux",
        "reason": "ux committed first of arch, ux",
    }


def test_a_side_that_two_made_names_both() -> None:
    text = "a\nb\nc\nd\ne"
    found = join(
        {"t": text, "i": [{"id": 0}, {"id": 1, "v": 0}]},
        [
            Branch(Writer("one", 5), {"t": "A\nb\nc\nd\ne", "i": [{"id": 0}, {"id": 1, "v": 1}]}),
            Branch(Writer("two", 6), {"t": "a\nb\nc\nd\nE", "i": [{"id": 0}, {"id": 1, "v": 0}]}),
            Branch(Writer("last", 1), {"t": "a\nb\nc\nd\n!", "i": [{"id": 0}, {"id": 1, "v": 2}]}),
        ],
        FIRST,
    )
    assert [(show(r.conflict.path), r.ours, r.decision.winner) for r in found.records] == [
        ("i[id=1].v", ("one",), "last"),
        ("t", ("one", "two"), "last"),
    ]
    assert found.value == {"t": "a\nb\nc\nd\n!", "i": [{"id": 0}, {"id": 1, "v": 2}]}


def test_without_merging_the_winner_takes_the_whole_field() -> None:
    branches = [branch("ux", 2, platform="mobile"), branch("arch", 1, risk="high")]
    assert join(BASE, branches, RESOLUTIONS["first_writer_wins"], at=("pm", "plan")).value == {**BASE, "risk": "high"}
    assert join(BASE, branches, RESOLUTIONS["last_writer_wins"]).value == {**BASE, "platform": "mobile"}
    merged = join(BASE, branches, FIRST, MergeRules(whole=("pm.plan.stories",)), at=("pm", "plan"))
    assert merged.value == {**BASE, "platform": "mobile", "risk": "high"}


def test_rules_hold_for_every_branch() -> None:
    branches = [branch("ux", 1, stories=[BASE["stories"][0]]), branch("arch", 2, stories=[*BASE["stories"], {"id": 3}])]
    found = join(BASE, branches, FIRST, MergeRules(whole=("pm.plan.stories",)), at=("pm", "plan"))
    assert [show(record.conflict.path) for record in found.records] == ["pm.plan.stories"]


def test_fail_and_manual_leave_the_conflict_open() -> None:
    branches = three("A", "B", "B")
    failed = join("base", branches, RESOLUTIONS["fail"])
    assert [record.theirs for record in failed.failed] == ["b", "c"]
    assert not failed.waiting
    waiting = join("base", branches, ConflictSpec(policy=ConflictPolicy.MANUAL, decision_timeout=60.0), now=100.0)
    assert [record.decision.until for record in waiting.waiting] == [160.0, 160.0]
    assert not waiting.failed
    assert waiting.value == "A"


def test_a_decision_by_hand_goes_on_from_there() -> None:
    path: Path = ("pm", "plan", "stories", Item("id", "US-1"))
    branches = [
        branch("ux", 1, platform="mobile", stories=[{"id": "US-1", "points": 5}]),
        branch("arch", 2, platform="desktop", stories=[BASE["stories"][1]]),
    ]
    manual = RESOLUTIONS["manual_conflict_resolution"]
    asked = join(BASE, branches, manual, at=("pm", "plan"))
    assert [record.conflict.path for record in asked.waiting] == [("pm", "plan", "platform"), path]
    decided: dict[Path, Chosen] = {("pm", "plan", "platform"): Chosen("both"), path: Chosen(ABSENT)}
    half = join(BASE, branches, manual, at=("pm", "plan"), decided={path: Chosen(ABSENT)})
    assert [show(record.conflict.path) for record in half.waiting] == ["pm.plan.platform"]
    done = join(BASE, branches, manual, at=("pm", "plan"), decided=decided)
    assert done.waiting == ()
    assert done.value == {"platform": "both", "stories": []}
    assert {record.decision.action for record in done.records} == {Action.GIVEN}
    assert json.loads(json.dumps(done.records[0].to_json()))["reason"] == "decided by hand"


def test_an_unanswered_question_is_decided_when_its_time_is_over() -> None:
    spec = ConflictSpec(policy=ConflictPolicy.MANUAL, decision_timeout=60.0, otherwise=ConflictPolicy.LAST_WRITER)
    assert join("base", three("A", "B", "C"), spec, now=159.0, asked_at=100.0).waiting
    late = join("base", three("A", "B", "C"), spec, now=160.0, asked_at=100.0)
    assert (late.value, late.waiting) == ("A", ())


def test_deleted_by_one_and_changed_by_the_other() -> None:
    for spec, value in ((FIRST, ABSENT), (RESOLUTIONS["last_writer"], 2)):
        assert join(1, [Branch(Writer("a", 1), ABSENT), Branch(Writer("b", 2), 2)], spec).value is value


@given(editing.branches(3), st.permutations([1, 2, 3]), st.sampled_from(["first_writer", "last_writer", "priority"]))
@settings(max_examples=60)
def test_arrival_decides_collisions_and_nothing_else(case: tuple[Any, ...], order: list[int], word: str) -> None:
    base, *values = case

    def joined(committed: list[int]) -> Joined:
        branches = [
            Branch(Writer(f"s{at}", when), value)
            for at, (when, value) in enumerate(zip(committed, values, strict=True))
        ]
        return join(base, branches, RESOLUTIONS[word])

    found, other = joined([1, 2, 3]), joined(order)
    if not found.records:
        assert other == found
    for result in (found, other):
        assert not result.waiting
        assert not result.failed
        if result.value is not ABSENT:
            canonical(result.value, limit=100_000, what="it")
