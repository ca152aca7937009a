"""Locks of sections of a run's context: leased, fair, one writer or several readers.

Locks are advisory: they order attempts that ask for them. What makes them safe is the fencing token of each grant: a
script that writes for a holder composes `CHECK` and refuses when the grant is over. All times are those of Redis.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from orchestrator import keys
from orchestrator.connection import SOCKET_TIMEOUT, guarded
from orchestrator.context.lock_models import Entry, Holder, Lock, LockRules, Request
from orchestrator.errors import AgentError, InvalidValue, LeaseLost, LockTimeout, OrchestratorError
from orchestrator.scripts import Script, fragment


def lua(name: str) -> str:
    """A fragment of this room."""
    return fragment("orchestrator.context", f"lock_{name}")


LOCKS = lua("base")
"""Lua that all other fragments about locks need; it follows the ledger's `base`."""
CHECK = lua("check")
"""Lua `lock_check(section, token)` for the script that commits what was written under a lock."""
EXTEND = lua("extend")
"""Lua `extend_locks(steps, lease)` for the script that renews the leases of attempts."""
FREE = lua("free")
"""Lua `free_locks(step)` for the scripts that end an attempt."""

_START = fragment("orchestrator.run", "base") + LOCKS
ACQUIRE = Script(_START, lua("acquire"))
LEAVE = Script(_START, lua("leave"))
RELEASE = Script(_START, lua("release"))
RENEW = Script(_START, lua("renew"))
SWEEP = Script(_START, lua("sweep"))

_SECTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BROKEN = b"broken"


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

    def acquire(
        self, section: str, *, holder: Holder, write: bool = False, priority: int = 5, timeout: float | None = None
    ) -> Lock:
        """Take a section's lock: one round trip when it is free, else wait up to `timeout` seconds.

        Raises LockTimeout when it was not free in time, LeaseLost when the attempt is no longer the current one of its
        step, AgentError when the attempt holds or awaits that lock already.
        """
        request = self.request(section, holder, write=write, priority=priority, timeout=timeout)
        try:
            return self._await(request)
        except OrchestratorError:
            raise
        except BaseException:  # whatever interrupts the wait, nobody is to wait for us
            with suppress(OrchestratorError):
                RELEASE(self._client, self._run_id, self._arguments(section=section, id=request.id))
            raise

    def request(
        self, section: str, holder: Holder, *, write: bool, priority: int = 5, timeout: float | None = None
    ) -> Request:
        """What `ask` is asked with. Raises InvalidValue for what is no section."""
        if not _SECTION.fullmatch(section):
            raise InvalidValue(f"'{section}' is no section; locks are taken on the first name of a context path")
        patience = 0.0 if not self.rules.queuing else self.rules.timeout if timeout is None else timeout
        return Request(section, holder, write, priority, patience, secrets.token_hex(8))

    def ask(self, request: Request) -> Lock | float:
        """Queue for a lock without waiting: the grant, or for how many seconds it may be waited for.

        Asking again with the same request is harmless. Raises as `acquire` does.
        """
        rules = self.rules
        arguments = self._arguments(
            section=request.section,
            id=request.id,
            step=request.holder.step,
            attempt=request.holder.token,
            owner=request.holder.owner,
            write=request.write,
            most=rules.writers if request.write else rules.readers,
            priority=request.priority,
            lease=_milliseconds(rules.lease),
            wait=_milliseconds(request.patience),
        )
        return _answer(request, ACQUIRE(self._client, self._run_id, arguments))

    def leave(self, request: Request) -> Lock:
        """Give up waiting. Raises LockTimeout, unless the lock was granted in the meantime."""
        arguments = self._arguments(section=request.section, id=request.id)
        return cast("Lock", _answer(request, LEAVE(self._client, self._run_id, arguments)))

    def _await(self, request: Request) -> Lock:
        answer = self.ask(request)
        while not isinstance(answer, Lock):
            word = self._pop(keys.run_key(self._run_id, f"wake:{request.id}"), answer)
            if word is None:
                return self.leave(request)
            answer = self.ask(request) if word == _BROKEN else _answer(request, word.split())
        return answer

    def _pop(self, key: str, seconds: float) -> bytes | None:
        """BLPOP on a connection of the client's own pool, whose time limit would be too short for it."""
        pool = self._client.connection_pool
        with guarded():
            connection: Any = pool.get_connection()
        try:
            connection.send_command("BLPOP", key, max(0.001, seconds))
            reply = connection.read_response(timeout=seconds + SOCKET_TIMEOUT)
        except (RedisConnectionError, RedisTimeoutError):
            return _BROKEN
        except BaseException:
            connection.disconnect()  # or its next user would get our reply
            raise
        finally:
            pool.release(connection)
        return None if reply is None else cast("bytes", reply[1])

    def extend(self, lock: Lock) -> None:
        """Renew the lease, where no worker renews it with the attempt's own. Raises LeaseLost when it was over."""
        lease = _milliseconds(self.rules.lease)
        arguments = self._arguments(section=lock.section, id=lock.request, lease=lease)
        _held(lock, RENEW(self._client, self._run_id, arguments))

    def release(self, lock: Lock) -> None:
        """Give a lock back, and wake whoever is next. Raises LeaseLost when it was no longer ours."""
        arguments = self._arguments(section=lock.section, id=lock.request)
        _held(lock, RELEASE(self._client, self._run_id, arguments))

    def sweep(self) -> int:
        """Pass on the locks of dead holders; returns how many there were."""
        return int(SWEEP(self._client, self._run_id, self._common))

    def holders(self, section: str) -> tuple[Entry, ...]:
        """Who holds the lock of a section; a lease that is over may still be among them until somebody asks for it."""
        return tuple(self._entries(section, "held"))

    def queue(self, section: str) -> tuple[Entry, ...]:
        """Who waits for the lock of a section, the next one first."""
        return tuple(self._entries(section, "queue"))

    def _entries(self, section: str, part: str) -> Iterable[Entry]:
        with guarded():
            text = cast("bytes | None", self._client.hget(keys.run_key(self._run_id, "locks"), section))
        for one in json.loads(text)[part] if text else ():
            holder = Holder(one["step"], one["attempt"], one["owner"])
            yield Entry(holder, one["write"], one["priority"], one.get("token"), one["ends"] / 1000)

    def _arguments(self, **given: Any) -> dict[str, Any]:
        return self._common | given


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
