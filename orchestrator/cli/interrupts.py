"""Ctrl-C and SIGTERM while something happens that must be finished or not begun."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_back(*, once: bool = False) -> Iterator[None]:
    """Signals that arrive in the block take effect at its end, so that what it makes is known by then, and none gets
    lost in a finaliser, where Python ignores errors. `once`: another one takes effect at once."""
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hold(received: int, frame: FrameType | None) -> None:
        handler = before[signal.Signals(received)]
        if once and caught and callable(handler):
            handler(received, frame)
        caught.append(received)

    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:  # here, and not in whatever Python calls next
        handler = before[signal.Signals(caught[0])]
        if callable(handler):
            handler(caught[0], None)
        else:
            signal.raise_signal(caught[0])
