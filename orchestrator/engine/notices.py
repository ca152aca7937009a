"""What a worker's main process lets its children know, at no cost for whoever looks: bytes that they share."""

from __future__ import annotations

import mmap


class _Notice:
    """One of the bytes, as something that is so or not."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, notices: Notices, _: type[Notices]) -> bool:
        return notices.bytes[self._place] == 1

    def __set__(self, notices: Notices, value: bool) -> None:
        notices.bytes[self._place] = int(value)


class Notices:
    """One per worker. Opened before its children are forked; anywhere else it is known in this process alone.

    `stopping`: the worker has been told to stop. `drained`: it has stepped back, and is to begin nothing. `watched`: it
    tells of its tasks, as it does under `-E` and when Flower asks for it. `hoarding`: what is cached is to live on as
    long as it is used, because the worker has an alarm. `behind`: it was given messages for which it has no process.
    """

    stopping, drained, watched, hoarding, behind = map(_Notice, range(5))

    def __init__(self) -> None:
        self.bytes: bytearray | mmap.mmap = bytearray(5)

    def open(self) -> None:
        """In the main process, once."""
        self.bytes = mmap.mmap(-1, 5)
