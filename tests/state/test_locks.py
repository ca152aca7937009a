"""Locks of the context on a real server: who gets them, who waits, who is told, and what a lost lease costs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from orchestrator import keys
from orchestrator.connection import connect, connect_async
from orchestrator.context import locks as locks_module
from orchestrator.context.lock_models import Holder, Lock, LockRules
from orchestrator.context.locks import Locks
from orchestrator.errors import AgentError, InvalidValue, LeaseLost, LockTimeout
from orchestrator.messages.models import parse_events
from tests.conftest import StartServer
from tests.state.locking import EXTEND_ALL, FREE_STEP, RUN, begin, read, write
from tests.workers import eventually


class Bench:
    """Locks of one run, by a clock that the test sets, or by Redis' with leases that outlive a busy machine."""

    def __init__(self, url: str) -> None:
        self.client = connect(url)
        self.pool = ThreadPoolExecutor(120)

    def locks(self, now: float | None = None, **rules: Any) -> Locks:
        lease = {"lease": 60.0} if now is None else {}
        return Locks(self.client, RUN, LockRules(**lease | rules), now=now)

    def holder(self, step: str, attempt: int = 1) -> Holder:
        return begin(self.client, step, attempt)

    def waiting(self, count: int, section: str = "requirements") -> None:
        """Return when so many wait for the lock."""
        locks = self.locks()
        eventually(lambda: len(locks.queue(section)) == count, within=60, what=f"{count} waiters")

    def blocked(self, step: str, **options: Any) -> Future[Lock]:
        """A thread that waits for the lock of `requirements`; returns once it is in the queue."""
        before = len(self.locks().queue("requirements"))
        future = self.pool.submit(self.locks().acquire, "requirements", holder=self.holder(step), **options)
        self.waiting(before + 1)
        return future


@pytest.fixture
def bench(store_url: str) -> Iterator[Bench]:
    bench = Bench(store_url)
    yield bench
    bench.pool.shutdown()


# -- who may hold at the same time ---------------------------------------------------------------------------------


def test_one_writer_or_five_readers(bench: Bench) -> None:
    locks = bench.locks(queuing=False)
    readers = [locks.acquire("requirements", holder=bench.holder(f"r{number}")) for number in range(5)]
    assert len({lock.token for lock in readers}) == 5
    for wish in (True, False):
        with pytest.raises(LockTimeout, match=r"'requirements' is taken; held by r0 \(reads\), r1"):
            locks.acquire("requirements", holder=bench.holder("late"), write=wish)
    for lock in readers:
        locks.release(lock)
    writer = locks.acquire("requirements", holder=bench.holder("w"), write=True)
    assert writer.token > max(lock.token for lock in readers)
    for wish in (True, False):
        with pytest.raises(LockTimeout, match=r"held by w \(writes\)"):
            locks.acquire("requirements", holder=bench.holder("late"), write=wish)
    assert locks.queue("requirements") == ()


def test_sections_are_independent_and_the_tokens_of_each_rise(bench: Bench) -> None:
    locks = bench.locks(queuing=False)
    one = locks.acquire("requirements", holder=bench.holder("a"), write=True)
    locks.acquire("user_stories", holder=bench.holder("b"), write=True)
    locks.release(one)
    assert locks.acquire("requirements", holder=bench.holder("b"), write=True).token > one.token


def test_limits_are_settings(bench: Bench) -> None:
    locks = bench.locks(queuing=False, readers=1, writers=2)
    first = locks.acquire("requirements", holder=bench.holder("a"), write=True)
    locks.acquire("requirements", holder=bench.holder("b"), write=True)
    with pytest.raises(LockTimeout):
        locks.acquire("requirements", holder=bench.holder("c"), write=True)
    assert write(bench.client, first, 1)
    locks.acquire("other", holder=bench.holder("a"))
    with pytest.raises(LockTimeout):
        locks.acquire("other", holder=bench.holder("b"))


