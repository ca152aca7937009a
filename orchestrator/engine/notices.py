"""What a worker's main process and its children let each other know, at no cost for whoever looks: memory that they
share."""

from __future__ import annotations

import mmap

CHILDREN = 1024
"""So many have a place of their own in it; further ones share the last."""
_FLAGS, _CELL = 8, 8


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
    `off`: somebody has told it to take nothing from a queue from which it took when it started.
    """

    stopping, drained, watched, hoarding, behind, off = map(_Notice, range(6))

    def __init__(self) -> None:
        self._share(bytearray(_FLAGS + 2 * CHILDREN * _CELL))

    def open(self) -> None:
        """In the main process, once."""
        self._share(mmap.mmap(-1, len(self.bytes)))

    def _share(self, memory: bytearray | mmap.mmap) -> None:
        self.bytes = memory
        self._cells = memoryview(memory)[_FLAGS:].cast("Q")

    def begins(self) -> None:
        """This child begins a step of which the worker has no message."""
        self._cells[_place()] += 1

    def waits(self, so: bool) -> None:
        """Whether this child has nothing to do, although the worker takes it for busy."""
        self._cells[CHILDREN + _place()] = int(so)

    @property
    def begun(self) -> int:
        """How many steps the children have begun so."""
        return sum(self._cells[:CHILDREN])

    @property
    def waiting(self) -> int:
        """How many children wait so."""
        return sum(self._cells[CHILDREN:])


def _place() -> int:
    """A child that takes another one's place in the pool has its index."""
    from billiard.process import current_process  # only workers have children

    return min(int(getattr(current_process(), "index", 0)), CHILDREN - 1)
