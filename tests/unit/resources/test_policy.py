"""Priority based fair sharing as a value: who is next, in small cases and in long simulations."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from msgspec.structs import replace

from orchestrator.bench.pool_model import PoolModel
from orchestrator.resources import models, policy
from orchestrator.resources.models import Ask, lease_id
from orchestrator.resources.policy import Fate, Snapshot, Spec, Standing, Waiting

CAPACITY = {"agents": 3000, "cpu": 120_000, "memory": 100_000}
SPEC = Spec(ageing=30_000)
SMALL, LARGE = "agents=1000 cpu=15000", "agents=1000 cpu=120000"


def waiting(name: str, *, kind: str = SMALL, priority: int = 5, tag: int = 0, at: int = 0) -> Waiting:
    return Waiting(name, kind, priority, tag, at)


def granted(*ones: Waiting, now: int = 0, used: dict[str, int] | None = None) -> tuple[str, ...]:
    return policy.decide(SPEC, Snapshot(now, CAPACITY, used or {}, ones)).granted


def test_priority_then_deficit_then_the_name() -> None:
    assert granted(waiting("b", tag=1), waiting("c", priority=6, tag=9), waiting("a", tag=1)) == ("c", "a", "b")


def test_each_ageing_is_worth_one_level() -> None:
    old, young = waiting("old", priority=4), waiting("young", priority=5, at=29_999, tag=-1)
    assert granted(old, young, now=29_999) == ("young", "old")
    assert granted(waiting("old", priority=4, tag=-2), young, now=30_000)[0] == "old"


def test_what_fits_passes_what_does_not_until_that_has_waited_too_long() -> None:
    large, small = waiting("large", kind=LARGE, priority=10), waiting("small", at=29_000)
    used = {"cpu": 15_000, "agents": 1000}
    assert granted(large, small, now=29_999, used=used) == ("small",)
    assert granted(large, small, now=30_000, used=used) == ()


@pytest.mark.parametrize(
    ("run", "state", "asking", "leased", "fate"),
    [
        ("running", "queued", None, 2, Fate.KEEP),
        ("running", "running", None, 2, Fate.KEEP),
        ("running", "ready", 2, None, Fate.GRANT),
        ("running", "ready", 3, None, Fate.GIVE_BACK),
        ("running", "running", None, 3, Fate.GIVE_BACK),
        ("running", "success", None, None, Fate.GIVE_BACK),
        (None, None, None, None, Fate.GIVE_BACK),
    ],
)
def test_a_lease_follows_its_step(
    run: str | None, state: str | None, asking: int | None, leased: int | None, fate: Fate
) -> None:
    assert policy.judge(2, Standing(run, state, asking, leased)) is fate


@pytest.mark.parametrize(
    ("kinds", "rows"),
    [
        (("agents=1000 cpu=30000", "agents=1000 cpu=60000"), {"r/0&": "agents=2000 cpu=90000"}),
        (("agents=1000", "pool:gpu=1000"), {"r/0": "agents=1000", "r/1": "pool:gpu=1000"}),
        (("cpu=60000", "cpu=60001"), {"r/0": "cpu=60000", "r/1": "cpu=60001"}),
        (("key:one=1000/2000",) * 2, {"r/0&": "key:one=2000/2000"}),
        (("key:one=1000/2000", "key:one=1000/1000"), {"r/0": "key:one=1000/2000", "r/1": "key:one=1000/1000"}),
        (("cpu=1000", "@agent:pm=3/1000"), {"r/0": "cpu=1000", "r/1": "@agent:pm=3/1000"}),
    ],
)
def test_a_group_asks_as_one_for_what_it_can_ever_have_at_once(kinds: tuple[str, ...], rows: dict[str, str]) -> None:
    asks = [Ask(lease_id("r", str(at)), 1, kind, 5, "r", 1.0, 1, "pm", group="@g") for at, kind in enumerate(kinds)]
    found = models.rows(asks, CAPACITY)
    assert {row["id"]: row["kind"] for row in found} == rows
    assert [part["id"] for row in found for part in row["parts"]] == ["r/0", "r/1"]
    alone = [replace(asks[0], group=None), asks[1]]
    impatient = [replace(asks[0], conflict="skip"), asks[1]]
    assert len(models.rows(alone, CAPACITY)) == len(models.rows(impatient, CAPACITY)) == 2


def test_a_bucket_gives_its_tokens_at_once_and_then_one_by_one() -> None:
    model = PoolModel({}, SPEC)
    begun, times = model.now, []
    asks = [Ask(lease_id("r", str(number)), 1, "@agent:pm=3/1000", 5, "r", 1.0, 1, "pm") for number in range(9)]
    for _ in range(20):
        times += [model.now - begun for _ in model.exchange(asks if model.now == begun else [])]
        model.now += 167
    assert times == [0, 0, 0, 334, 668, 1002, 1336, 1670, 2004]


class Shop:
    """A simulation of the policy: runs ask for steps, each holds its lease as long as it takes; time is in ms."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.model = PoolModel(CAPACITY, SPEC)
        self.ends: list[tuple[int, str]] = []
        self.waited: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.served: Counter[str] = Counter()

    def ask(self, run: str, kind: str, priority: int, ms: int, weight: float = 1.0) -> None:
        name = lease_id(run, str(len(self.asked)))
        self.asked[name] = self.model.now
        self.step([Ask(name, 1, kind, priority, run, weight, ms, "noop")])

    def pair(self, run: str, kind: str, priority: int, ms: int) -> list[str]:
        """Two members of a group."""
        names = [lease_id(run, str(len(self.asked) + at)) for at in range(2)]
        self.asked |= dict.fromkeys(names, self.model.now)
        self.step([Ask(name, 1, kind, priority, run, 1.0, ms, "noop", group="@g") for name in names])
        return names

    def step(self, asks: list[Ask] | None = None, returned: list[tuple[str, int]] | None = None) -> None:
        for name, _ in self.model.exchange(asks or [], returned or []):
            lease = self.model.leases[name]
            self.waited[name] = self.model.now - self.asked[name]
            self.served[lease.ask.key] += lease.ask.ms
            self.ends.append((self.model.now + lease.ask.ms, name))
            self.ends.sort()

    def until(self, now: int) -> None:
        while self.ends and self.ends[0][0] <= now:
            at, name = self.ends.pop(0)
            self.model.now = max(self.model.now, at)
            self.step(returned=[(name, 1)])
        self.model.now = now
        self.step()