def test_an_attempt_takes_a_section_once(bench: Bench) -> None:
    locks, holder = bench.locks(), bench.holder("a")
    lock = locks.acquire("requirements", holder=holder)
    for wish in (True, False):
        with pytest.raises(AgentError, match="step 'a' has the lock of 'requirements' already"):
            locks.acquire("requirements", holder=holder, write=wish)
    locks.release(lock)
    locks.release(locks.acquire("requirements", holder=holder, write=True))


def test_a_request_whose_reply_was_lost_is_sent_again_and_counts_once(bench: Bench) -> None:
    locks = bench.locks()
    wish = locks.request("requirements", bench.holder("a"), write=True)
    other = locks.request("requirements", bench.holder("b"), write=True)
    lock = locks.ask(wish)
    assert isinstance(lock, Lock)
    assert locks.ask(wish) == lock
    assert isinstance(locks.ask(other), float)
    assert isinstance(locks.ask(other), float)
    assert [entry.holder.step for entry in locks.queue("requirements")] == ["b"]
    locks.release(lock)
    assert isinstance(locks.ask(other), Lock)


@pytest.mark.parametrize("section", ["", "pm.requirements", "#", "a b", "x" * 65, "ü"])
def test_only_sections_have_locks(bench: Bench, section: str) -> None:
    with pytest.raises(InvalidValue, match="is no section"):
        bench.locks().acquire(section, holder=bench.holder("a"))


def test_attempts_that_are_over_get_no_locks_and_leave_no_keys(bench: Bench) -> None:
    locks = bench.locks()
    bench.holder("a", 2)
    for stale in (Holder("a", 1), Holder("never", 1)):
        with pytest.raises(LeaseLost, match=f"attempt 1 of step '{stale.step}' is over"):
            locks.acquire("requirements", holder=stale)
    bench.client.hset(keys.run_key(RUN, "s:a"), "state", "success")
    with pytest.raises(LeaseLost):
        locks.acquire("requirements", holder=Holder("a", 2))
    assert bench.client.keys("*lock*") == []


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_a_free_lock_costs_one_round_trip(tmp_path: Path, start_server: StartServer) -> None:
    client = connect(start_server(tmp_path).url())
    locks, holder = Locks(client, RUN), begin(client, "a")
    locks.release(locks.acquire("requirements", holder=holder))  # sends the scripts' text
    before = _sent(client)
    locks.release(locks.acquire("requirements", holder=holder, write=True))
    assert _sent(client) - before == {"evalsha": 2}


class _Count(dict[str, int]):
    def __sub__(self, other: dict[str, int]) -> dict[str, int]:
        return {name: self[name] - other.get(name, 0) for name in self if self[name] != other.get(name, 0)}


def _sent(client: redis.Redis) -> _Count:
    """How often clients sent each command; those that scripts call, and our own question, are left out."""
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    inside = ("hget", "hset", "hdel", "hmget", "hkeys", "hincrby", "time", "zadd", "expire", "info", "exists",
              "hgetall", "xadd")
    calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}
    return _Count({name: number for name, number in calls.items() if name not in inside})


def test_waiters_are_woken_one_by_one_and_send_nothing_while_they_wait(
    tmp_path: Path, start_server: StartServer
) -> None:
    server, count = start_server(tmp_path), 20
    with server.client() as looker, ThreadPoolExecutor(count) as pool:
        client = connect(server.url())
        locks = Locks(client, RUN, LockRules(lease=60))
        holders = [begin(client, f"s{number}") for number in range(count)]
        locks.release(locks.acquire("requirements", holder=begin(client, "first")))  # sends the scripts' text
        first = locks.acquire("requirements", holder=begin(client, "first"), write=True)
        turns: list[str] = []

        def take_turn(holder: Holder) -> None:
            lock = locks.acquire("requirements", holder=holder, write=True)
            turns.append(holder.step)
            locks.release(lock)

        futures = [pool.submit(take_turn, holder) for holder in holders]
        eventually(lambda: _blocked(looker) == count, within=60, what="all wait")
        queue = [entry.holder.step for entry in locks.queue("requirements")]
        before = _sent(looker)
        assert not threading.Event().wait(0.5)  # time in which waiters could poll
        assert _sent(looker) - before == {}
        locks.release(first)
        for future in futures:
            future.result(60)
        assert turns == queue
        # A release by each holder wakes one waiter; nobody asks or waits again. A BLPOP is counted when it ends.
        assert _sent(looker) - before == {"evalsha": count + 1, "rpush": count, "blpop": count}
        client.close()


