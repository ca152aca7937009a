"""Ctrl-C and SIGTERM while something happens that must be finished or not begun."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
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


@contextmanager
def noticed() -> Iterator[Callable[[], None]]:
    """Signals in the block take effect at once, as ever. What it yields is called now and then: one that came while
    Python ran a finaliser, as it does in imports, and was ignored there, takes effect then."""
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(received: int, frame: FrameType | None) -> None:
        caught.append(received)
        handler = before[signal.Signals(received)]
        if callable(handler):
            handler(received, frame)

    def look() -> None:
        if caught:
            note(caught[0], None)

    def ignored(what: sys.UnraisableHookArgs) -> None:  # nobody has to read of what takes effect later
        if not isinstance(what.exc_value, KeyboardInterrupt):
            tell(what)

    tell, sys.unraisablehook = sys.unraisablehook, ignored
    for number in before:
        signal.signal(number, note)
    try:
        yield look
    finally:
        sys.unraisablehook = tell
        for number, handler in before.items():
            signal.signal(number, handler)