def test_nothing_starves_under_two_hours_of_urgent_work() -> None:
    """A large step and a group of the lowest priority among endless small urgent ones, that alone want more than there
    is: they are on the highest level after 300 s, and what they need is kept for them."""
    shop = Shop(1)
    for _ in range(3):
        shop.ask("rich", SMALL, 10, 30_000)
    shop.ask("poor", SMALL, 5, 1000)
    shop.ask("large", LARGE, 0, 1000)
    members = shop.pair("pair", SMALL, 0, 1000)
    for round_ in range(240):
        for run in ("rich", "rich", "richer", "richer"):
            shop.ask(run, SMALL, 10, 30_000)
        shop.until((round_ + 1) * 30_000 + 1_000_000)
    waited = [shop.waited.get(name) for name in (lease_id("poor", "3"), lease_id("large", "4"), *members)]
    assert all(one is not None for one in waited), waited
    assert max(one or 0 for one in waited) < 400_000
    assert waited[2] == waited[3], "one of the group has begun before the other"
    assert len(shop.model.waiting) > 200, "there was no shortage"


def test_runs_share_by_weight_whatever_their_number_and_length_of_steps() -> None:
    """Three runs that always want more than they get: one has weight 2, one has ten times longer steps."""
    shop = Shop(2)
    for second in range(400):
        for run, ms, weight in (("plain", 500, 1.0), ("heavy", 500, 2.0), ("long", 5000, 1.0)):
            while sum(part.ask.key == run for part in shop.model.waiters) < 4:
                shop.ask(run, SMALL, 5, ms, weight)
        shop.until((second + 1) * 1000 + 1_000_000)
    assert shop.served["heavy"] / shop.served["plain"] == pytest.approx(2.0, rel=0.1)
    assert shop.served["long"] / shop.served["plain"] == pytest.approx(1.0, rel=0.1)


def test_a_run_that_floods_does_not_keep_out_one_with_a_single_step() -> None:
    shop = Shop(3)
    for _ in range(200):
        shop.ask("flood", SMALL, 5, 1000)
    shop.until(1_000_500)
    shop.ask("single", SMALL, 5, 1000)
    shop.until(1_002_500)
    assert shop.waited[lease_id("single", "200")] <= 1000
