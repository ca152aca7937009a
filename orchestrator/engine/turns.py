"""A turn: the steps that a worker's process does in a row when a message was delivered to it.

The transition that ends an attempt may begin another step for the same process, in the same script, with a claim like
any other. Neither a message nor the worker's main process is in between. A turn is short, so that messages,
acknowledgements and a fair queue keep their meaning; what is known to take long has a message of its own. Only steps
of queues that the worker takes from are begun, and none ahead of a message that is more urgent; others that are as
urgent wait until the turn is over.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from time import monotonic
from typing import Any

from celery import Celery

from orchestrator.engine.runtime import Runtime, runtime_of
from orchestrator.run.replies import Claimed, Moved

_current: ContextVar[Turn | None] = ContextVar("turn", default=None)


class Turn:
    """What the process was given, and what it goes on with. `head` is the step of the message: the worker's main
    process knows its children by that."""

    def __init__(self, app: Celery, run_id: str, head: str) -> None:
        self.run_id = run_id
        self._app = app
        self._runtime: Runtime = runtime_of(app)
        self._head = head
        self._began = monotonic()
        self._open = False
        self._next: Claimed | None = None
        self._given: Claimed | None = None
        self.joined: set[str] = set()
        """The groups whose barriers have been decided in it."""

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
        self._given, self._next = self._next, None
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
        if isinstance(moved, Moved) and moved.begun is not None:
            self._next = moved.begun

    def onward(self) -> Mapping[str, Any] | None:
        """What the ledger needs in order to begin the next step; None when the turn is over."""
        runtime = self._runtime
        engine, notices = runtime.settings.engine, runtime.notices
        if not self._open or self._next is not None or not runtime.ledger.posts:
            return None
        if monotonic() - self._began >= engine.run_on_seconds or notices.stopping or notices.drained:
            return None
        return {
            "head": self._head,
            "queues": list(self._app.amqp.queues.consume_from),
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
