"""The pools on a real server: their arithmetic under many threads, and that their Lua decides as the policy does."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator import keys
from orchestrator.bench.pool_model import PoolModel
from orchestrator.connection import connect
from orchestrator.resources import policy
from orchestrator.resources.models import Ask, Numbered, lease_id
from orchestrator.resources.store import EXCHANGE, Pools
from orchestrator.scripts import Script

CAPACITY = {"agents": 3000, "cpu": 120_000, "memory": 100_000, "pool:gpu": 2000}
KINDS = (
    "agents=1000 cpu=30000 memory=15000",
    "agents=1000 cpu=60000 memory=50000",
    "agents=1000 cpu=15000 memory=35000 pool:gpu=1000",
    "pool:gpu=2000",
    "key:deploy=1000/2000",
    "@agent:pm=3/1000",
    "@agent:pm=3/1000 @agent:pm=5/9000 agents=1000 cpu=15000",
)
AGEING = 4000


def ask(step: str, kind: str = KINDS[0], *, run: str = "r", n: int = 1, priority: int = 5, **more: float) -> Ask:
    weight, ms = float(more.get("weight", 1.0)), int(more.get("ms", 1000))
    return Ask(lease_id(run, step), n, kind, priority, run, weight, ms, "noop")


def disagreement(url: str, seed: int, steps: int = 40, script: Script = EXCHANGE) -> str:
    """What the Lua did otherwise than the policy in a random story, or an empty text."""
    chance = random.Random(seed)
    client: Any = connect(url)
    client.flushdb()
    model = PoolModel(CAPACITY, policy.Spec(AGEING, most=chance.choice((3, 200))))
    numbers: dict[str, int] = {}
    for _ in range(steps):
        model.now += chance.choice((0, 1, 300, 1500, AGEING))
        asks, returned = list[Ask](), list[Numbered]()
        for _ in range(chance.randrange(5)):
            run, step = chance.choice("abc"), str(chance.randrange(5))
            name = lease_id(run, step)
            numbers[name] = numbers.get(name, 0) + chance.randrange(2)
            more = {"weight": {"a": 1, "b": 2.5, "c": 0.3}[run], "ms": chance.choice((10, 1000, 60_000))}
            priority = chance.choice((0, 5, 9, 10))
            one = ask(step, chance.choice(KINDS), run=run, n=numbers[name], priority=priority, **more)
            group = chance.choice((None, "g")) if all(name != other.id for other in asks) else None
            asks.append(replace(one, group=group))
        for name in chance.sample(sorted(numbers), min(len(numbers), chance.randrange(3))):
            returned.append((name, numbers[name] - chance.randrange(2)))
        pools = Pools(client, CAPACITY, ageing=AGEING / 1000, most=model.spec.most, now=model.now, script=script)
        found, wanted = pools.exchange(asks, returned).granted, tuple(model.exchange(asks, returned))
        if chance.random() < 0.7 and found == wanted:
            continue
        status = pools.status()
        waiting = [lease_id(one.run_id, one.step) for one in status.waiting]
        held = {lease_id(one.run_id, one.step) for one in status.holders}
        if found != wanted:
            return f"granted {found}, not {wanted}"
        if sorted(waiting) != sorted(part.ask.id for part in model.waiters) or held != set(model.leases):
            return f"{waiting} wait, not {model.waiting}; {held} hold, not {list(model.leases)}"
        used = {name: amount for name, amount in model.used.items() if amount}
        if {pool.name: pool.used * 1000 for pool in status.pools if pool.used} != used:
            return f"used {status.pools}, not {model.used}"
        if int(client.hget(f"{keys.POOLS}:classes", "noop") or 0) != len(waiting):
            return "the backlog of the class is wrong"
    return ""


def test_lua_decides_as_the_policy_does(store_url: str) -> None:
    for seed in range(25):
        assert disagreement(store_url, seed) == "", seed


MUTANTS: Mapping[str, tuple[str, str]] = {
    "a pool may be overdrawn by one": ("> item.most then short", "> item.most + item.amount then short"),
    "an old lease is given back by number only": ("if lease and lease.n <= n then", "if lease then"),
    "an old ask is given up": ("part.id ~= id or part.n > n then", "part.id ~= id then"),
    "nobody grows older": ("math.floor((NOW - ask.at) / A.ageing)) end", "0) end"),
    "no fair shares": ("charge(ask.key, part.cost)", "charge(ask.key, 0)"),
    "weights are ignored": ("math.floor(share / weight)", "share"),
    "what was really taken is not settled": ("charge(lease.key,", "charge(lease.key, 0 *"),
    "turns are saved up": ("local served = math.max(VIRTUAL, ", "local served = ("),
    "who does not fit is passed over for ever": (">= A.ageing then for", ">= 1e15 then for"),
    "tokens come back too slowly": ("until_when(rate) + interval(rate)", "until_when(rate) + 2 * interval(rate)"),
    "a bucket has one token more": ("(rate.amount - 1) * interval", "rate.amount * interval"),
    "a lease is granted twice": ("  if lease then\n    lease.n =", "  if lease and false then\n    lease.n ="),
    "who is left of a group waits no more": ("for _, part in ipairs(left) do", "for _, part in ipairs({}) do"),
    "who comes late to a group starts with it": ("if #fresh == #one.parts and", "if fresh[1] and"),
    "leases are not counted back": ("take(item.name, -item.amount)", "take(item.name, 0)"),
}  # fmt: skip


@pytest.mark.proofs
@pytest.mark.parametrize("name", MUTANTS)
def test_the_comparison_finds(name: str, store_url: str) -> None:
    before, after = MUTANTS[name]
    assert EXCHANGE.source.count(before) == 1
    broken = Script(EXCHANGE.source.replace(before, after))
    assert any(disagreement(store_url, seed, 60, broken) for seed in range(150))


def look(client: Any, highest: dict[str, int]) -> None:
    """Note what is taken of each pool, if it is more than before."""
    for name, amount in client.hgetall(f"{keys.POOLS}:used").items():
        highest[name.decode()] = max(highest.get(name.decode(), 0), int(amount))


def test_a_hundred_threads_never_take_more_than_there_is(store_url: str) -> None:
    """120 cpu units (100, oversubscribed by 1.2), 100 of memory, three at a time; read in one moment by a script."""
    pools = Pools(connect(store_url), CAPACITY)
    highest: dict[str, int] = {}
    watching, guard, asked = threading.Event(), threading.Lock(), threading.Barrier(101)

    def watch() -> None:
        client = connect(store_url)
        while not watching.is_set():
            look(client, highest)

    held: set[str] = set()

    def work(number: int) -> None:
        chance = random.Random(number)
        mine = [ask(str(at), chance.choice(KINDS[:4]), run=f"r{number}", ms=1) for at in range(3)]
        got = pools.exchange(mine).granted
        for _ in range(2):  # all have asked; the test has looked
            asked.wait(60)
        for _ in range(40):
            with guard:
                held.update(name for name, _ in got)
                one = chance.choice(sorted(held)) if held else None
                held.discard(one or "")
            if one is None:
                break
            got = pools.exchange((), [(one, 1)]).granted

    watcher = threading.Thread(target=watch)
    watcher.start()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    asked.wait(60)
    look(connect(store_url), highest)
    asked.wait(60)
    for thread in threads:
        thread.join()
    for _ in range(300):
        if not (left := pools.status().holders):
            break
        pools.exchange((), [(lease_id(one.run_id, one.step), 1) for one in left])
    watching.set()
    watcher.join()
    assert all(0 < highest[name] <= CAPACITY[name] for name in CAPACITY), highest
    assert max(highest["cpu"], highest["memory"]) > 60_000, "nothing ever was beside anything else"
    assert not pools.status().waiting
    client: Any = connect(store_url)
    assert set(client.keys("orc:{pools}:*")) <= {b"orc:{pools}:waits", b"orc:{pools}:virtual"}
