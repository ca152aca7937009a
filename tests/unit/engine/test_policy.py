"""When a worker counts as broken."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orchestrator.engine.policy import LOOKS, Pulse, Watch, watch

IDLE = Pulse(turns=5, taken=9, held=0, slots=4, waiting=3)


def after(*pulses: Pulse) -> Watch:
    state = Watch()
    for pulse in pulses:
        state = watch(state, pulse)
    return state


def looks(first: Pulse, number: int = LOOKS, *, turning: bool = True) -> list[Pulse]:
    """The same pulse again and again, after one that shows that it worked before."""
    return [replace(first, turns=first.turns + look * turning) for look in range(number + 1)]


def test_messages_wait_and_a_free_worker_takes_none() -> None:
    assert after(*looks(IDLE, LOOKS - 1)).broken == ""
    assert after(*looks(IDLE)).broken == "3 messages wait in its queues and it takes none"


def test_a_main_loop_that_stands_still_is_broken_whatever_waits() -> None:
    stalled = replace(IDLE, waiting=0, held=4)
    assert after(*looks(stalled, LOOKS - 1, turning=False)).broken == ""
    assert after(*looks(stalled, turning=False)).broken == "its main loop stands still"


@pytest.mark.parametrize(
    "pulse",
    [
        replace(IDLE, waiting=0),
        replace(IDLE, held=4),
        replace(IDLE, waiting=None),
        replace(IDLE, stopping=True),
    ],
    ids=["nothing waits", "no slot is free", "the broker does not answer", "it stops"],
)
def test_a_worker_has_reasons_to_take_nothing(pulse: Pulse) -> None:
    assert after(*looks(pulse, 5 * LOOKS)).broken == ""


def test_one_message_taken_or_one_look_without_the_broker_begins_the_count_anew() -> None:
    bad = looks(IDLE, LOOKS - 1)
    took = [replace(pulse, taken=10) for pulse in bad]
    assert after(*bad, *took).broken == ""
    unreachable = replace(IDLE, turns=99, waiting=None)
    assert after(*bad, unreachable, *looks(replace(IDLE, turns=100), LOOKS - 2)).broken == ""
