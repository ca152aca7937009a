"""Rules between the outputs of a group: what holds, what is violated and how that is told, what is not judged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.context.consistency import Violation, evaluate
from orchestrator.context.models import ContextConflict
from orchestrator.context.policy import ConflictPolicy
from orchestrator.documents import parse_document
from orchestrator.workflow.sharing import ConsistencyRule

DOCUMENTS: dict[str, Any] = {
    "ux": {
        "platform": "mobile",
        "journeys": [{"story": "US-1"}, {"story": "US-3"}, {"note": "no story"}],
        "screens": {"home": {"v": 1}, "login": {"v": 2}},
        "flag": True,
        "nothing": None,
        "empty": [],
    },
    "arch": {"platform": "desktop", "targets": ["mobile", "web"], "pages": ["home", "login", 1], "flag": 1},
    "pm": {"stories": [{"id": "US-1"}, {"id": "US-2"}], "platform": "mobile"},
}


def rule(**keys: Any) -> ConsistencyRule:
    return ConsistencyRule.model_validate(keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"equal": ["ux.platform", "pm.platform"]},
        {"equal": ["ux.screens", "ux.screens"]},
        {"equal": ["ux.nothing", "ux.nothing"]},
        {"equal": ["ux.screens.*.v", "ux.screens.*.v"]},
        {"subset": ["ux.platform", "arch.targets"]},
        {"subset": ["ux.screens", "arch.pages"]},
        {"subset": ["ux.empty", "pm.stories"]},
        {"subset": ["ux.empty.*.x", "pm.stories"]},
        {"subset": ["arch.targets.*", "arch.targets"]},
        # dev wrote nothing at all.
        {"equal": ["ux.platform", "dev.platform"]},
        {"subset": ["dev.x.*.y", "pm.stories"]},
    ],
)
def test_what_holds(keys: dict[str, Any]) -> None:
    assert evaluate([rule(**keys)], DOCUMENTS) == ()


@pytest.mark.parametrize(
    ("keys", "complaint", "values"),
    [
        (
            {"equal": ["ux.platform", "arch.platform"]},
            'ux.platform is "mobile"; arch.platform is "desktop"',
            {"ux.platform": "mobile", "arch.platform": "desktop"},
        ),
        (
            {"equal": ["ux.platform", "pm.platform", "arch.platform"]},
            'ux.platform is "mobile"; arch.platform is "desktop"',
            {"ux.platform": "mobile", "pm.platform": "mobile", "arch.platform": "desktop"},
        ),
        ({"equal": ["ux.flag", "arch.flag"]}, "ux.flag is true; arch.flag is 1", {"ux.flag": True, "arch.flag": 1}),
        ({"equal": ["ux.absent", "pm.platform"]}, "nothing stands at ux.absent", {"pm.platform": "mobile"}),
        ({"equal": ["ux.absent", "pm.platform.x"]}, "nothing stands at ux.absent, pm.platform.x", {}),
        ({"subset": ["ux.absent.*.id", "pm.platform"]}, "nothing stands at ux.absent.*.id", {"pm.platform": "mobile"}),
        (
            {"subset": ["ux.journeys.*.story", "pm.stories.*.id"]},
            'ux.journeys.*.story has "US-3", which pm.stories.*.id has not',
            {"ux.journeys.*.story": ["US-1", "US-3"], "pm.stories.*.id": ["US-1", "US-2"]},
        ),
        (
            {"subset": ["arch.pages", "ux.screens"]},
            "arch.pages has 1, which ux.screens has not",
            {"arch.pages": ["home", "login", 1], "ux.screens": {"home": {"v": 1}, "login": {"v": 2}}},
        ),
        ({"subset": ["ux.screens.*.v", "arch.flag"]}, "ux.screens.*.v has 2, which arch.flag has not",
         {"ux.screens.*.v": [1, 2], "arch.flag": 1}),
        ({"subset": ["ux.flag", "pm.platform"]}, "ux.flag has true, which pm.platform has not",
         {"ux.flag": True, "pm.platform": "mobile"}),
        ({"subset": ["ux.flag", "arch.flag"]}, "ux.flag has true, which arch.flag has not",
         {"ux.flag": True, "arch.flag": 1}),
    ],
)  # fmt: skip
def test_what_does_not(keys: dict[str, Any], complaint: str, values: dict[str, Any]) -> None:
    (violation,) = evaluate([rule(**keys)], DOCUMENTS)
    assert violation == Violation(rule(**keys), values, complaint)
    assert str(violation) == complaint


def test_violations_come_in_the_order_of_the_rules_and_with_their_messages() -> None:
    rules = [
        rule(subset=["arch.pages", "ux.screens"], message="a page without a screen", on_violation="fail"),
        rule(equal=["ux.platform", "pm.platform"]),
        rule(equal=["ux.platform", "arch.platform"]),
    ]
    found = evaluate(rules, DOCUMENTS)
    assert [violation.rule for violation in found] == [rules[0], rules[2]]
    assert str(found[0]) == "a page without a screen: arch.pages has 1, which ux.screens has not"


@pytest.mark.parametrize(
    ("word", "late", "state", "otherwise"),
    [
        ("record", "first_writer", "resolved", ""),
        ("fail", "first_writer", "resolved", ""),
        ("manual", "last_writer", "open", "accept"),
        ("manual", "fail", "open", "fail"),
    ],
)
def test_a_violation_is_kept_as_a_conflict(word: str, late: str, state: str, otherwise: str) -> None:
    (violation,) = evaluate([rule(equal=["ux.platform", "pm.platform", "arch.platform"], on_violation=word)], DOCUMENTS)
    record = json.loads(json.dumps(violation.to_conflict("design", ConflictPolicy(late))))
    found = ContextConflict(id="x", **record)
    assert (found.kind, found.group) == ("consistency", "design")
    assert found.place == "ux.platform == pm.platform == arch.platform"
    assert (found.ours, found.theirs, found.ours_by, found.theirs_by) == ("mobile", "desktop", ("ux",), "arch")
    assert (str(found.state), found.otherwise) == (state, otherwise)
    assert found.sides == {"ours", "theirs"}


def test_long_values_are_cut() -> None:
    documents = {"a": {"x": ["n" * 500], "y": list(range(20))}, "b": {"x": 1}}
    (long,) = evaluate([rule(equal=["a.x", "b.x"])], documents)
    assert len(str(long)) < 200
    (many,) = evaluate([rule(subset=["a.y", "b.x"])], documents)
    assert str(many) == "a.y has 0, 2, 3, 4, 5 and 14 more, which b.x has not"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "a rule is either"),
        ({"equal": ["a.x", "b.x"], "subset": ["a.x", "b.x"]}, "a rule is either"),
        ({"equal": ["a.x"]}, "at least 2 items"),
        ({"subset": ["a.x"]}, "Field required"),
        ({"subset": ["a.x", "b.x", "c.x"]}, "at most 2 items"),
        ({"equal": ["a..x", "b"]}, "should match pattern"),
        ({"equal": ["*.x", "b"]}, "should match pattern"),
        ({"equal": ["a.x", "b.x"], "blocks": True}, "Extra inputs"),
    ],
)
def test_a_rule_is_checked(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rule(**keys)


def test_rules_as_a_file_writes_them() -> None:
    text = """
    - equal: [ux.platform, arch.platform]
    - {subset: ["ux.journeys.*.story", "pm.stories.*.id"], message: unknown story, on_violation: fail}
    """
    rules = [ConsistencyRule.model_validate(row) for row in parse_document(text, "rules").value]
    assert [violation.rule.on_violation for violation in evaluate(rules, DOCUMENTS)] == ["record", "fail"]


elements = st.lists(st.one_of(st.integers(0, 3), st.booleans(), st.sampled_from(["a", "1"]), st.just({"k": [1]})))


@given(elements, elements)
def test_a_subset_is_one(part: list[Any], whole: list[Any]) -> None:
    texts = [json.dumps(element) for element in whole]
    holds = all(json.dumps(element) in texts for element in part)
    found = evaluate([rule(subset=["a.part", "b.whole"])], {"a": {"part": part}, "b": {"whole": whole}})
    assert (found == ()) is holds


def test_large_lists_are_compared_quickly() -> None:
    documents = {"a": {"x": list(range(30_000))}, "b": {"x": list(range(30_000, -1, -1))}}
    assert evaluate([rule(subset=["a.x", "b.x"])], documents) == ()
