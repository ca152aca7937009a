"""Watchers of Flower's pages who come and go, on one reader of a real server."""

from __future__ import annotations

import asyncio

from orchestrator.flower.feed import START, Feed

TURNS = 20
WATCHERS = 30


def test_who_comes_while_the_last_reader_is_given_up_gets_one_of_their_own(store_url: str) -> None:
    """The connection is given up behind the last watcher: whoever comes at any point of that is served."""

    async def watch(feed: Feed, number: int) -> None:
        stream = feed.follow(f"s{number}", START, idle=0.001)
        assert await anext(stream) == b""
        await stream.aclose()

    async def turns() -> list[BaseException]:
        feed, failed = Feed(store_url), []
        for _ in range(TURNS):
            await watch(feed, 0)
            coming = []
            for number in range(WATCHERS):
                coming.append(asyncio.create_task(watch(feed, number)))
                await asyncio.sleep(0)
            answers = await asyncio.gather(*coming, return_exceptions=True)
            failed += [one for one in answers if isinstance(one, BaseException)]
        return failed

    assert asyncio.run(turns()) == []
