"""Attempts that read, lock, write, crash and come back, in any order: the real Lua on a real server, with a clock that
the test moves. Each success counts one shared number up; whatever happens, the number is how many succeeded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from orchestrator.context.lock_models import Holder, Lock
from orchestrator.context.locks import Locks
from orchestrator.context.store import Reading
from orchestrator.errors import LeaseLost, LockTimeout
from orchestrator.run.replies import Claimed, Clash, Moved, Refused, Unlocked
from orchestrator.workflow.models import RetryPolicy
from tests.state.bench import OWNER, Bench, own, shared, spec, step

STEPS = tuple("abcdefghijkl")
COUNT, SECTION = "board.count", "board"
LEASE = 5.0


@dataclass(slots=True, eq=False)
class Attempt:
    """What one attempt knows; it may have been replaced long ago."""

    step: str
    token: int
    version: int
    seen: int | None = None
    read_at: int = 0
    lock: Lock | None = None
    locked_until: float = 0.0
    wrote_under: dict[str, int] = field(default_factory=dict)


class ContextMachine(RuleBasedStateMachine):
    """Twelve steps side by side that write to the same field."""

    bench: ClassVar[Bench]
    attempts: Bundle[Attempt] = Bundle("attempts")

    @initialize()
    def start(self) -> None:
        self.bench.client.flushdb()
        self.bench.now = 1_000_000.0
        retry = RetryPolicy(maximum_attempts=100)
        self.bench.create(spec(*(step(name, retry=retry) for name in STEPS)))
        self.current: dict[str, Attempt] = {}
        self.done: set[str] = set()
        self.counts = {0: 0}

    @property
    def count(self) -> int:
        return self.counts[max(self.counts)]

    @property
    def locks(self) -> Locks:
        return Locks(self.bench.client, "run", now=self.bench.now)

    def is_current(self, attempt: Attempt) -> bool:
        return self.current.get(attempt.step) is attempt

    # -- what attempts do ---------------------------------------------------------------------------------------------

    @rule(target=attempts, name=st.sampled_from(STEPS))
    def claim(self, name: str) -> Any:
        granted = self.bench.claim(name)
        if name in self.done or name in self.current:
            assert isinstance(granted, Refused), "a step that runs or has ended was granted"
            return multiple()
        assert isinstance(granted, Claimed)
        assert granted.version == max(self.counts), "an attempt begins with what is committed"
        self.current[name] = Attempt(name, granted.token, granted.version)
        return self.current[name]

    @rule(attempt=attempts)
    def read(self, attempt: Attempt) -> None:
        """However late, an attempt reads what there was when it was granted, or what it saw under its lock."""
        if attempt.seen is not None or not self.is_current(attempt):
            return
        self._saw(attempt, self.bench.context.read("run", version=attempt.version, names=[COUNT]))
        assert attempt.seen == self.counts[attempt.version], "not the snapshot of the claim"

    def _saw(self, attempt: Attempt, reading: Reading) -> None:
        value = reading.fields.get(COUNT)
        attempt.seen, attempt.read_at = (0, 0) if value is None else (json.loads(value.text), value.version)

    @rule(attempt=attempts)
    def lock(self, attempt: Attempt) -> None:
        """Take the lock and read what is there now."""
        if attempt.lock is not None:
            return
        try:
            lock = self.locks.acquire(SECTION, holder=Holder(attempt.step, attempt.token), write=True, timeout=0)
        except LeaseLost:
            assert not self.is_current(attempt), "a current attempt got no lock"
        except LockTimeout:
            assert any(other.locked_until > self.bench.now for other in self.current.values()), (
                "a free lock was refused"
            )
        else:
            assert self.is_current(attempt), "an attempt that is over got a lock"
            assert not any(other.locked_until > self.bench.now for other in self.current.values()), (
                "a lock was granted that another holds"
            )
            attempt.lock, attempt.locked_until = lock, self.bench.now + LEASE
            attempt.wrote_under = {SECTION: lock.token}
            self._saw(attempt, self.bench.context.read("run", names=[COUNT]))

    @rule(attempt=attempts)
    def commit(self, attempt: Attempt) -> None:
        """Count one up from what was seen; after a clash with others, from what they left."""
        if attempt.seen is None:
            return
        fields = [*own(attempt.step, {"ok": True}), shared(COUNT, attempt.seen + 1, attempt.read_at).payload()]
        answer = self.bench.ledger.finish(
            "run", attempt.step, "success", token=attempt.token, snapshot=attempt.version, fields=fields,
            locks=attempt.wrote_under,
        )  # fmt: skip
        if not self.is_current(attempt):
            assert isinstance(answer, Refused), "an attempt that is over has written"
        elif attempt.wrote_under and attempt.locked_until <= self.bench.now:
            assert answer == Unlocked(SECTION), "written under a lock that was lost"
            attempt.wrote_under = {}
        elif isinstance(answer, Clash):
            assert attempt.seen != self.count, "a clash with nobody"
            standing = answer.fields[0]
            attempt.read_at, attempt.seen = standing.version, self.counts[standing.version]
        else:
            assert isinstance(answer, Moved), "a good commit was refused"
            assert attempt.seen == self.count, "an update was lost"
            del self.current[attempt.step]
            attempt.locked_until = 0.0
            self.done.add(attempt.step)
            self.counts[max(self.counts) + 1] = self.count + 1

    # -- what happens to them -----------------------------------------------------------------------------------------

    @rule(attempt=attempts)
    def crash(self, attempt: Attempt) -> None:
        """Its lease is over for the ledger, which makes the step ready for the next attempt; this one may come back."""
        moved = self.bench.ledger.finish("run", attempt.step, "retrying", token=attempt.token, executed=False)
        assert isinstance(moved, Moved) == self.is_current(attempt), "an attempt that is over has ended its step"
        if isinstance(moved, Moved):
            del self.current[attempt.step]
            attempt.locked_until = 0.0
            assert isinstance(self.bench.ledger.requeue("run", attempt.step, found="retrying"), Moved)

    @rule(seconds=st.sampled_from((0.5, 1.5, 4.99, 5.0)))
    def time_passes(self, seconds: float) -> None:
        self.bench.now = round(self.bench.now + seconds, 3)

    @rule(names=st.sets(st.sampled_from(STEPS)))
    def renew(self, names: set[str]) -> None:
        self.bench.ledger.renew("run", sorted(names), owner=OWNER, lease=LEASE)
        for name, attempt in self.current.items():
            if name in names and attempt.locked_until > self.bench.now:
                attempt.locked_until = self.bench.now + LEASE

    @invariant()
    def the_number_is_how_many_succeeded(self) -> None:
        if hasattr(self, "done"):
            found = self.bench.context.read("run", names=[COUNT]).fields.get(COUNT)
            assert (0 if found is None else json.loads(found.text)) == len(self.done), "an update was lost"
