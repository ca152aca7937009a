"""What a worker's main process lets its children know, at no cost for whoever looks: bytes that they share."""

from __future__ import annotations

import mmap

_STOPPING, _WATCHED, _HOARDING = 0, 1, 2
_SIZE = 3


class Notices:
    """One per worker. Opened before its children are forked; anywhere else it is known in this process alone."""

    def __init__(self) -> None:
        self._bytes: bytearray | mmap.mmap = bytearray(_SIZE)

    def open(self) -> None:
        """In the main process, once."""
        self._bytes = mmap.mmap(-1, _SIZE)

    @property
    def stopping(self) -> bool:
        """Whether the worker has been told to stop."""
        return self._bytes[_STOPPING] == 1

    @stopping.setter
    def stopping(self, value: bool) -> None:
        self._bytes[_STOPPING] = int(value)

    @property
    def watched(self) -> bool:
        """Whether the worker tells of its tasks, as it does under `-E` and when Flower asks for it."""
        return self._bytes[_WATCHED] == 1

    @watched.setter
    def watched(self, value: bool) -> None:
        self._bytes[_WATCHED] = int(value)

    @property
    def hoarding(self) -> bool:
        """Whether what is cached is to live on as long as it is used, because the worker has an alarm."""
        return self._bytes[_HOARDING] == 1

    @hoarding.setter
    def hoarding(self, value: bool) -> None:
        self._bytes[_HOARDING] = int(value)
