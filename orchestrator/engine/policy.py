"""Whether a worker has to be replaced, as a value: no clock, no Redis."""

from __future__ import annotations

from msgspec import Struct

LOOKS = 6
"""So many looks in a row at a worker that does nothing, and it counts as broken. Looks are counted and not seconds,
because a process that was frozen has looked at nothing meanwhile."""


class Pulse(Struct, frozen=True):
    """What one look at a worker has found. `turns` of its main loop and messages `taken` only grow; it holds `held`
    messages, and works on `slots` at a time. `waiting` in its queues: None when the broker does not answer."""

    turns: int
    taken: int
    held: int
    slots: int
    waiting: int | None
    stopping: bool = False


class Watch(Struct, frozen=True):
    """What is remembered from look to look; `broken` tells why the worker has to be replaced."""

    turns: int = -1
    taken: int = -1
    silent: int = 0
    broken: str = ""


def watch(before: Watch, pulse: Pulse) -> Watch:
    """The next watch: a look is bad when the broker answers and the worker's main loop stands still, or messages wait
    that the worker has room for and does not take."""
    why = _complaint(before, pulse)
    silent = before.silent + 1 if why else 0
    return Watch(pulse.turns, pulse.taken, silent, why if silent >= LOOKS else "")


def _complaint(before: Watch, pulse: Pulse) -> str:
    if pulse.stopping or pulse.waiting is None or pulse.taken != before.taken:
        return ""
    if pulse.turns == before.turns:
        return "its main loop stands still"
    if pulse.waiting and pulse.held < pulse.slots:
        return f"{pulse.waiting} messages wait in its queues and it takes none"
    return ""
