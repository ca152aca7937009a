"""What is asked of locks and what they answer. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LockRules:
    """How many may hold one section's lock at a time, how long they are waited for, and how long a grant lives without
    a renewal; times in seconds. Without `queuing` nobody waits: what is taken is refused at once."""

    readers: int = 5
    writers: int = 1
    timeout: float = 30.0
    queuing: bool = True
    lease: float = 5.0


@dataclass(frozen=True, slots=True)
class Holder:
    """An attempt: its step, its own token in the ledger, and the worker process' incarnation that runs it."""

    step: str
    token: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """A grant. `token` rises with every grant of the run; `waited` is in seconds."""

    section: str
    holder: Holder
    write: bool
    token: int
    waited: float
    request: str


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt's wish for a lock; `patience` is in seconds, `id` tells it from all others."""

    section: str
    holder: Holder
    write: bool
    priority: int
    patience: float
    id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody who holds a section's lock (then with a token), or queues for it. `ends` is when the lease, or the
    patience, is over, in seconds since the epoch."""

    holder: Holder
    write: bool
    priority: int
    token: int | None
    ends: float