def _blocked(client: redis.Redis) -> int:
    """How many wait in this database for a list to be filled."""
    database = str(client.connection_pool.connection_kwargs["db"])
    clients: Any = client.client_list()
    return sum("b" in one["flags"] and one["db"] == database for one in clients)


def test_first_come_first_served_within_a_priority(bench: Bench) -> None:
    locks = bench.locks()
    lock = locks.acquire("requirements", holder=bench.holder("now"), write=True)
    order = [("low", 1), ("first", 5), ("second", 5), ("urgent", 10), ("third", 5), ("low2", 1)]
    futures = {step: bench.blocked(step, write=True, priority=priority) for step, priority in order}
    tokens = []
    for step in ("urgent", "first", "second", "third", "low", "low2"):
        locks.release(lock)
        lock = futures.pop(step).result(60)
        tokens.append(lock.token)
        assert not any(future.done() for future in futures.values())
    assert tokens == sorted(tokens)
    assert lock.waited > 0


def test_a_waiting_writer_is_not_overtaken_by_readers(bench: Bench) -> None:
    locks = bench.locks()
    reader = locks.acquire("requirements", holder=bench.holder("r0"))
    writer = bench.blocked("w", write=True)
    later = [bench.blocked(f"r{number}") for number in range(1, 8)]
    locks.release(reader)
    writing = writer.result(60)
    assert not any(future.done() for future in later)
    locks.release(writing)
    reading = [future.result(60) for future in later[:5]]
    assert not later[5].done()
    bench.waiting(2)
    locks.release(reading[2])
    later[5].result(60)
    bench.waiting(1)
    locks.release(reading[0])
    later[6].result(60)


def test_waiting_ends_with_the_timeout_and_names_the_holder(bench: Bench) -> None:
    locks = bench.locks(lease=60)
    locks.acquire("requirements", holder=bench.holder("architect"), write=True)
    with pytest.raises(LockTimeout, match=r"not free within 0.2 s; held by architect \(writes\)"):
        locks.acquire("requirements", holder=bench.holder("a"), timeout=0.2)
    assert locks.queue("requirements") == ()
    assert bench.client.keys("*wake*") == []


def test_those_behind_a_waiter_that_gave_up_move_on(bench: Bench) -> None:
    locks = bench.locks()
    locks.acquire("requirements", holder=bench.holder("r0"))
    writer = locks.request("requirements", bench.holder("w"), write=True)
    locks.ask(writer)
    reader = bench.blocked("r1")
    with pytest.raises(LockTimeout):
        locks.leave(writer)
    assert reader.result(60).holder.step == "r1"


def test_a_grant_at_the_last_moment_is_taken(bench: Bench) -> None:
    locks = bench.locks()
    lock = locks.acquire("requirements", holder=bench.holder("a"), write=True)
    wish = locks.request("requirements", bench.holder("b"), write=True)
    locks.ask(wish)
    locks.release(lock)
    assert locks.leave(wish).holder.step == "b"
    assert bench.client.keys("*wake*") == []


