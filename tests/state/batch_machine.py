"""Operations on their way through batches to a real server, while handlers fail, answers get lost, and the process that
has them is killed and started again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestrator.batch import BatchLimits, CommandRefused, ItemRetry, Operation, once
from orchestrator.batch.lane import Entry, Lane
from orchestrator.errors import StoreUnavailable

LIMITS = BatchLimits(size=8, timeout=1, queue=1000)
RETRY = ItemRetry(maximum_attempts=1000, initial_interval=1, maximum_interval=4)
LEDGER, BROKEN = "ledger", "broken"


class BatchMachine(RuleBasedStateMachine):
    """`journal` is what the producer remembers over a kill: what it handed in, with the outcome as far as it knows.

    Every operation counts itself in the ledger; those that are refused push to a key that holds no list.
    """

    url = ""
    client: redis.Redis
    runs = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.runs)
        self.ledger = f"{LEDGER}:{self.number}"
        self.client.set(BROKEN, "no list")
        self.handle = once(self.client, f"mark:{self.number}:", keep=600)
        self.journal: dict[int, Any] = {}
        self.now = 0.0
        self.lane = self.start()

    def start(self) -> Lane[Entry[int], Any]:
        return Lane(LIMITS, RETRY)

    def operation(self, item: int) -> Operation:
        if item % 11 == 10:
            return Operation(str(item), ("LPUSH", BROKEN, item))
        return Operation(str(item), ("HINCRBY", self.ledger, item, 1))

    def do(self, items: Sequence[int]) -> Sequence[Any]:
        return self.handle([self.operation(item) for item in items])

    @rule(count=st.integers(1, 12))
    def add(self, count: int) -> None:
        for item in range(len(self.journal), len(self.journal) + count):
            self.journal[item] = None
            self.lane.put(Entry(item, 1, self.now))

    @rule(seconds=st.sampled_from([0.5, 1, 5]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def flush(self) -> None:
        self.lane.draining = True
        self.batch("done")
        self.lane.draining = False

    @rule(how=st.sampled_from(["done", "unsent", "unanswered"]), killed=st.booleans())
    def batch(self, how: str, killed: bool = False) -> None:
        """A batch leaves, or its connection breaks before or after the server has done it. The process may be killed
        before it knows."""
        taken = self.lane.take(self.now)
        items = [entry.item for entry in taken]
        outcomes = self.do(items) if taken and how != "unsent" else ()
        if killed:
            return self.kill()
        if not taken:
            return None
        if how == "done":
            settled = self.lane.settle(taken, outcomes, self.now, 0.0, 0.5)
        else:
            settled = self.lane.settle_error(taken, StoreUnavailable(how), self.now, 0.5)
        for entry, outcome in settled:
            assert self.journal[entry.item] is None, "one item, one outcome"
            self.journal[entry.item] = outcome
        return None

    @rule()
    def kill(self) -> None:
        """The process is gone with all that it held; its successor is handed what has no outcome."""
        self.lane = self.start()
        for item, outcome in self.journal.items():
            if outcome is None:
                self.lane.put(Entry(item, 1, self.now))

    @invariant()
    def nothing_is_forgotten(self) -> None:
        assert self.lane.open == sum(outcome is None for outcome in self.journal.values())

    def teardown(self) -> None:
        while self.lane.open:
            self.now += 5
            self.flush()
        good = {str(item).encode(): b"1" for item in self.journal if item % 11 != 10}
        assert self.client.hgetall(self.ledger) == good, "each took effect once"
        for item, outcome in self.journal.items():
            assert isinstance(outcome, CommandRefused) if item % 11 == 10 else outcome == 1, (item, outcome)
