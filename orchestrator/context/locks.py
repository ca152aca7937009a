"""Locks of sections of a run's context: leased, fair, one writer or several readers.

Locks are advisory: they order attempts that ask for them. What makes them safe is the fencing token of each grant: a
script that writes for a holder composes `CHECK` and refuses when the grant is over. All times are those of Redis.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from os import urandom
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from orchestrator import keys
from orchestrator.connection import BLOCK_SECONDS, BROKEN, guarded, pop
from orchestrator.context.lock_models import Entry, Holder, Lock, LockRules, LockStatus, Request
from orchestrator.errors import AgentError, InvalidValue, LeaseLost, LockTimeout, OrchestratorError
from orchestrator.scripts import Script, encode, fragment

if TYPE_CHECKING:
    import redis.asyncio


def lua(name: str) -> str:
    """A fragment of this room."""
    return fragment("orchestrator.context", f"lock_{name}")


LOCKS = "\n".join(lua(name) for name in ("base", "waits", "queue", "settle", "free", "admit"))
"""Lua that all other fragments about locks need; it follows the ledger's `base`. For scripts that end attempts and
release steps it has `free_locks(node)`, `admit(node, wants, fresh, under)`, `ADMITTED` and `store_locks()`."""
CHECK = lua("check")
"""Lua `lock_check(section, token)` for the script that commits what was written under a lock."""
EXTEND = lua("extend")
"""Lua `extend_locks(steps, lease)` for the script that renews the leases of attempts."""

_START = fragment("orchestrator.run", "base") + LOCKS
ACQUIRE = Script(lua("take"), _START, lua("acquire"))
LEAVE = Script(_START, lua("leave"))
RELEASE = Script(lua("give"), _START, lua("release"))
RENEW = Script(_START, lua("renew"))
SWEEP = Script(_START, lua("sweep"))

_SECTION = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Locks:
    """The locks of one run.

    An attempt that holds a section's lock, or waits for it, cannot ask for it again: nested locking is refused, as it
    would let two threads of one attempt in, and an upgrade from reading to writing could wait for ever. Of those that
    wait, a higher priority (0 to 10) comes first, and within one priority the one who came first. Waiting costs one
    blocked connection and no commands: whoever releases a lock wakes the next, and only it. `now` replaces Redis'
    clock in tests.
    """

    def __init__(
        self, client: redis.Redis, run_id: str, rules: LockRules | None = None, *, now: float | None = None
    ) -> None:
        self._client = client
        self._run_id = run_id
        self.rules = rules or LockRules()
        self._common: dict[str, Any] = {} if now is None else {"now": now}
        self._clock = "" if now is None else repr(now)
        self._now = "" if now is None else f',"now":{now!r}'
        self._lease = str(_milliseconds(self.rules.lease))

    def acquire(
        self,
        section: str,
        *,
        holder: Holder,
        write: bool = False,
        priority: int = 5,
        timeout: float | None = None,
        covered: bool = False,
    ) -> Lock:
        """Take a section's lock: one round trip when it is free, else wait up to `timeout` seconds. `covered`: the
        holder's group holds that section, and the lock is only for one of its members among the others.

        Raises LockTimeout when it was not free in time, LeaseLost when the attempt is no longer the current one of its
        step, AgentError when the attempt holds or awaits that lock already.
        """
        return self.obtain(
            self.request(section, holder, write=write, priority=priority, timeout=timeout, covered=covered)
        )

    def obtain(self, request: Request) -> Lock:
        """As `acquire`, with a request made before."""
        try:
            return self._await(request)
        except OrchestratorError:
            raise
        except BaseException:  # whatever interrupts the wait, nobody is to wait for us
            self._withdraw(request)
            raise

    async def obtain_async(self, request: Request, client: redis.asyncio.Redis) -> Lock:
        """As `obtain`, without holding up the event loop: while it waits, it waits on a connection of `client`, which
        belongs to that loop. Cancelled, it leaves nothing behind."""
        try:
            answer = self.ask(request)
            deadline = monotonic() + (0.0 if isinstance(answer, Lock) else answer)
            while not isinstance(answer, Lock):
                left = deadline - monotonic()
                if left <= 0:
                    return self.leave(request)
                try:
                    popped: Any = await client.blpop([self._wake_key(request)], max(0.001, min(left, BLOCK_SECONDS)))
                except (RedisConnectionError, RedisTimeoutError):
                    answer = self.ask(request)
                else:
                    answer = answer if popped is None else _answer(request, popped[1].split())
            return answer
        except OrchestratorError:
            raise
        except BaseException:
            self._withdraw(request)
            raise

    def request(
        self,
        section: str,
        holder: Holder,
        *,
        write: bool,
        priority: int = 5,
        timeout: float | None = None,
        covered: bool = False,
    ) -> Request:
        """What `ask` is asked with. Raises InvalidValue for what is no section."""
        _check_section(section)
        patience = 0.0 if not self.rules.queuing else self.rules.timeout if timeout is None else timeout
        return Request(section, holder, write, priority, patience, urandom(8).hex(), covered)

    def ask(self, request: Request) -> Lock | float:
        """Queue for a lock without waiting: the grant, or for how many seconds it may be waited for.

        Asking again with the same request is harmless. Raises as `acquire` does.
        """
        holder = request.holder
        short = (request.section, holder.step, str(holder.token), self._lease, self._clock)
        return _answer(request, ACQUIRE(self._client, self._run_id, self._asking(request), short))

    def leave(self, request: Request) -> Lock:
        """Give up waiting. Raises LockTimeout, unless the lock was granted in the meantime."""
        return cast("Lock", _answer(request, LEAVE(self._client, self._run_id, self._asking(request))))

    def _asking(self, request: Request) -> str:
        """The arguments of `lock_acquire.lua`, written by hand: it is the most of what a free lock costs here."""
        rules, holder = self.rules, request.holder
        most = rules.writers if request.write else rules.readers
        group = f',"group":"{holder.group}"' if holder.group else ""
        under = f',"under":"{holder.group}"' if request.covered else ""
        return (
            f'{{"section":"{request.section}","id":"{request.id}","step":"{holder.step}","attempt":{holder.token},'
            f'"owner":{encode(holder.owner)},"write":{"true" if request.write else "false"},"most":{most},'
            f'"priority":{request.priority},"lease":{self._lease},"wait":{_milliseconds(request.patience)}'
            f"{group}{under}{self._now}}}"
        )

    def _withdraw(self, request: Request) -> None:
        with suppress(OrchestratorError):
            self._give(request.section, request.id)

    def _give(self, section: str, request: str) -> Any:
        arguments = f'{{"section":"{section}","id":"{request}"{self._now}}}'
        return RELEASE(self._client, self._run_id, arguments, (section, request, self._clock))

    def _wake_key(self, request: Request) -> str:
        return keys.run_key(self._run_id, f"wake:{request.id}")

    def _await(self, request: Request) -> Lock:
        answer = self.ask(request)
        while not isinstance(answer, Lock):
            word = pop(self._client, self._wake_key(request), answer)
            if word is None:
                return self.leave(request)
            answer = self.ask(request) if word == BROKEN else _answer(request, word.split())
        return answer

    def extend(self, lock: Lock) -> None:
        """Renew the lease, where no worker renews it with the attempt's own. Raises LeaseLost when it was over."""
        arguments = self._arguments(section=lock.section, id=lock.request, lease=_milliseconds(self.rules.lease))
        _held(lock, RENEW(self._client, self._run_id, arguments))

    def release(self, lock: Lock) -> tuple[str, ...]:
        """Give a lock back, and wake whoever is next; returns the nodes of the ledger whose declared locks are granted
        with that, and which it may admit now. Raises LeaseLost when the lock was no longer ours."""
        reply = self._give(lock.section, lock.request)
        _held(lock, reply)
        return _nodes(reply[1])

    def sweep(self) -> tuple[int, tuple[str, ...]]:
        """Pass on the locks of dead holders; returns how many there were, and the nodes whose declared locks are
        granted with that."""
        dead, admitted = SWEEP(self._client, self._run_id, self._common)
        return int(dead), _nodes(admitted)

    def declared(self, section: str, node: str) -> Lock | None:
        """The lock of a section that a step or group holds because its workflow declares it."""
        held = [one for one in self.holders(section) if one.declared and one.holder.step == node]
        return Lock(section, held[0].holder, held[0].write, held[0].token or 0, held[0].waited, "") if held else None

    def status(self) -> dict[str, LockStatus]:
        """Every section that was ever locked, or waited for. Holders whose lease is over may still be among them."""
        with guarded():
            pipe = self._client.pipeline(transaction=False)
            pipe.hgetall(keys.run_key(self._run_id, "locks"))
            pipe.hgetall(keys.run_key(self._run_id, "waits"))
            locks, waits = pipe.execute()
        states = {name.decode(): _state(text) for name, text in locks.items()}
        found: dict[str, dict[str, int]] = {name: {} for name in states}
        for name, number in waits.items():
            section, what = name.decode().split()
            found.setdefault(section, {})[what] = int(number)
        status = {}
        for section in sorted(found):
            state = states.get(section, _state(None))
            held, queue = _entries(state["held"]), _entries(state["queue"])
            status[section] = LockStatus.of(state["token"], found[section], held, queue)
        return status

    def holders(self, section: str) -> tuple[Entry, ...]:
        """Who holds the lock of a section; a lease that is over may still be among them until somebody asks for it."""
        return _entries(self._stored(section)["held"])

    def queue(self, section: str) -> tuple[Entry, ...]:
        """Who waits for the lock of a section, the next one first."""
        return _entries(self._stored(section)["queue"])

    def _stored(self, section: str) -> dict[str, Any]:
        with guarded():
            return _state(cast("bytes | None", self._client.hget(keys.run_key(self._run_id, "locks"), section)))

    def _arguments(self, **given: Any) -> dict[str, Any]:
        return self._common | given


