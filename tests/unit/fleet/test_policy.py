"""Who steals, lets go, steps back and comes back, and how large a pool should be."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.engine_fleet import FleetRules
from orchestrator.fleet.models import Fleet, Queue, Standing, Worker
from orchestrator.fleet.policy import Load, capacities, distribute, health, least_loaded, release, scale, waits

RULES = FleetRules(steal_above=5, hold=10, probe_after=30, least_samples=5)
AT_REST = Load(processes=2, busy=0, peak=0, depth=0, seconds=1, least=1, most=6, settled=True)


def worker(name: str, home: str = "a", **given: Any) -> Worker:
    return Worker(name=name, **{"home": (home,), "serves": ("a", "b", "c"), "slots": 2, **given})


def fleet(*workers: Worker, now: float = 1000.0, **queues: Queue) -> Fleet:
    return Fleet(now=now, workers={one.name: one for one in workers}, queues=queues)


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({}, 1),
        ({"settled": False}, 2),
        ({"peak": 2}, 2),
        ({"depth": 3, "busy": 1}, 2),
        ({"depth": 1, "busy": 2, "seconds": 0.1}, 2),
        ({"depth": 1, "busy": 2, "seconds": 0.1, "waited": 2}, 3),
        ({"busy": 4, "seconds": 0.1, "waited": 2}, 3),
        ({"depth": 3, "busy": 2}, 5),
        ({"depth": 100, "busy": 2}, 6),
        ({"depth": 100, "busy": 2, "seconds": 0.03}, 5),
        ({"depth": 100, "busy": 6, "processes": 6}, 6),
        ({"processes": 0, "least": 1}, 1),
        ({"processes": 4, "least": 3}, 3),
        ({"depth": 1, "busy": 2, "seconds": 0.01, "hurries": True}, 6),
        ({"depth": 1, "busy": 1, "hurries": True}, 2),
        ({"hurries": True}, 2),
        ({"processes": 6, "busy": 6, "depth": 9, "narrows": True}, 3),
        ({"depth": 100, "busy": 2, "narrows": True}, 3),
        ({"processes": 6, "busy": 6, "least": 5, "narrows": True}, 5),
    ],
    ids=[
        "idle", "not settled", "was needed", "has room", "waits shortly", "has waited long", "took more before",
        "by what waits", "at most", "by the work", "full", "below the least", "never below the least",
        "alarm", "alarm with room", "no shrinking under an alarm", "half", "no more than half", "half of the least",
    ],
)  # fmt: skip
def test_a_pool_follows_predicted_work(change: dict[str, Any], target: int) -> None:
    assert scale(RULES, replace(AT_REST, **change))[0] == target


def test_the_least_loaded_instance_comes_first() -> None:
    full = worker("full", busy=2)
    half, slow = worker("half", busy=1), worker("slow", busy=1, slowness=2)
    big, helper = worker("big", slots=8, busy=1), worker("helper", slots=8, busy=1, borrowed={"b": 1.0})
    assert [one.name for one in least_loaded([full, slow, helper, half, big])] == [
        "big", "helper", "half", "slow", "full"
    ]  # fmt: skip


def test_waits_are_work_by_slots_and_drained_workers_do_not_count() -> None:
    here = fleet(
        worker("w1"),
        worker("w2", borrowed={"b": 1.0}),
        worker("w3", "b", standing=Standing.DRAINED),
        a=Queue(depth=8, seconds=2),
        b=Queue(depth=3, seconds=2),
        c=Queue(depth=1, seconds=2),
        d=Queue(),
    )
    assert capacities(here) == {"a": 4, "b": 2}
    assert waits(here, capacities(here)) == {"a": 4, "b": 3, "c": float("inf"), "d": 0}


def test_idle_workers_go_where_the_wait_is_longest_and_no_more_than_it_takes() -> None:
    idle = [worker(f"i{number}", "z", idle=True) for number in range(6)]
    here = fleet(
        worker("wa", "a", busy=2),
        worker("wb", "b", busy=2),
        *idle,
        a=Queue(depth=40, seconds=1),
        b=Queue(depth=20, seconds=1),
    )
    found = distribute(RULES, here)
    # a: 40 s of work in 5 s needs 8 slots, has 2; b: 20 s needs 4, has 2.
    assert [found[name].queue for name in sorted(found)] == ["a", "a", "a", "b"]
    assert sorted(found) == ["i0", "i1", "i2", "i3"]
    assert "predicted 20 s" in found["i0"].reason


@pytest.mark.parametrize(
    ("change", "queue"),
    [
        ({}, Queue(depth=9, seconds=1)),
        ({"idle": False}, Queue(depth=99, seconds=1)),
        ({"serves": ("c",)}, Queue(depth=99, seconds=1)),
        ({"standing": Standing.PROBING}, Queue(depth=99, seconds=1)),
        ({"rested": {"a": 995.0}}, Queue(depth=99, seconds=1)),
        ({"borrowed": {"c": 1.0}}, Queue(depth=99, seconds=1)),
    ],
    ids=["short wait", "not idle", "cannot", "on probation", "just let go", "helps elsewhere"],
)
def test_who_does_not_steal(change: dict[str, Any], queue: Queue) -> None:
    thief = worker("t", "z", idle=True).model_copy(update=change)
    assert distribute(RULES, fleet(worker("w", busy=2), thief, a=queue)) == {}


def test_stealing_can_be_switched_off() -> None:
    here = fleet(worker("w", busy=2), worker("t", "z", idle=True), a=Queue(depth=99, seconds=1))
    assert list(distribute(RULES, here)) == ["t"]
    assert distribute(RULES.model_copy(update={"work_stealing": False}), here) == {}


def test_what_was_borrowed_is_held_and_let_go_well_below_the_wait_it_was_taken_at() -> None:
    thief = worker("t", "z", borrowed={"a": 995.0})
    others = worker("w", busy=2)

    def let_go(queue: Queue, now: float, **change: Any) -> list[str]:
        here = fleet(others, thief.model_copy(update=change), now=now, a=queue, z=Queue(depth=1, seconds=1))
        return [one.queue for one in release(RULES, here, here.workers["t"], capacities(here))]

    assert let_go(Queue(), 1004) == []  # too soon
    assert let_go(Queue(), 1005) == ["a"]
    assert let_go(Queue(depth=6, seconds=1), 1005) == []  # 3 s without the thief, above half of 5 s
    assert let_go(Queue(depth=4, seconds=1), 1005) == ["a"]
    assert let_go(Queue(depth=99, seconds=1), 996, busy=2) == ["a"]  # its own queue has work that it has no room for


def sick(name: str = "sick", **given: Any) -> Worker:
    return worker(name, **{"samples": 5, "slowness": 3.5, **given})


WELL = tuple(worker(f"well{number}", samples=20) for number in range(3))


@pytest.mark.parametrize(
    ("one", "peers", "act"),
    [
        (sick(), WELL, "drain"),
        (sick(samples=4), WELL, None),
        (sick(slowness=2.9), WELL, None),
        (sick(slowness=1, failures=0.5), WELL, "drain"),
        (sick(slowness=1, failures=0.5), tuple(one.model_copy(update={"failures": 0.3}) for one in WELL), None),
        (sick(), tuple(one.model_copy(update={"slowness": 2.0}) for one in WELL), None),
        (sick(), (), None),
        (sick(), (worker("elsewhere", "b", samples=20),), None),
        (sick(), (*WELL, sick("worse", slowness=9)), None),
        (sick(), (*WELL[:2], sick("gone", standing=Standing.DRAINED)), None),
    ],
    ids=[
        "slow", "too few samples", "in the band", "fails", "everybody fails", "everybody is slow", "alone",
        "nobody else serves its queue", "another one first", "one has stepped back already",
    ],
)  # fmt: skip
def test_who_steps_back(one: Worker, peers: tuple[Worker, ...], act: str | None) -> None:
    decision = health(RULES, fleet(one, *peers), one)
    assert (decision and decision.act) == act


def test_health_routing_can_be_switched_off() -> None:
    here = fleet(sick(), *WELL)
    assert health(RULES.model_copy(update={"health_routing": False}), here, here.workers["sick"]) is None


def test_who_stepped_back_is_tried_after_pauses_that_double_and_has_to_be_well_inside_the_band() -> None:
    for drains, pause in ((1, 30), (2, 60), (5, 480), (50, 960)):
        away = sick(standing=Standing.DRAINED, since=100.0, drains=drains)
        assert health(RULES, fleet(away, *WELL, now=100 + pause - 1), away) is None
        decision = health(RULES, fleet(away, *WELL, now=100 + pause), away)
        assert decision is not None
        assert decision.act == "probe"
    for slowness, samples, act in ((2.5, 5, "drain"), (1.5, 5, "readmit"), (9.0, 4, None)):
        tried = sick(standing=Standing.PROBING, slowness=slowness, samples=samples)
        found = health(RULES, fleet(tried, *WELL), tried)
        assert (found and found.act) == act
