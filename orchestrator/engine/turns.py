"""A turn: the steps that a worker's process does in a row when a message was delivered to it.

The transition that ends an attempt may begin another step for the same process, in the same script, with a claim like
any other: of its run, and when there is none, of the next message of all runs, as its worker would. When there is none
either, the process waits a little, and may be handed a step in the moment in which that is released. Neither a message
nor the worker's main process is in between. Only steps of queues that the worker takes from are begun, and none ahead
of a message that is more urgent; what is known to take long has a message of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cached_property
from time import monotonic
from typing import Any

from celery import Celery

from orchestrator.engine.canvas import task_id
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.errors import StoreUnavailable
from orchestrator.run.replies import Begun, Claimed, Moved

MOST_SECONDS = 120.0
"""After so long a process goes back to Celery, which counts its tasks and looks at its memory."""
LOOK_SECONDS, ALIVE_SECONDS = 0.2, 0.5
"""How often a process that waits looks whether a message has come by another way, and for how long it is taken to be
alive each time."""

_current: ContextVar[Turn | None] = ContextVar("turn", default=None)


class Turn:
    """What the process was given, and what it goes on with. `head` is the step of the message: the worker's main
    process knows its children by that."""

    def __init__(self, app: Celery, run_id: str, head: str) -> None:
        self.run_id = run_id
        self._app = app
        self._runtime: Runtime = runtime_of(app)
        self._head = task_id(run_id, head)
        self._began = self._entered = monotonic()
        self._open = False
        self._went_on = False
        self._next: Begun | None = None
        self._given: Claimed | None = None
        self.joined: set[str] = set()
        """The groups of the run whose barriers it has decided."""

    def __enter__(self) -> Turn:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)

    @property
    def goes_on(self) -> bool:
        """Whether an attempt has been begun that this process has not taken up yet."""
        return self._next is not None

    def take_up(self) -> Claimed | None:
        """That attempt; the next one to be carried out is this."""
        found, self._next = self._next, None
        if found is None:
            return None
        if found.run_id != self.run_id:
            self.run_id, self.joined, self._entered = found.run_id, set(), monotonic()
        self._given, self._went_on = found.granted, True
        return self._given

    def given(self, step: str) -> Claimed | None:
        """The attempt to carry out; None when the step has to be claimed."""
        granted, self._given = self._given, None
        return granted if granted is not None and granted.definition["id"] == step else None

    def carries_out_a_step(self) -> None:
        """Others may follow."""
        self._open = True

    def over(self) -> None:
        """Nothing follows any more."""
        self._open = False

    def moved(self, moved: object) -> None:
        """A transition has come back; it may have begun the next step."""
        if not isinstance(moved, Moved):
            return
        self.joined.update(node[1:] for node in moved.decided)
        if moved.begun is not None:
            self._begins(moved.begun)

    @cached_property
    def _queues(self) -> list[str]:
        return list(self._app.amqp.queues.consume_from)

    def onward(self) -> Mapping[str, Any] | None:
        """What the ledger needs in order to begin the next step, of the run before others; None when its time is over,
        so that it is to look at all alike."""
        if self._next is not None or not self._may_go_on() or monotonic() - self._entered >= self._seconds:
            return None
        return {**self._process(), "any": True} if self.may_look else self._process()

    @property
    def may_look(self) -> bool:
        """Whether it looks for steps of other runs, and waits for them. This is for processes that have nothing else to
        do; threads, and whoever has a worker to keep alive, leave it to Celery."""
        return self._runtime.in_child and self._may_go_on() and monotonic() - self._began < MOST_SECONDS

    def look(self) -> None:
        """When nothing was begun yet, look for a step of any run to go on with, and wait a little for one."""
        if self._next is not None:
            return
        try:
            found = self._looked() if self.may_look else self._left()
        except StoreUnavailable as error:
            log.info("a process looks for no further step: %s", error)
            return
        if found is not None:
            self._enter(found)

    def _looked(self) -> Begun | None:
        waiters = self._runtime.waiters
        ends = min(monotonic() + self._seconds, self._began + MOST_SECONDS)
        while True:
            left = ends - monotonic()
            found = waiters.look(self._process(), min(left, ALIVE_SECONDS) if left > 0 else None)
            if found is None or isinstance(found, Begun):
                return found
            self._went_on = True
            asked = monotonic()
            handed = self._handed(min(LOOK_SECONDS, left))
            late = monotonic() - asked > self._runtime.settings.engine.lease_seconds
            if handed is not None and not late:
                return handed
            if late or not self._may_go_on():  # a process that stood still may have been given what is lost by now
                return self._left()

    def _handed(self, seconds: float) -> Begun | None:
        notices = self._runtime.notices
        notices.waits(True)
        try:
            return self._runtime.waiters.given(seconds)
        finally:
            notices.waits(False)

    def _left(self) -> Begun | None:
        return self._runtime.waiters.leave(self._process()) if self._went_on else None

    def _enter(self, found: Begun) -> None:
        self._entered = monotonic()
        self._begins(found)

    def _begins(self, found: Begun) -> None:
        self._next = found
        self._runtime.notices.begins()

    @property
    def _seconds(self) -> float:
        return self._runtime.settings.engine.run_on_seconds

    def _may_go_on(self) -> bool:
        runtime, notices = self._runtime, self._runtime.notices
        if not self._open or not self._seconds or not runtime.ledger.posts:
            return False
        return not (notices.stopping or notices.drained or notices.behind or notices.off)

    def _process(self) -> dict[str, Any]:
        runtime = self._runtime
        engine = runtime.settings.engine
        self._queues.append(self._queues.pop(0))  # of queues that are as urgent, each comes first
        return {
            "head": self._head,
            "queues": self._queues,
            "seconds": engine.run_on_seconds,
            "worker": runtime.hostname,
            "owner": runtime.owner,
            "pid": os.getpid(),
            "lease": engine.lease_seconds,
        }


def current(run_id: str) -> Turn | None:
    """The turn in which this is called, if it is one of this run."""
    turn = _current.get()
    return turn if turn is not None and turn.run_id == run_id else None


def onward(run_id: str) -> Mapping[str, Any] | None:
    """What a transition of this run is told about whoever makes it."""
    turn = current(run_id)
    return None if turn is None else turn.onward()


def moved(run_id: str, answer: object) -> None:
    """Such a transition has come back."""
    turn = current(run_id)
    if turn is not None:
        turn.moved(answer)


def joined(run_id: str, group: str) -> None:
    """The barrier of a group has been decided by whoever makes this call."""
    turn = current(run_id)
    if turn is not None:
        turn.joined.add(group)


def has_joined(run_id: str, group: str) -> bool:
    """Whether that was in this turn."""
    turn = current(run_id)
    return turn is not None and group in turn.joined