@lru_cache(1000)
def _check_section(section: str) -> None:
    if not _SECTION.fullmatch(section):
        raise InvalidValue(f"'{section}' is no section; locks are taken on the first name of a context path")


def _nodes(raw: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(node.decode() for node in raw)


def _state(text: bytes | None) -> dict[str, Any]:
    """The lock of a section, as it is stored."""
    stored: dict[str, Any] | int = json.loads(text or b"0")
    return {"token": stored, "held": (), "queue": ()} if isinstance(stored, int) else stored


def _entries(stored: Iterable[dict[str, Any]]) -> tuple[Entry, ...]:
    found = []
    for one in stored:
        holder = Holder(one["step"], one.get("attempt", 0), one.get("owner", ""))
        ends, waited = one["ends"] / 1000 if "ends" in one else None, one.get("waited", 0) / 1000
        found.append(Entry(holder, one["write"], one["priority"], one.get("token"), ends, waited, "all" in one))
    return tuple(found)


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _answer(request: Request, reply: Sequence[bytes]) -> Lock | float:
    kind, *rest = reply
    section, step = request.section, request.holder.step
    if kind == b"ok":
        return Lock(section, request.holder, request.write, int(rest[0]), int(rest[1]) / 1000, request.id)
    if kind == b"wait":
        return int(rest[0]) / 1000
    if kind == b"lost":
        raise LeaseLost(f"attempt {request.holder.token} of step '{step}' is over; it gets no locks any more")
    if kind == b"twice":
        raise AgentError(
            f"step '{step}' has the lock of '{section}' already, or waits for it, to {rest[0].decode()}; "
            "take it once, around everything that needs it"
        )
    holders = ", ".join(f"{one['step']} ({'writes' if one['write'] else 'reads'})" for one in json.loads(rest[0]))
    late = f"was not free within {request.patience:g} s" if request.patience else "is taken"
    raise LockTimeout(f"the lock of '{section}' {late}; held by {holders or 'nobody now'}")


def _held(lock: Lock, reply: Sequence[bytes]) -> None:
    if reply[0] == b"lost":
        raise LeaseLost(
            f"step '{lock.holder.step}' lost the lock of '{lock.section}' (token {lock.token}): its lease was over"
        )
