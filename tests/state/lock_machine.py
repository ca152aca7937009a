"""Locks under any sequence of actions: the real Lua on a real server, with a clock that the test moves.

The machine keeps its own account of every grant: until when it holds, and in which order it was due. It knows nothing
of how the scripts come to their decisions.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import redis
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from orchestrator import keys
from orchestrator.context.lock_models import Lock, LockRules, Request
from orchestrator.context.locks import Locks
from orchestrator.errors import AgentError, LeaseLost, LockTimeout
from tests.state import locking
from tests.state.locking import LEASE, RUN

STEPS = tuple("abcdefgh")
SECTIONS = ("requirements", "user_stories")
READERS = 5


@dataclass(slots=True)
class Grant:
    """What the machine believes of a grant: it holds until `ends`. `seen` is the value read when it began."""

    lock: Lock
    ends: float
    seen: int


@dataclass(slots=True)
class Wish:
    """A request in the queue: the order in which it came, and until when it is willing to wait."""

    request: Request
    came: int
    ends: float


class LockMachine(RuleBasedStateMachine):
    """Attempts of eight steps ask for, keep, lose and return the locks of two sections."""

    client: ClassVar[redis.Redis]
    requests: Bundle[Request] = Bundle("requests")

    @initialize()
    def start(self) -> None:
        self.client.flushdb()
        self.now = 1_000_000.0
        self.attempts = {step: locking.begin(self.client, step) for step in STEPS}
        self.granted: dict[str, Grant] = {}
        self.waiting: dict[str, Wish] = {}
        self.locks_of: dict[str, Lock] = {}
        self.values = dict.fromkeys(SECTIONS, 0)
        self.last_token = dict.fromkeys(SECTIONS, 0)
        self.order = count()

    @property
    def locks(self) -> Locks:
        return Locks(self.client, RUN, LockRules(readers=READERS, lease=LEASE), now=self.now)

    def alive(self, section: str) -> list[Grant]:
        """Who holds a section, in the order of their tokens."""
        return [one for one in self.granted.values() if one.lock.section == section and one.ends > self.now]

    def queued(self, section: str) -> list[Wish]:
        """Who waits for a section, in the order in which they are due."""
        mine = [wish for wish in self.waiting.values() if wish.request.section == section and wish.ends > self.now]
        return sorted(mine, key=lambda wish: (-wish.request.priority, wish.came))

    # -- what attempts do ---------------------------------------------------------------------------------------------

    @rule(
        target=requests,
        steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=7, unique=True),
        section=st.sampled_from(SECTIONS),
        write=st.sampled_from((True, False, False)),
        priority=st.sampled_from((5, 5, 5, 1, 10)),
        patience=st.sampled_from((0.0, 0.7, 8.0, 30.0)),
    )
    def ask(self, steps: list[str], section: str, write: bool, priority: int, patience: float) -> Any:
        made = []
        for step in steps:
            request = self.locks.request(section, self.attempts[step], write=write, priority=priority, timeout=patience)
            made.append(request)
            self._ask(request)
        return multiple(*made)

    def _ask(self, request: Request) -> None:
        section = request.section
        twice = any(one.lock.holder == request.holder for one in self.alive(section)) or any(
            wish.request.holder == request.holder for wish in self.queued(section)
        )
        try:
            answer = self.locks.ask(request)
        except LockTimeout:
            assert not twice
            assert request.patience == 0
            assert self.alive(section) or self.queued(section), "a free lock was refused"
            self.settled(section)
        except AgentError:
            assert twice
        else:
            assert not twice
            self.waiting[request.id] = Wish(request, next(self.order), self.now + request.patience)
            self.settled(section, answer=answer)

    @rule(request=requests)
    def ask_again(self, request: Request) -> None:
        """The reply got lost and the driver sends the request anew."""
        known, wish = self.granted.get(request.id), self.waiting.get(request.id)
        if known is not None and known.ends > self.now:
            assert self.locks.ask(request) == known.lock
            self.settled(request.section)
        elif wish is not None and wish.ends > self.now:
            self.settled(request.section, answer=self.locks.ask(request))

    @rule(request=requests)
    def leave(self, request: Request) -> None:
        if request.id in self.waiting:
            with suppress(LockTimeout):
                raise AssertionError(f"{self.locks.leave(request)} was granted before, and nobody was told")
            del self.waiting[request.id]
            self.settled(request.section)

    @rule(request=requests)
    def release(self, request: Request) -> None:
        known = self.granted.pop(request.id, None)
        lock = self.locks_of.get(request.id)
        if lock is None:
            return
        holds = known is not None and known.ends > self.now
        assert self._tries(self.locks.release, lock) == holds, "released what was lost, or lost what was held"
        self.settled(request.section)

    @rule(request=requests)
    def extend(self, request: Request) -> None:
        known, lock = self.granted.get(request.id), self.locks_of.get(request.id)
        if lock is None:
            return
        holds = known is not None and known.ends > self.now
        assert self._tries(self.locks.extend, lock) == holds, "renewed what was lost, or lost what was held"
        if known is not None and holds:
            known.ends = self.now + LEASE
        self.settled(request.section)

    @rule(request=requests)
    def write(self, request: Request) -> None:
        """Read-modify-write: the value was read when the lock was granted, perhaps a long stop ago."""
        known, lock = self.granted.get(request.id), self.locks_of.get(request.id)
        if lock is None:
            return
        holds = lock.write and known is not None and known.ends > self.now
        value = known.seen + 1 if known is not None else -1
        assert locking.write(self.client, lock, value, self.now) == holds, (
            "a stale token wrote, or a good one could not"
        )
        if known is not None and holds:
            self.values[lock.section] += 1
            known.seen = value

    @staticmethod
    def _tries(action: Any, lock: Lock) -> bool:
        try:
            action(lock)
        except LeaseLost:
            return False
        return True

    # -- what the engine does -----------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.01, 0.5, 1.5, 3.0, 4.99, 5.0, 9.0)))
    def time_passes(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)

    @rule(steps=st.sets(st.sampled_from(STEPS)))
    def renew(self, steps: set[str]) -> None:
        """A worker's main process renews the leases of its attempts."""
        locking.EXTEND_ALL(self.client, RUN, {"steps": sorted(steps), "lease": LEASE, "now": self.now})
        for one in self.granted.values():
            if one.ends > self.now and one.lock.holder.step in steps:
                one.ends = self.now + LEASE
        self.settled(*SECTIONS)

    @rule(step=st.sampled_from(STEPS))
    def crash(self, step: str) -> None:
        """The ledger ends an attempt and starts the next; what is left of the old one may still act."""
        old = self.attempts[step]
        self.attempts[step] = locking.begin(self.client, step, old.token + 1)
        locking.FREE_STEP(self.client, RUN, {"step": step, "now": self.now})
        self.granted = {key: one for key, one in self.granted.items() if one.lock.holder.step != step}
        for key in [key for key, wish in self.waiting.items() if wish.request.holder.step == step]:
            del self.waiting[key]
        for section in SECTIONS:
            assert self._refused(self.locks.request(section, old, write=True)), "an attempt that is over got a lock"
        self.settled(*SECTIONS)

    def _refused(self, request: Request) -> bool:
        try:
            self.locks.ask(request)
        except LeaseLost:
            return True
        return False

    @rule()
    def sweep(self) -> None:
        self.locks.sweep()
        self.settled(*SECTIONS)

    # -- what has to be true ------------------------------------------------------------------------------------------

    def _grant(self, lock: Lock) -> None:
        """A request became a grant: tokens rise, and nobody was due before it."""
        assert lock.token > self.last_token[lock.section], "tokens rise strictly"
        self.last_token[lock.section] = lock.token
        wish = self.waiting.pop(lock.request)
        mine = (-wish.request.priority, wish.came)
        for other in self.queued(lock.section):
            assert mine < (-other.request.priority, other.came), "first come, first served within a priority"
        seen = locking.read(self.client, lock.section)
        self.granted[lock.request] = Grant(lock, self.now + LEASE, seen)
        self.locks_of[lock.request] = lock

    def settled(self, *sections: str, answer: Lock | float = 0.0) -> None:
        """A script has just looked at these sections: hear who was woken; nobody waits who could hold."""
        mine = [wish.request for wish in self.waiting.values() if wish.request.section in sections]
        own = [answer] if isinstance(answer, Lock) else []
        heard = [*own, *(lock for request in mine for lock in self._heard(request))]
        for lock in sorted(heard, key=lambda lock: lock.token):
            self._grant(lock)
        for section in sections:
            self._nobody_waits_in_vain(section)

    def _nobody_waits_in_vain(self, section: str) -> None:
        held, queue = self.alive(section), self.queued(section)
        stored = self._stored(section)
        assert stored["held"] == [one.lock.request for one in held], "others hold it than were told"
        assert stored["queue"] == [wish.request.id for wish in queue], "others wait than should, or in another order"
        if queue:
            assert held, "somebody waits for a lock that nobody holds"
            if not queue[0].request.write and not any(one.lock.write for one in held):
                assert len(held) >= READERS, "a reader waits where there is room"
            due = self.client.zscore(keys.run_key(RUN, "due"), f"lock:{section}")
            soon = min(queue[0].ends, *(one.ends for one in held))
            assert due is not None, "no sweep will look at a queue"
            assert due <= soon + 0.002, "the sweep looks at a queue too late"

    def _heard(self, request: Request) -> list[Lock]:
        """What its wake key says, so to speak before the waiter comes to read it."""
        words: Any = self.client.lrange(keys.run_key(RUN, f"wake:{request.id}"), 0, -1)
        heard = []
        for word in words:
            kind, token, waited = word.split()
            assert kind == b"ok"
            assert self.waiting[request.id].ends > self.now, "a waiter was granted whose patience was over"
            heard.append(
                Lock(request.section, request.holder, request.write, int(token), int(waited) / 1000, request.id)
            )
        return heard

    def _stored(self, section: str) -> dict[str, list[str]]:
        """The requests that the server has, holders by their tokens, waiters in their order."""
        raw: Any = self.client.hget(keys.run_key(RUN, "locks"), section)
        state = json.loads(raw or b"0")
        state = {"held": [], "queue": []} if isinstance(state, int) else state
        held = sorted(state["held"], key=lambda one: one["token"]) if state["held"] else []
        return {"held": [one["id"] for one in held], "queue": [one["id"] for one in state["queue"]]}

    @invariant()
    def one_writer_or_a_few_readers(self) -> None:
        if not hasattr(self, "granted"):
            return
        for section in SECTIONS:
            writers = [one.lock.write for one in self.alive(section)]
            assert len(writers) <= (1 if any(writers) else READERS), f"{writers} hold '{section}'"

    @invariant()
    def no_write_was_lost(self) -> None:
        if not hasattr(self, "granted"):
            return
        for section in SECTIONS:
            assert locking.read(self.client, section) == self.values[section]
