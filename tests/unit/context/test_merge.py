"""Three-way merges: a table of cases as people meet them, and what holds for every base and every two edits."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.context.merge import ABSENT, Chosen, MergeConflict, Merged, MergeRules, merge
from orchestrator.context.paths import Item, show
from orchestrator.context.values import canonical, same
from tests.unit.context import editing

CODE = "def a():\n    return 1\n\n\ndef b():\n    return 2\n\n\ndef c():\n    return 3\n"


def ids(*names: Any) -> list[dict[str, Any]]:
    return [{"id": name} for name in names]


# name, base, ours, theirs, merged
CLEAN: list[tuple[str, Any, Any, Any, Any]] = [
    ("disjoint keys", {"a": 1}, {"a": 1, "b": 2}, {"a": 1, "c": 3}, {"a": 1, "b": 2, "c": 3}),
    ("deeper keys", {"r": {}}, {"r": {"f": 1}}, {"r": {"n": 2}}, {"r": {"f": 1, "n": 2}}),
    ("one side alone", {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 1}),
    ("both the same", {"a": 1}, {"a": [2]}, {"a": [2]}, {"a": [2]}),
    ("both added a mapping", {}, {"m": {"x": 1}}, {"m": {"y": 2}}, {"m": {"x": 1, "y": 2}}),
    ("no base at all", ABSENT, {"x": 1}, {"y": [2]}, {"x": 1, "y": [2]}),
    ("deleted, untouched by the other", {"a": 1, "b": 2}, {"b": 2}, {"a": 1, "b": 3}, {"b": 3}),
    ("deleted by both", {"a": 1, "b": 2}, {"b": 2}, {"b": 2}, {"b": 2}),
    ("all deleted", {"a": 1}, ABSENT, ABSENT, ABSENT),
    ("null is a value", {"a": 1, "b": 1}, {"a": None, "b": 1}, {"a": 1}, {"a": None}),
    ("another type", {"a": 1, "b": 1}, {"a": {"x": 1}, "b": 1}, {"a": 1, "b": []}, {"a": {"x": 1}, "b": []}),
    ("true is not 1", {"a": 1, "b": 0}, {"a": True, "b": 0}, {"a": 1, "b": False}, {"a": True, "b": False}),
    ("items added by both", ids("a"), ids("a", "c"), ids("a", "b"), ids("a", "b", "c")),
    ("item deleted, item added", ids("a", "b"), ids("b"), ids("a", "b", "c"), ids("b", "c")),
    ("items inserted at places", ids("a", "b"), ids("a", "x", "b"), ids("y", "a", "b"), ids("y", "a", "x", "b")),
    (
        "different fields of one item",
        [{"id": 1, "v": 0, "w": 0}],
        [{"id": 1, "v": 1, "w": 0}],
        [{"id": 1, "v": 0, "w": 1}],
        [{"id": 1, "v": 1, "w": 1}],
    ),
    (
        "an item moved and changed",
        [{"id": 1, "v": 0}, {"id": 2}, {"id": 3}],
        [{"id": 2}, {"id": 3}, {"id": 1, "v": 0}],
        [{"id": 1, "v": 5}, {"id": 2}, {"id": 3}],
        [{"id": 2}, {"id": 3}, {"id": 1, "v": 5}],
    ),
    ("identities 1 and '1'", ids(1, "1"), ids(1, "1", 2), ids("1"), ids("1", 2)),
    ("one new item with two halves", [], [{"id": 1, "v": 1}], [{"id": 1, "w": 2}], [{"id": 1, "v": 1, "w": 2}]),
    ("union", ["web"], ["web", "ios"], ["web", "android"], ["web", "android", "ios"]),
    ("union that deletes", ["a", "b", "c"], ["a", "c"], ["a", "b", "c", "d"], ["a", "c", "d"]),
    ("union without base", ABSENT, ["x"], ["y"], ["x", "y"]),
    ("both replaced a word", ["draft", "x"], ["final", "x"], ["review", "x"], ["final", "review", "x"]),
    ("the same added", ["a"], ["a", "b", "c"], ["c", "a", "b"], ["c", "a", "b"]),
    ("one word added by both", [], ["a"], ["z", "a", "y"], ["z", "a", "y"]),
    ("one word added by both at two places", ["m"], ["a", "m"], ["m", "z", "a"], ["a", "m", "z"]),
    ("both in the same new order", list("abc"), list("cabd"), list("cabe"), list("cabde")),
    ("added in opposite orders", [], ["x", "y"], ["y", "x"], ["x", "y"]),
    ("runs stay in their order", ["a"], ["a", "z", "m"], ["a", "n"], ["a", "n", "z", "m"]),
    ("true and 1 in a list", [True], [True, 1], [True, "1"], [True, "1", 1]),
    ("one side put them in order", ["c", "a", "b"], ["a", "b", "c"], ["c", "a", "b", "d"], ["a", "b", "d", "c"]),
    ("repeats, in order", [1, 1, 2, 3], [0, 1, 1, 2, 3], [1, 1, 2, 3, 3], [0, 1, 1, 2, 3, 3]),
    ("other items, only added", [{"t": 1}], [{"t": 1}, {"t": 2}], [{"t": 1}, {"t": 3}], [{"t": 1}, {"t": 2}, {"t": 3}]),
    ("other items, each changed one", [[1], [2]], [[1, 1], [2]], [[1], [2, 2]], [[1, 1], [2, 2]]),
    ("other items, repeated", [[1], [1], [2]], [[0], [1], [1], [2]], [[1], [1], [3]], [[0], [1], [1], [3]]),
    ("an identity twice", ids(1), [*ids(1), {"id": 1, "v": 2}], ids(1, 9), [*ids(1), {"id": 1, "v": 2}, {"id": 9}]),
    ("other items, both deleted one", [[1], [2]], [[2]], [[2]], [[2]]),
    (
        "text, line by line",
        CODE,
        CODE.replace("1", "10"),
        CODE.replace("3", "30"),
        CODE.replace("1", "10").replace("3", "30"),
    ),
    ("text, appended and changed", "a\nb", "a\nb\nc", "A\nb", "A\nb\nc"),
    ("text, one line at first", "b", "a\nb", "b\nc", "a\nb\nc"),
    ("text, last newline", "a\nb\nc\n", "A\nb\nc\n", "a\nb\nc", "A\nb\nc"),
    ("text, other newlines", "a\r\nb\r\nc\u2028d", "A\r\nb\r\nc\u2028d", "a\r\nb\r\nc\u2028D", "A\r\nb\r\nc\u2028D"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"), [row[1:] for row in CLEAN], ids=[row[0] for row in CLEAN]
)
def test_what_merges(base: Any, ours: Any, theirs: Any, merged: Any) -> None:
    for one, other in ((ours, theirs), (theirs, ours)):
        found = merge(base, one, other)
        assert found.conflicts == ()
        assert found.value is merged if merged is ABSENT else same(found.value, merged), found.value


# name, base, ours, theirs, the path of the conflict
CONFLICTS: list[tuple[str, Any, Any, Any, str]] = [
    ("two values", {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 3, "b": 2}, "a"),
    ("two new values", {}, {"a": 2}, {"a": 3}, "a"),
    ("1 and true", {"a": 0}, {"a": 1}, {"a": True}, "a"),
    ("deleted and changed", {"a": {"x": 1, "y": 1}}, {}, {"a": {"x": 2, "y": 1}}, "a"),
    ("null and changed", {"a": {"x": 1}}, {"a": None}, {"a": {"x": 2}}, "a"),
    ("two types", {"a": 1}, {"a": {"x": 1}}, {"a": ["x"]}, "a"),
    ("a mapping in place of null", {"a": None}, {"a": {"x": 1}}, {"a": {"y": 1}}, "a"),
    ("one line", {"a": "x"}, {"a": "y"}, {"a": "z"}, "a"),
    ("one line becomes two", {"a": "x"}, {"a": "x\ny"}, {"a": "z"}, "a"),
    ("the same line", {"a": "1\n2\n3"}, {"a": "1\nX\n3"}, {"a": "1\nY\n3"}, "a"),
    ("lines at one place", {"a": "1\n2"}, {"a": "1\nX\n2"}, {"a": "1\nY\n2"}, "a"),
    ("two new texts", {}, {"a": "1\n2"}, {"a": "1\n3"}, "a"),
    ("a field of an item", [{"id": "U", "v": 0}], [{"id": "U", "v": 1}], [{"id": "U", "v": 2}], "[id=U].v"),
    ("an item deleted and changed", [{"id": 7, "v": 0}], [], [{"id": 7, "v": 2}], "[id=7]"),
    ("two new orders", ids(1, 2, 3), ids(3, 1, 2), ids(2, 1, 3), ""),
    ("two new orders of texts", list("abc"), list("cab"), list("bac"), ""),
    ("repeats at one place", [1, 1], [1, 1, 2], [1, 1, 3], ""),
    ("another item changed by both", [{"t": 1}], [{"t": 2}], [{"t": 3}], ""),
    ("another item changed and deleted", [[1], [2]], [[1, 1], [2]], [[2]], ""),
    ("other items, repeated", [[1], [1]], [[1], [1], [2]], [[1], [1], [3]], ""),
    ("true is no identity", [{"id": True, "v": 0}], [{"id": True, "v": 1}], [{"id": True, "v": 0, "w": 1}], ""),
    ("identities that repeat", ids(1, 1), [*ids(1, 1), 2], [*ids(1, 1), 3], ""),
]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "path"), [row[1:] for row in CONFLICTS], ids=[row[0] for row in CONFLICTS]
)
def test_what_does_not(base: Any, ours: Any, theirs: Any, path: str) -> None:
    found = merge(base, ours, theirs)
    assert [show(conflict.path) for conflict in found.conflicts] == [path]
    assert merge(base, theirs, ours).conflicts == tuple(conflict.swapped() for conflict in found.conflicts)
    if not path:
        assert found.conflicts == (MergeConflict((), base, ours, theirs),)
        assert found.value == ours


def test_a_conflict_holds_the_three_values_and_the_rest_is_merged() -> None:
    base = {"s": [{"id": 1, "v": 1, "w": 1}, {"id": 2}], "x": 1}
    ours = {"s": [{"id": 1, "v": 2, "w": 1}], "x": 1, "y": 1}
    theirs = {"s": [{"id": 1, "w": 2}, {"id": 2}], "x": 2}
    found = merge(base, ours, theirs, at=("pm", "stories"))
    path = ("pm", "stories", "s", Item("id", 1), "v")
    assert found.conflicts == (MergeConflict(path, 1, 2, ABSENT),)
    assert str(found.conflicts[0]) == "'pm.stories.s[id=1].v' was changed by both sides"
    assert found.value == {"s": [{"id": 1, "v": 2, "w": 2}], "x": 2, "y": 1}


def test_conflicts_come_in_the_order_of_their_paths() -> None:
    keys = ["b", "a", "Z", "c"]
    found = merge(dict.fromkeys(keys, 0), dict.fromkeys(keys, 1), dict.fromkeys(reversed(keys), 2))
    assert [show(conflict.path) for conflict in found.conflicts] == ["Z", "a", "b", "c"]


@pytest.mark.parametrize(
    ("chosen", "value"),
    [(Chosen("t"), {"a": "t", "k": [{"id": 1, "v": "t"}]}), (Chosen(ABSENT), {"k": [{"id": 1}]})],
)
def test_a_choice_settles_conflicts(chosen: Chosen, value: Any) -> None:
    base = {"a": 0, "k": [{"id": 1, "v": 0}]}
    ours, theirs = ({"a": side, "k": [{"id": 1, "v": side}]} for side in ("o", "t"))
    seen: list[MergeConflict] = []

    def choose(conflict: MergeConflict) -> Chosen:
        seen.append(conflict)
        return chosen

    assert merge(base, ours, theirs, choose=choose) == Merged(value)
    assert [show(conflict.path) for conflict in seen] == ["a", "k[id=1].v"]
    undecided = merge(base, ours, theirs, choose=lambda conflict: chosen if conflict.path == ("a",) else None)
    assert [show(conflict.path) for conflict in undecided.conflicts] == ["k[id=1].v"]


def test_a_deleted_item_that_is_chosen_comes_back_to_its_place() -> None:
    base = [{"id": 1}, {"id": 2, "v": 0}, {"id": 3}]
    theirs = [{"id": 1}, {"id": 2, "v": 1}, {"id": 3}, {"id": 4}]
    found = merge(base, ids(1, 3), theirs, choose=lambda conflict: Chosen(conflict.theirs))
    assert found == Merged(theirs)


def test_rules_name_the_identity_of_a_list() -> None:
    base = {"screens": [{"name": "home", "widgets": [{"ref": 1, "v": 0}]}]}
    ours = {"screens": [{"name": "home", "widgets": [{"ref": 1, "v": 1}]}]}
    theirs = {"screens": [{"name": "home", "widgets": [{"ref": 1, "v": 0, "w": 2}]}, {"name": "new"}]}
    rules = MergeRules(identity={"ux.spec.screens": "name", "ux.spec.screens.widgets": "ref"})
    found = merge(base, ours, theirs, rules, at=("ux", "spec"))
    assert found.conflicts == ()
    assert found.value == {"screens": [{"name": "home", "widgets": [{"ref": 1, "v": 1, "w": 2}]}, {"name": "new"}]}
    assert [show(conflict.path) for conflict in merge(base, ours, theirs, at=("ux", "spec")).conflicts] == [
        "ux.spec.screens"
    ]


def test_rules_name_lists_whose_order_counts() -> None:
    base, ours, theirs = ["open", "save"], ["open", "edit", "save"], ["open", "print", "save"]
    assert merge(base, ours, theirs, at=("ux", "steps")).value == ["open", "edit", "print", "save"]
    rules = MergeRules(ordered=("ux.steps",))
    assert len(merge(base, ours, theirs, rules, at=("ux", "steps")).conflicts) == 1
    assert merge(base, ours, [*base, "quit"], rules, at=("ux", "steps")) == Merged(["open", "edit", "save", "quit"])
    items = merge(ids(1, 2), [*ids(1), {"id": 2, "v": 1}], ids(0, 1, 2), rules, at=("ux", "steps"))
    assert items == Merged([*ids(0, 1), {"id": 2, "v": 1}])


def test_rules_name_what_stays_whole() -> None:
    base, ours, theirs = {"x": 1, "y": 1}, {"x": 2, "y": 1}, {"x": 1, "y": 2}
    rules = MergeRules(whole=("pm.plan",))
    assert merge(base, ours, theirs, rules, at=("pm", "plan")).conflicts == (
        MergeConflict(("pm", "plan"), base, ours, theirs),
    )
    assert merge(base, base, theirs, rules, at=("pm", "plan")) == Merged(theirs)
    inside = merge({"plan": base}, {"plan": ours}, {"plan": theirs}, rules, at=("pm",))
    assert [show(conflict.path) for conflict in inside.conflicts] == ["pm.plan"]


def test_rules_are_checked() -> None:
    with pytest.raises(ValidationError):
        MergeRules(whole=("pm..plan",))
    with pytest.raises(ValidationError):
        MergeRules.model_validate({"union": ["pm"]})


@pytest.mark.parametrize("side", [None, 1, "x", [1], {"a": 1}, ABSENT])
def test_conflicts_as_json(side: Any) -> None:
    conflict = MergeConflict(("pm", "s", Item("id", "US-1"), 2, "v"), side, {"x": None}, [])
    assert MergeConflict.from_json(json.loads(json.dumps(conflict.to_json()))) == conflict
    assert ("base" in conflict.to_json()) == (side is not ABSENT)
    assert conflict.to_json()["path"] == ["pm", "s", {"key": "id", "value": "US-1"}, 2, "v"]


# -- what holds for everything --------------------------------------------------------------------------------------


@st.composite
def disjoint(draw: st.DrawFn, count: int = 2) -> tuple[Any, list[editing.Edit]]:
    base = draw(editing.documents)
    edits = draw(editing.edits_of(base, count))
    assume(len(edits) == count)
    return base, edits


def by_identity(value: Any) -> Any:
    """The value with identified lists in the order of their identities."""
    if isinstance(value, dict):
        return {key: by_identity(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [by_identity(item) for item in value]
        identified = items and all(isinstance(item, dict) and "id" in item for item in items)
        return sorted(items, key=lambda item: str(item["id"])) if identified else items
    return value


@given(disjoint())
@settings(max_examples=60)
def test_edits_on_disjoint_paths_both_hold(case: tuple[Any, list[editing.Edit]]) -> None:
    base, (one, other) = case
    found = merge(base, one.apply(base), other.apply(base))
    assert found.conflicts == ()
    assert same(by_identity(found.value), by_identity(other.apply(one.apply(base))))


@given(disjoint(3))
@settings(max_examples=40)
def test_disjoint_edits_of_three_give_the_same_in_whatever_order_they_arrive(
    case: tuple[Any, list[editing.Edit]],
) -> None:
    base, edits = case
    results = set()
    for order in permutations(edits):
        value = base
        for edit in order:
            merged = merge(base, value, edit.apply(base))
            assert merged.conflicts == ()
            value = merged.value
        results.add(canonical(value, limit=100_000, what="it"))
    assert len(results) == 1


@given(editing.branches())
@settings(max_examples=60)
def test_sides_can_be_swapped(case: tuple[Any, Any, Any]) -> None:
    base, ours, theirs = case
    found, swapped = merge(base, ours, theirs), merge(base, theirs, ours)
    assert sorted(map(repr, swapped.conflicts)) == sorted(repr(conflict.swapped()) for conflict in found.conflicts)
    if not found.conflicts:
        assert same(found.value, swapped.value)

    def smaller(conflict: MergeConflict) -> Chosen:
        return Chosen(min(conflict.ours, conflict.theirs, key=repr))

    settled, also = (merge(base, *sides, choose=smaller) for sides in ((ours, theirs), (theirs, ours)))
    assert settled.conflicts == also.conflicts == ()
    assert same(settled.value, also.value)


@given(editing.branches(1))
def test_one_edit_holds_whole(case: tuple[Any, Any]) -> None:
    base, edited = case
    assert merge(base, edited, edited) == Merged(edited)
    assert merge(base, base, edited) == Merged(edited)
    assert merge(base, edited, base) == Merged(edited)
    assert merge(base, ABSENT, base) == Merged(ABSENT)
    assert merge(ABSENT, edited, ABSENT) == Merged(edited)


anything = st.one_of(editing.values, editing.documents, st.just(ABSENT))


@given(anything, anything, anything)
@settings(max_examples=60)
def test_no_three_values_make_it_raise_or_give_what_is_no_json(base: Any, ours: Any, theirs: Any) -> None:
    before = repr((base, ours, theirs))
    found = merge(base, ours, theirs)
    assert merge(base, ours, theirs) == found
    assert repr((base, ours, theirs)) == before
    if found.value is not ABSENT:
        canonical(found.value, limit=100_000, what="it")
    for conflict in found.conflicts:
        assert not same_or_absent(conflict.ours, conflict.theirs)
        assert not same_or_absent(conflict.base, conflict.ours)
        assert not same_or_absent(conflict.base, conflict.theirs)


def same_or_absent(one: Any, other: Any) -> bool:
    return one is other or (one is not ABSENT and other is not ABSENT and same(one, other))


sets = st.lists(st.sampled_from("abcdef"), max_size=5, unique=True)


@given(sets, sets, sets)
def test_a_union_holds_what_was_added_and_loses_what_was_deleted(base: Any, ours: Any, theirs: Any) -> None:
    found = merge(base, ours, theirs)
    assume(not found.conflicts)
    kept = {*base} & {*ours} & {*theirs}
    assert {*found.value} == kept | ({*ours} - {*base}) | ({*theirs} - {*base})
    assert len({*found.value}) == len(found.value)
    moved = [element for element in ours if element in kept] != [element for element in base if element in kept]
    for side, common in ((ours, kept if moved else set()), (theirs, set() if moved else kept)):
        # Additions of the one side do not part what the other has in order.
        assert [element for element in found.value if element in common] == [e for e in side if e in common]


@given(st.lists(st.sampled_from("xyz"), min_size=5, max_size=30), st.data())
def test_lines_that_lie_apart_are_merged(lines: list[str], data: st.DataObject) -> None:
    numbered = [f"{number} {line}" for number, line in enumerate(lines)]
    one = data.draw(st.integers(0, len(lines) - 3))
    other = data.draw(st.integers(one + 2, len(lines) - 1))
    change = data.draw(st.sampled_from([[], ["new"], ["new", "newer"]]))
    ours, theirs = numbered[:], numbered[:]
    ours[one : one + 1] = change
    theirs[other : other + 1] = ["theirs"]
    expected = theirs[:]
    expected[one : one + 1] = change
    assert merge("\n".join(numbered), "\n".join(ours), "\n".join(theirs)) == Merged("\n".join(expected))


def test_texts_as_long_as_reports_are_merged() -> None:
    # Every other line is empty, as between paragraphs: such lines are no anchors.
    lines = [f"paragraph {number}\n" for number in range(2_000)]
    ours = [*lines[:100], "ours\n", *lines[101:]]
    theirs = [*lines[:1_500], *lines[1_600:]]
    expected = [*lines[:100], "ours\n", *lines[101:1_500], *lines[1_600:]]
    assert merge("\n".join(lines), "\n".join(ours), "\n".join(theirs)) == Merged("\n".join(expected))
    # What all have in common at the beginning and at the end costs nothing.
    lines = [str(number) for number in range(600_000)]
    ours, theirs = lines[:], lines[:]
    ours[590_000], theirs[590_010] = "ours", "theirs"
    merged = merge("\n".join(lines), "\n".join(ours), "\n".join(theirs)).value.split("\n")
    assert (merged[590_000], merged[590_010], len(merged)) == ("ours", "theirs", 600_000)


def test_lines_that_repeat_at_both_ends_are_counted_once() -> None:
    assert merge("x\nx\ny", "x\ny", "x\nx\ny\nz") == Merged("x\ny\nz")
    assert merge("x\nx", "x", "x\nx\nx").conflicts


@pytest.mark.timeout(20)
def test_hostile_texts_take_no_minutes() -> None:
    # difflib would find both of these in minutes; a conflict is what is left.
    lines = [f"line {number}" for number in range(20_000)]
    edited = [line if number % 2 or number > 19_000 else line + "!" for number, line in enumerate(lines)]
    assert len(merge("\n".join(lines), "\n".join(edited), "\n".join([*lines[:-1], "end"])).conflicts) == 1
    lines = [f"line {number % 100}" for number in range(20_000)]
    ours, theirs = lines[:], lines[:]
    ours[5], theirs[-5] = "ours", "theirs"
    assert len(merge("\n".join(lines), "\n".join(ours), "\n".join(theirs)).conflicts) == 1


def test_long_lists_are_merged() -> None:
    base = [{"id": number, "v": 0} for number in range(2_000)]
    ours = [{"id": number, "v": number % 2} for number in range(2_000)]
    merged = merge(base, ours, [*base[:10], {"id": "new"}, *base[10:]])
    assert merged == Merged([*ours[:10], {"id": "new"}, *ours[10:]])