def test_an_interrupted_waiter_leaves_the_queue(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    locks = bench.locks()
    locks.acquire("requirements", holder=bench.holder("a"), write=True)

    def interrupted(client: redis.Redis, key: str, seconds: float) -> bytes:
        assert [entry.holder.step for entry in locks.queue("requirements")] == ["b"]
        raise KeyboardInterrupt

    monkeypatch.setattr(locks_module, "pop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        locks.acquire("requirements", holder=bench.holder("b"), write=True)
    assert locks.queue("requirements") == ()


def test_a_broken_connection_costs_a_waiter_neither_its_place_nor_its_grant(bench: Bench) -> None:
    locks = bench.locks()
    lock = locks.acquire("requirements", holder=bench.holder("a"), write=True)
    waiter = bench.blocked("b", write=True)
    bench.blocked("c", write=True)
    eventually(lambda: _blocked(bench.client) == 2, within=60, what="both wait")
    with connect_beside(bench) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    eventually(lambda: _blocked(bench.client) == 2, within=60, what="both wait again")
    assert [entry.holder.step for entry in locks.queue("requirements")] == ["b", "c"]
    locks.release(lock)
    assert waiter.result(60).token == lock.token + 1
    FREE_STEP(bench.client, RUN, {"step": "c"})


def connect_beside(bench: Bench) -> redis.Redis:
    """A connection that is not among those of the client under test."""
    return redis.Redis(connection_pool=redis.ConnectionPool(**bench.client.connection_pool.connection_kwargs,
                       connection_class=bench.client.connection_pool.connection_class))  # fmt: skip


def test_waits_are_counted_and_told(bench: Bench) -> None:
    first = bench.locks(100.0).acquire("requirements", holder=bench.holder("a"), write=True)
    for number in range(2):
        bench.locks(100.0).ask(bench.locks().request("requirements", bench.holder(f"s{number}"), write=True))
    bench.locks(100.03).release(first)
    second = bench.locks(100.03).holders("requirements")[0]
    assert second.waited == 0.03
    FREE_STEP(bench.client, RUN, {"step": "s0", "now": 100.73})
    with pytest.raises(LockTimeout):
        bench.locks(101.0, queuing=False).acquire("requirements", holder=bench.holder("b"))
    status = bench.locks().status()["requirements"]
    assert (status.grants, status.waits, status.late) == (3, 2, 1)
    assert (status.total, status.max) == (0.76, 0.73)
    assert (status.p50, status.p99) == (0.05, 0.73), "bounds of a histogram, and never more than the longest wait"
    assert status.buckets == {0: 1, 0.05: 1, 1: 1}
    assert [entry.holder.step for entry in status.holders] == ["s1"]
    told = [(one.state, one.step, one.detail["message"]) for one in parse_events(_events(bench.client))]
    assert told == [("granted", f"s{at}", f"requirements to write after {waited} s")
                    for at, waited in ((0, "0.030"), (1, "0.730"))]  # fmt: skip


def test_giving_up_is_told(bench: Bench) -> None:
    bench.locks(lease=60).acquire("requirements", holder=bench.holder("a"), write=True)
    with pytest.raises(LockTimeout):
        bench.locks().acquire("requirements", holder=bench.holder("b"), timeout=0.05)
    (event,) = parse_events(_events(bench.client))
    assert (event.type, event.state, event.step, event.detail["message"]) == (
        "lock", "timed_out", "b", "requirements to read after 0.050 s"
    )  # fmt: skip
    told = {name: event.detail[name] for name in ("section", "mode", "seconds")}
    assert told == {"section": "requirements", "mode": "read", "seconds": "0.050"}
    assert bench.locks().status()["requirements"].late == 1


def _events(client: redis.Redis) -> Any:
    return client.xrange(keys.run_key(RUN, "events"))


def test_a_cancelled_coroutine_leaves_the_queue(bench: Bench, store_url: str) -> None:
    locks = bench.locks(lease=600, timeout=600)  # whoever is held up for half a minute is not meant here
    held = locks.acquire("requirements", holder=bench.holder("a"), write=True)
    names = "bcd"
    wishes = [locks.request("requirements", bench.holder(name), write=True) for name in names]

    async def scene() -> Lock:
        client = connect_async(store_url)
        try:
            tasks = [asyncio.create_task(locks.obtain_async(wish, client)) for wish in wishes]
            while _blocked(bench.client) < len(names):  # noqa: ASYNC110 - the server is asked
                await asyncio.sleep(0.01)
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            assert [entry.holder.step for entry in locks.queue("requirements")] == ["c", "d"]
            locks.release(held)
            lock = await tasks[1]
            tasks[2].cancel()
            await asyncio.wait(tasks[2:])
            return lock
        finally:
            await client.aclose()

    lock = asyncio.run(scene())
    assert lock.holder.step == "c"
    assert locks.queue("requirements") == ()
    assert bench.client.keys("*wake*") == []


def test_a_coroutine_waits_no_longer_than_its_patience(bench: Bench, store_url: str) -> None:
    locks = bench.locks(lease=60)
    locks.acquire("requirements", holder=bench.holder("a"), write=True)
    wish = locks.request("requirements", bench.holder("b"), write=True, timeout=0.1)

    async def scene() -> None:
        client = connect_async(store_url)
        try:
            await locks.obtain_async(wish, client)
        finally:
            await client.aclose()

    with pytest.raises(LockTimeout):
        asyncio.run(scene())


# -- leases -----------------------------------------------------------------------------------------------------------


def test_a_lease_that_is_over_is_lost_for_good(bench: Bench) -> None:
    lock = bench.locks(100.0).acquire("requirements", holder=bench.holder("a"), write=True)
    bench.locks(104.9).extend(lock)
    assert write(bench.client, lock, 1, now=109.8)
    late = bench.locks(109.91)
    assert not write(bench.client, lock, 2, now=109.91)
    with pytest.raises(LeaseLost, match=r"step 'a' lost the lock of 'requirements' \(token 1\)"):
        late.extend(lock)
    with pytest.raises(LeaseLost):
        late.release(lock)
    assert late.acquire("requirements", holder=bench.holder("b"), write=True).token == 2
    assert read(bench.client, "requirements") == 1


def test_a_new_grant_does_not_revive_the_old_token(bench: Bench) -> None:
    holder = bench.holder("a")
    old = bench.locks(100.0).acquire("requirements", holder=holder, write=True)
    new = bench.locks(106.0).acquire("requirements", holder=holder, write=True)
    assert not write(bench.client, old, 1, now=106.0)
    with pytest.raises(LeaseLost):
        bench.locks(106.0).release(old)
    assert write(bench.client, new, 2, now=106.0)


def test_a_read_lock_allows_no_write(bench: Bench) -> None:
    assert not write(bench.client, bench.locks().acquire("requirements", holder=bench.holder("a")), 1)


def test_leases_live_on_with_their_attempts_and_end_with_them(bench: Bench) -> None:
    steps = {step: bench.holder(step) for step in "abc"}
    start = bench.locks(100.0)
    kept = start.acquire("requirements", holder=steps["a"], write=True)
    other = start.acquire("user_stories", holder=steps["b"], write=True)
    EXTEND_ALL(bench.client, RUN, {"steps": ["a", "c"], "lease": 5, "now": 104.0})
    assert write(bench.client, kept, 1, now=108.9)
    assert not write(bench.client, other, 1, now=105.1)
    EXTEND_ALL(bench.client, RUN, {"steps": ["a", "b"], "lease": 5, "now": 109.1})
    assert not write(bench.client, kept, 2, now=109.2)


def test_the_end_of_an_attempt_frees_what_it_held_and_what_it_waited_for(bench: Bench) -> None:
    locks = bench.locks()
    locks.acquire("requirements", holder=bench.holder("a"), write=True)
    locks.acquire("user_stories", holder=bench.holder("b"), write=True)
    second, third = bench.blocked("b", write=True), bench.blocked("c", write=True)
    FREE_STEP(bench.client, RUN, {"step": "b"})
    with pytest.raises(LeaseLost, match="attempt 1 of step 'b' is over"):
        second.result(60)
    assert locks.holders("user_stories") == ()
    FREE_STEP(bench.client, RUN, {"step": "a"})
    assert third.result(60).holder.step == "c"
    assert [entry.holder.step for entry in locks.holders("requirements")] == ["c"]


def test_the_sweep_passes_on_what_the_dead_held(bench: Bench) -> None:
    locks = bench.locks(lease=0.05)
    locks.acquire("requirements", holder=bench.holder("dead"), write=True)
    waiter = bench.blocked("b", write=True)
    assert _due(bench.client) == [b"lock:requirements"]
    eventually(lambda: locks.sweep()[0], within=60, what="the lease is over")
    assert waiter.result(60).holder.step == "b"
    assert _due(bench.client) == []


def _due(client: redis.Redis) -> list[bytes]:
    return cast("list[bytes]", client.zrange(keys.run_key(RUN, "due"), 0, -1))


def test_locks_nobody_holds_leave_only_the_last_token(bench: Bench) -> None:
    locks = bench.locks()
    lock = locks.acquire("requirements", holder=bench.holder("a"), write=True)
    waiter = bench.blocked("b")
    locks.release(lock)
    locks.release(waiter.result(60))
    assert bench.client.hgetall(keys.run_key(RUN, "locks")) == {b"requirements": b"2"}
    assert bench.client.keys("*wake*") == []


# -- many at once -----------------------------------------------------------------------------------------------------


def at_once(count: int, work: Callable[[int], None]) -> None:
    gate, failures = threading.Barrier(count), list[BaseException]()

    def start(number: int) -> None:
        gate.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_a_hundred_threads_count_exactly(bench: Bench) -> None:
    locks = bench.locks()
    holders = [bench.holder(f"s{number}") for number in range(100)]

    def count(number: int) -> None:
        for _ in range(3):
            lock = locks.acquire("requirements", holder=holders[number], write=True)
            seen = read(bench.client, "requirements")
            assert write(bench.client, lock, seen + 1)
            locks.release(lock)

    at_once(100, count)
    assert read(bench.client, "requirements") == 300


def test_never_more_than_five_readers_and_no_reader_beside_a_writer(bench: Bench) -> None:
    locks, inside, seen, guard = bench.locks(), list[bool](), set[tuple[int, int]](), threading.Lock()
    holders = [bench.holder(f"s{number}") for number in range(40)]

    def visit(number: int) -> None:
        writes = number % 8 == 0
        for _ in range(4):
            lock = locks.acquire("requirements", holder=holders[number], write=writes)
            with guard:
                inside.append(writes)
                seen.add((inside.count(False), inside.count(True)))
            bench.client.ping()
            with guard:
                inside.remove(writes)
            locks.release(lock)

    at_once(40, visit)
    assert seen <= {(0, 1), *((readers, 0) for readers in range(1, 6))}
    assert (0, 1) in seen


# -- a process that is stopped longer than its lease ----------------------------------------------------------------

_HOLDER = """
import sys
from orchestrator.connection import connect
from orchestrator.context.lock_models import Holder, LockRules
from orchestrator.context.locks import Locks
from orchestrator.errors import LeaseLost
from tests.state.locking import write
client = connect(sys.argv[1])
locks = Locks(client, "run", LockRules(lease=float(sys.argv[2])))
lock = locks.acquire("requirements", holder=Holder("a", 1), write=True)
print("holds", flush=True)
sys.stdin.readline()
print("written" if write(client, lock, 1) else "refused")
for action in (locks.extend, locks.release):
    try:
        action(lock)
        print("fine")
    except LeaseLost:
        print("LeaseLost")
"""


@pytest.mark.parametrize("stopped", [True, False])
def test_a_process_stopped_past_its_lease_has_lost_it(bench: Bench, store_url: str, root: Path, stopped: bool) -> None:
    bench.holder("a")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, store_url, "0.5" if stopped else "60"],
        cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        if stopped:
            os.kill(process.pid, signal.SIGSTOP)
            other = eventually(lambda: _try(bench), within=60, what="the lease of the stopped process is over")
            assert other is not None
            assert write(bench.client, other, 2)
            os.kill(process.pid, signal.SIGCONT)
        out, _ = process.communicate("\n", timeout=60)
    assert out.split() == (["refused", "LeaseLost", "LeaseLost"] if stopped else ["written", "fine", "fine"])
    assert read(bench.client, "requirements") == (2 if stopped else 1)


def _try(bench: Bench) -> Lock | None:
    try:
        return bench.locks(queuing=False).acquire("requirements", holder=bench.holder("b"), write=True)
    except LockTimeout:
        return None
