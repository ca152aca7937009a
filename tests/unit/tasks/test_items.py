"""Agents for items, each called as a function."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Agent, AgentContext, AgentError, InvalidValue
from orchestrator.errors import OrchestratorError
from tasks import add_up, at_least, count_words, flaky, merge_sorted, sort_slice


@pytest.mark.parametrize(
    ("agent", "item", "params", "value"),
    [
        (count_words, "one, two", {}, 2),
        (at_least, 2, {"least": 3}, False),
        (at_least, 3, {"least": 3}, True),
        (add_up, [1, 2.5], {}, 3.5),
        (sort_slice, [2, 1], {}, [1, 2]),
        (merge_sorted, [[1, 4], [2]], {}, [1, 2, 4]),
        (flaky, "x", {"every": 3}, "x"),
    ],
)
def test_an_item_has_its_value(agent: Agent, item: Any, params: dict[str, Any], value: Any) -> None:
    assert agent.value(AgentContext.for_test(item=item, index=1, params=params)) == value


def test_what_is_no_such_item_is_refused_and_a_flaky_one_fails_now_and_then() -> None:
    with pytest.raises(InvalidValue, match="'item' has not the expected shape"):
        count_words.value(AgentContext.for_test(item=1))
    with pytest.raises(AgentError, match="item 2 fails as it was asked to"):
        flaky.value(AgentContext.for_test(item="x", index=2, params={"every": 3}))
    with pytest.raises(OrchestratorError, match="patterns need workers"):
        AgentContext.for_test().scatter_gather([1], "flaky")
