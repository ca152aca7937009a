"""Places of events, and what a channel keeps at hand."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.flower import feed
from orchestrator.flower.feed import Channel, Place, place_of


@pytest.mark.parametrize(("text", "place"), [("5-3", (5, 3)), ("1700000000000-0", (1700000000000, 0)), ("7", (7, 0))])
def test_places(text: str, place: tuple[int, int]) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["", "x", "-", "1-x", "-1", "1-2-3", "٣-1", "$", "+", "9" * 30, "1 -2"])
def test_no_places(text: str) -> None:
    with pytest.raises(ValueError, match="no id of an event"):
        place_of(text)


def test_a_channel_tells_what_it_has_and_that_it_does_not_reach_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RECENT", 3)
    channel, news = Channel("c", origin=(10, 0), cursor=(10, 0)), asyncio.Event()
    channel.watchers.add(news)
    assert channel.behind((9, 0)) is None, "what was there before is not at hand"
    assert channel.behind((10, 0)) == []
    with channel.read():
        channel.add(events(11, 12))
        assert news.is_set()
        assert places(channel.behind((10, 0))) == [(11, 0), (12, 0)]
        assert places(channel.behind((11, 5))) == [(12, 0)]
        channel.add(events(13, 14))
        assert channel.behind((10, 0)) is None
        assert places(channel.behind((11, 0))) == [(12, 0), (13, 0), (14, 0)]
        assert channel.behind((99, 0)) == []
    channel.add(events(15))
    assert (channel.cursor, channel.behind((14, 0))) == ((15, 0), None), "nobody reads it, so nothing is kept"
    with channel.read():
        channel.add(events(16))
        assert places(channel.behind((15, 0))) == [(16, 0)]


def events(*times: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Entries of a stream."""
    return [(b"%d-0" % time, {b"t": b"run", b"s": b"running", b"at": b"1"}) for time in times]


def places(frames: list[tuple[Place, bytes]] | None) -> list[Place]:
    assert frames is not None
    return [place for place, _ in frames]
