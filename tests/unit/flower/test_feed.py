"""Places of events, and what a channel keeps at hand."""

from __future__ import annotations

import pytest

from orchestrator.flower import feed
from orchestrator.flower.feed import Channel, place_of


@pytest.mark.parametrize(("text", "place"), [("5-3", (5, 3)), ("1700000000000-0", (1700000000000, 0)), ("7", (7, 0))])
def test_places(text: str, place: tuple[int, int]) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["", "x", "-", "1-x", "-1", "1-2-3", "٣-1", "$", "+", "9" * 30, "1 -2"])
def test_no_places(text: str) -> None:
    with pytest.raises(ValueError, match="no id of an event"):
        place_of(text)


def test_a_channel_tells_what_it_has_and_that_it_does_not_reach_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RECENT", 3)
    channel = Channel("c", origin=(10, 0), cursor=(10, 0))
    assert channel.behind((9, 0)) is None, "what was there before is not at hand"
    assert channel.behind((10, 0)) == []
    news = channel.news
    channel.add([((11, 0), b"a"), ((12, 0), b"b")])
    assert news.is_set()
    assert not channel.news.is_set(), "who waits from now on waits for what comes next"
    assert channel.behind((10, 0)) == [((11, 0), b"a"), ((12, 0), b"b")]
    assert channel.behind((11, 5)) == [((12, 0), b"b")]
    channel.add([((13, 0), b"c"), ((14, 0), b"d")])
    assert channel.behind((10, 0)) is None
    assert channel.behind((11, 0)) == [((12, 0), b"b"), ((13, 0), b"c"), ((14, 0), b"d")]
    assert channel.behind((99, 0)) == []
