"""10,000 steps while a process of the worker is killed every second: what is lost, and what fails."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator

import psutil

from orchestrator.bench.frame import Setting
from orchestrator.bench.peers import TIMEOUT
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import OURS, definition, our_worker
from orchestrator.client import Client
from orchestrator.run.models import FINAL_STEP_STATES, StepState

STEPS = 10_000
WIDTH = 100
"""Steps of one run: one first, and the others behind it."""
EVERY = 1.0
"""Seconds between two kills."""


def measure(setting: Setting) -> Iterator[Measure]:
    """Percent of the steps that succeeded, how many ended in no way, and how many processes were killed."""
    good, lost, killed = list[float](), list[float](), list[float]()
    retry = {"maximum_attempts": 5, "initial_interval": 0.1}
    first = {"id": "first", "agent": "noop", "retry": retry}
    spec = definition(
        "faults",
        first,
        *({"id": f"s{at}", "agent": "noop", "needs": ["first"], "retry": retry} for at in range(WIDTH - 1)),
    )
    with our_worker(setting) as worker, Client(setting.server.url(OURS)) as client:
        for number in range(setting.rounds):
            over = threading.Event()
            kills: list[int] = []
            striking = threading.Thread(target=_strike, args=(worker, over, kills, setting.seed + number))
            striking.start()
            try:
                handles = [client.submit(spec) for _ in range(max(1, setting.times(STEPS) // WIDTH))]
                ends = [handle.wait(TIMEOUT) for handle in handles]
            finally:
                over.set()
                striking.join()
            states = Counter(step.state for status in ends for step in status.steps.values())
            good.append(100 * states[StepState.SUCCESS] / states.total())
            lost.append(sum(count for state, count in states.items() if state not in FINAL_STEP_STATES))
            killed.append(len(kills))
    yield Measure(name="steps that succeeded under faults", unit="%", better="higher", samples=tuple(good))
    yield Measure(name="steps that were lost", unit="", samples=tuple(lost))
    yield Measure(name="processes that were killed", unit="", samples=tuple(killed))


def _strike(worker: int, over: threading.Event, kills: list[int], seed: int) -> None:
    chance = random.Random(seed)
    while not over.wait(EVERY):
        children = psutil.Process(worker).children()
        if children:
            victim = chance.choice(children)
            victim.kill()
            kills.append(victim.pid)
