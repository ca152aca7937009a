"""The transition that ends an attempt begins the next step for the same process: which one, when, and what is known of
it. The messages are the ledger's own, in the queues of a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from orchestrator import keys
from orchestrator.engine import runtime as engine
from orchestrator.engine.app import create_app
from orchestrator.engine.delivery import list_of
from orchestrator.engine.routing import agent_queue, redis_priority
from orchestrator.engine.runtime import runtime_of
from orchestrator.run import store, waiting
from orchestrator.run.replies import Begun, Claimed, Moved
from orchestrator.run.waiting import Waiters
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import GroupSpec, TriggerRule, WorkflowSpec
from tests.state.bench import OWNER, Bench, own, spec, step
from tests.state.machines import changed, named

LINE = spec(step("a"), step("b", "a"), step("c", "b"))
FAN = spec(step("a"), *(step(name, "a", group="g") for name in "xyz"), step("last", "x", "y", "z"),
           groups=(GroupSpec(id="g", steps=("x", "y", "z")),))  # fmt: skip


def beside(priority: int, **other: Any) -> WorkflowSpec:
    """Two in a line, and one of that priority that waits."""
    return spec(step("a", priority=5), step("b", "a", priority=5), step("d", priority=priority, **other))


QUEUES = [agent_queue("noop"), agent_queue("other")]
PROCESS = {"queues": QUEUES, "seconds": 1.0, "worker": OWNER, "owner": OWNER, "pid": 7, "lease": 5.0}


class Floor(Bench):
    """A bench whose messages are in queues, and a process that goes on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        app = create_app(url, url, EngineSettings(), set_as_current=False)
        self.scripts = engine.transitions(runtime_of(app).mail())
        assert self.scripts.posts

    @property
    def ledger(self) -> store.Ledger:
        return store.Ledger(self.client, self.scripts, now=self.now)

    def messages(self) -> dict[str, list[str]]:
        """List -> the steps whose messages are there, the next one last."""
        client: Any = self.client
        names = sorted(client.scan_iter("agents.*"))
        return {name.decode(): [_step(raw) for raw in client.lrange(name, 0, -1)] for name in names}

    def waiting(self) -> list[str]:
        return [name for found in self.messages().values() for name in found]

    def take(self, name: str) -> Claimed:
        """A worker is given the message of this step."""
        client: Any = self.client
        for key in client.scan_iter("agents.*"):
            for raw in client.lrange(key, 0, -1):
                if json.loads(raw)["headers"]["id"] == f"run.{name}":
                    client.lrem(key, 1, raw)
        return self.granted(name)

    def goes_on(self, name: str, granted: Claimed, *, head: str = "", any_run: bool = False, **more: Any) -> Moved:
        """The attempt ends well, and its process would go on, with `any_run` or with this one alone."""
        onward = {**PROCESS, "head": f"run.{head or name}", **({"any": True} if any_run else {})}
        moved = self.ledger.finish(
            "run", name, "success", token=granted.token, snapshot=granted.version, fields=own(name, {}), onward=onward,
            **more,
        )  # fmt: skip
        assert isinstance(moved, Moved), moved
        return moved

    def places(self) -> dict[str, tuple[str, str, int]]:
        """Where processes have got to, by the task of their message."""
        return {head: (*place,) for head, place in waiting.places(self.client, OWNER).items()}

    def renewed(self, *known: str | tuple[str, int]) -> dict[str | tuple[str, int], int]:
        """The worker renews what its processes are at."""
        steps, attempts = [x for x in known if isinstance(x, str)], [x for x in known if not isinstance(x, str)]
        return self.ledger.renew("run", steps, owner=OWNER, lease=5.0, attempts=attempts)

    def waiter(self, who: str = "p1") -> Waiters:
        """A process that looks for work."""
        return Waiters(self.client, self.scripts, who)

    def first(self, workflow: WorkflowSpec) -> Moved:
        """The first step of a workflow has run."""
        self.create(workflow)
        return self.goes_on("a", self.take("a"))


def _step(raw: bytes) -> str:
    return str(json.loads(raw)["headers"]["id"].partition(".")[2])


def begun(moved: Moved) -> str | None:
    return None if moved.begun is None else str(moved.begun.granted.definition["id"])


@pytest.fixture
def floor(store_url: str) -> Iterator[Floor]:
    floor = Floor(store_url)
    yield floor
    floor.client.close()


# -- what is begun -----------------------------------------------------------------------------------------------------


def a_step_released_alone_needs_no_message(floor: Floor) -> None:
    moved = floor.first(LINE)
    assert (begun(moved), floor.waiting()) == ("b", [])
    assert moved.begun is not None
    assert moved.begun.granted.token == 1
    assert moved.begun.granted.version == 1, "it reads what the step before has written"
    assert floor.node("b", "state") == "running"
    assert [(event.step, event.state) for event in floor.events()][-3:] == [
        ("a", "success"), ("b", "queued"), ("b", "running"),
    ]  # fmt: skip
    due: Any = floor.client.zrange(keys.run_key("run", "due"), 0, -1)
    assert {item for item in due if item.endswith(b":b")} == {b"lease:b"}


def the_process_of_a_barrier_goes_on_behind_it(floor: Floor) -> None:
    floor.create(FAN)
    floor.run_step("a")
    for name in "xyz":
        floor.run_step(name)
    floor.client.delete(*floor.client.keys("agents.*"))
    members, onward = ["x", "y", "z"], PROCESS | {"head": "run.z"}
    moved = floor.ledger.judge("run", "@g", "success", decision="", members=members, branches=members, onward=onward)
    assert isinstance(moved, Moved)
    assert (begun(moved), floor.waiting()) == ("last", [])


def the_end_of_its_last_member_decides_a_barrier_and_goes_on_behind_it(floor: Floor) -> None:
    floor.create(FAN)
    floor.run_step("a")
    counted = floor.client.keys("celery-taskset-meta-*")
    assert counted, "Celery counts the members of the chord"
    last = [(name, floor.take(name)) for name in "xyz"]
    for name, granted in last[:2]:
        floor.end(name, granted)
    moved = floor.goes_on(*last[2], release=("release", "all members succeeded"))
    assert (begun(moved), moved.decided, moved.joined) == ("last", ("@g",), ())
    closed: Any = floor.client.keys("celery-taskset-meta-*")
    assert [floor.client.get(key) for key in closed] == [b"done"], "it does not any more"


def a_group_that_never_was_a_chord_is_not_closed_as_one(floor: Floor) -> None:
    floor.create(spec(step("x", group="g"), step("y", "x", group="g"), groups=(GroupSpec(id="g", steps=("x", "y")),)))
    floor.run_step("x")
    moved = floor.goes_on("y", floor.take("y"), release=("release", "all members succeeded"))
    assert (moved.decided, floor.client.keys("celery-taskset-meta-*")) == (("@g",), [])


def what_a_barrier_ends_in_the_moment_of_its_release_is_not_begun(floor: Floor) -> None:
    """It times a member out, for whose end another one has waited, and then that one."""
    floor.create(spec(step("x", group="g"), step("y", "x", group="g", rule=TriggerRule.ALL_DONE),
                      groups=(GroupSpec(id="g", steps=("x", "y")),)))  # fmt: skip
    floor.take("x")
    moved = floor.ledger.judge(
        "run", "@g", "failed", decision="", members=["x", "y"], early=True, onward=PROCESS | {"head": "run.a"}
    )
    assert isinstance(moved, Moved)
    assert (begun(moved), floor.waiting(), moved.run_state) == (None, [], "failed")
    assert {floor.state(name).value for name in "xy"} == {"timed_out"}


def of_several_it_begins_the_first(floor: Floor) -> None:
    moved = floor.first(FAN)
    assert begun(moved) == "x"
    assert sorted(floor.waiting()) == ["y", "z"]
    assert moved.begun is not None
    message = json.loads(moved.begun.granted.message)
    assert message["headers"]["id"] == "run.x"
    assert json.loads(message["body"])[2]["chord"], "it is a member of its chord still"


def what_is_as_urgent_waits_until_the_turn_is_over(floor: Floor) -> None:
    assert (begun(floor.first(beside(5))), floor.waiting()) == ("b", ["d"])


def what_is_more_urgent_comes_first(floor: Floor) -> None:
    assert (begun(floor.first(beside(8))), floor.waiting()) == ("d", ["b"])


def what_is_less_urgent_waits(floor: Floor) -> None:
    assert (begun(floor.first(beside(3))), floor.waiting()) == ("b", ["d"])


def of_several_it_begins_the_most_urgent(floor: Floor) -> None:
    moved = floor.first(spec(step("a"), step("low", "a", priority=2), step("high", "a", priority=9)))
    assert (begun(moved), floor.waiting()) == ("high", ["low"])


def a_process_that_waits_is_handed_the_most_urgent(floor: Floor) -> None:
    floor.create(spec(step("a"), step("low", "a", priority=2), step("high", "a", priority=9)))
    granted, one = floor.take("a"), floor.waiter()
    one.look(BY, 5.0)
    floor.ledger.finish("run", "a", "success", token=granted.token, snapshot=granted.version, fields=own("a", {}))
    assert (found(one.given(0.1)), floor.waiting()) == (("run", "high"), ["low"])


def another_class_that_its_worker_serves_comes_first(floor: Floor) -> None:
    assert (begun(floor.first(beside(8, queue="other"))), floor.waiting()) == ("d", ["b"])


def a_member_of_its_group_is_next_in_the_queue(floor: Floor) -> None:
    moved = floor.first(FAN)
    assert moved.begun is not None
    moved = floor.goes_on("x", moved.begun.granted, head="a")
    assert (begun(moved), floor.waiting()) == ("y", ["z"])
    assert moved.begun is not None
    message = json.loads(moved.begun.granted.message)
    assert message["headers"]["id"] == "run.y"
    assert json.loads(message["body"])[2]["chord"], "it is a member of its chord still"


def another_run_waits_until_the_turn_is_over(floor: Floor) -> None:
    floor.create(LINE, "else")
    floor.create(LINE)
    assert begun(floor.goes_on("a", floor.take("a"))) == "b"


def a_step_of_another_class_needs_no_message_either(floor: Floor) -> None:
    moved = floor.first(spec(step("a"), step("b", "a", queue="other")))
    assert (begun(moved), floor.waiting()) == ("b", [])


def a_step_that_its_worker_does_not_serve_has_its_message(floor: Floor) -> None:
    moved = floor.first(spec(step("a"), step("b", "a", queue="elsewhere")))
    assert (begun(moved), floor.waiting()) == (None, ["b"])


def what_is_known_to_take_long_has_its_message(floor: Floor) -> None:
    floor.create(LINE)
    definition = json.loads(floor.client.hget(keys.run_key("run", "defs"), "b") or b"")
    floor.client.hset(keys.run_key("run", "defs"), "b", json.dumps(definition | {"learned": 1.5}))
    assert (begun(floor.goes_on("a", floor.take("a"))), floor.waiting()) == (None, ["b"])


def nothing_begins_while_a_person_is_asked(floor: Floor) -> None:
    """The step that ended has left a conflict for somebody to decide; another one is queued since before."""
    floor.create(beside(3))
    moved = floor.goes_on("a", floor.take("a"), undecided=[("c1", None)])
    assert (begun(moved), floor.waiting()) == (None, ["d"])


def what_is_no_message_of_ours_stays(floor: Floor) -> None:
    for rubbish in ("no JSON", json.dumps({"headers": {"id": None}}), json.dumps([])):
        floor.client.flushdb()
        floor.create(beside(5))
        granted = floor.take("a")
        floor.client.rpush("agents.noop", rubbish)
        floor.client.hset(keys.run_key("run", "s:b"), "need", 2)  # it releases nobody
        assert begun(floor.goes_on("a", granted)) is None
        assert floor.client.lindex("agents.noop", -1) == rubbish.encode()


# -- what is known of it -----------------------------------------------------------------------------------------------


def a_repeated_call_goes_on_with_the_same(floor: Floor) -> None:
    floor.create(FAN)
    granted = floor.take("a")
    with patch.object(store, "token_hex", return_value="the same"):
        assert [begun(floor.goes_on("a", granted)) for _ in range(2)] == ["x", "x"]
    assert sorted(floor.waiting()) == ["y", "z"]
    assert floor.node("x", "token") == "1"


def a_lease_is_renewed_by_the_step_of_the_message(floor: Floor) -> None:
    second = floor.first(LINE).begun
    assert second is not None
    third = floor.goes_on("b", second.granted, head="a").begun
    assert third is not None
    floor.now += 4
    assert floor.places() == {"run.a": ("run", "c", 1)}
    assert floor.renewed(("c", 1)) == {("c", 1): 7}
    assert floor.client.zscore(keys.run_key("run", "due"), "lease:c") == floor.now + 5
    floor.ledger.finish("run", "c", "timed_out", token=third.granted.token, executed=False)
    assert floor.renewed(("c", 1)) == {("c", 1): 0}, "its process is to be ended"


def a_new_attempt_of_the_first_begins_a_turn_of_its_own(floor: Floor) -> None:
    second = floor.first(LINE).begun
    assert second is not None
    floor.goes_on("b", second.granted, head="a")
    floor.ledger.retry("run", "a")
    assert floor.ledger.renew("run", ["a"], owner=OWNER, lease=5.0) == {}, (
        "its message may be on its way to this worker"
    )
    floor.take("a")
    assert floor.places() == {}
    assert floor.ledger.renew("run", ["a"], owner=OWNER, lease=5.0) == {"a": 7}


def again(floor: Floor, token: int, *, taken: bool) -> int:
    """The attempt of `b` ends, and another process of the same worker makes the next one; its token."""
    floor.ledger.finish("run", "b", "retrying", token=token, executed=not taken, delay=0.0)
    floor.ledger.requeue("run", "b", found="retrying")
    told = floor.renewed(("b", token))
    assert told == ({("b", token): 0} if taken else {("b", token): 7}), "what was taken is over"
    claimed = floor.ledger.claim("run", "b", worker=OWNER, owner=OWNER, lease=5.0, pid=8)
    assert isinstance(claimed, Claimed)
    return claimed.token


def a_process_whose_attempt_was_taken_is_told_from_the_one_that_makes_the_next(floor: Floor) -> None:
    second = floor.first(LINE).begun
    assert second is not None
    third = again(floor, second.granted.token, taken=True)
    assert floor.renewed("b", ("b", second.granted.token)) == {"b": 8, ("b", second.granted.token): 0}
    again(floor, third, taken=True)
    assert floor.renewed("b", ("b", second.granted.token)) == {"b": 8, ("b", second.granted.token): 0}


def a_process_that_has_ended_its_attempt_by_itself_is_left_alone(floor: Floor) -> None:
    second = floor.first(LINE).begun
    assert second is not None
    again(floor, second.granted.token, taken=False)
    assert floor.renewed("b", ("b", second.granted.token)) == {"b": 8}


# -- processes that wait -----------------------------------------------------------------------------------------------

BY = PROCESS | {"head": "old.h"}


def found(answer: object) -> tuple[str, str] | None:
    """The run and the step that a process goes on with."""
    return (answer.run_id, str(answer.granted.definition["id"])) if isinstance(answer, Begun) else None


def what_is_released_is_handed_to_a_process_that_waits(floor: Floor) -> None:
    one = floor.waiter()
    assert one.look(BY, 5.0) == "waits"
    floor.create(LINE)
    given = one.given(1.0)
    assert given is not None
    assert (found(given), given.granted.token, given.granted.message) == (("run", "a"), 1, b"")
    assert (floor.waiting(), floor.node("a", "state"), floor.places()) == ([], "running", {"old.h": ("run", "a", 1)})
    assert [event.state for event in floor.events()] == ["pending", "queued", "running", "running"]
    floor.create(LINE, "else")
    assert floor.waiting() == ["a"], "it waits no longer"


def a_member_that_is_handed_over_is_one_of_its_chord_still(floor: Floor) -> None:
    floor.create(FAN)
    granted, one = floor.take("a"), floor.waiter()
    assert one.look(BY, 5.0) == "waits"
    assert begun(floor.goes_on("a", granted)) == "x"
    given = one.given(1.0)
    assert given is not None
    assert (found(given), floor.waiting()) == (("run", "y"), ["z"])
    message = json.loads(given.granted.message)
    assert json.loads(message["body"])[2]["chord"], "as it was sent to nobody"
    assert given.granted.version == 1
    due: Any = floor.client.zrange(keys.run_key("run", "due"), 0, -1)
    watched = {item for item in due if item.startswith((b"lease:", b"queued:"))}
    assert watched == {b"lease:x", b"lease:y", b"queued:z"}, "a message alone may get lost"


def who_has_waited_least_is_asked_first(floor: Floor) -> None:
    first, second = floor.waiter("p1"), floor.waiter("p2")
    first.look(BY, 5.0)
    second.look(BY | {"head": "old.i"}, 5.5)
    floor.create(spec(step("a"), step("b")))
    assert [found(one.given(1.0)) for one in (second, first)] == [("run", "a"), ("run", "b")]


def what_waits_longer_comes_first(floor: Floor) -> None:
    one = floor.waiter()
    one.look(BY, 5.0)
    floor.client.lpush("agents.other", "from elsewhere")
    floor.create(LINE)
    assert floor.client.llen("agents.noop") == 1, "its worker takes the other first"


def nobody_who_has_gone_is_asked(floor: Floor) -> None:
    one = floor.waiter()
    one.look(BY, 0.001)
    floor.now = time.time() + 60
    floor.create(LINE)
    assert floor.waiting() == ["a"]
    assert floor.client.exists(keys.WAITING) == 0, "nobody knows it any more"


def who_leaves_is_given_nothing(floor: Floor) -> None:
    one = floor.waiter()
    one.look(BY, 5.0)
    assert one.leave(BY) is None
    floor.create(LINE)
    assert floor.waiting() == ["a"]


def who_leaves_takes_along_what_was_given(floor: Floor) -> None:
    one = floor.waiter()
    one.look(BY, 5.0)
    floor.create(LINE)
    assert one.look(BY, 5.0) == "waits"
    assert found(one.leave(BY)) == ("run", "a")
    assert floor.places() == {"old.h": ("run", "a", 1)}
    assert one.leave(BY) is None
    assert floor.places() == {}


def the_next_message_may_be_of_any_run(floor: Floor) -> None:
    floor.create(beside(3), "else")
    floor.create(beside(8))
    one = floor.waiter()
    taken = [found(one.look(BY, 5.0)) for _ in range(4)]
    assert taken == [("run", "d"), ("else", "a"), ("run", "a"), ("else", "d")]
    assert one.look(BY, None) is None
    assert floor.places() == {}


def the_end_of_a_step_takes_the_next_message_of_any_run(floor: Floor) -> None:
    """After those of its own run that are as urgent. What may not begin is for Celery, and nothing overtakes it."""
    for name in ("paused", "else"):
        floor.create(spec(step("a", priority=5)), name)
    floor.ledger.pause("paused")
    floor.create(spec(step("a", priority=5), step("d", priority=5, queue="other"), step("low", priority=4)))
    first = floor.goes_on("a", floor.take("a"), any_run=True).begun
    assert first is not None
    assert found(first) == ("run", "d")
    assert floor.goes_on("d", first.granted, head="a", any_run=True).begun is None
    floor.client.rpop(list_of(QUEUES[0], redis_priority(5)))
    last = floor.take("low")
    with patch.object(store, "token_hex", return_value="the same"):
        told = [floor.goes_on("low", last, head="a", any_run=True).begun for _ in range(2)]
    assert [found(one) for one in told] == [("else", "a")] * 2
    assert told[0] is not None
    assert json.loads(told[0].granted.message)["headers"]["id"] == "else.a"
    assert (floor.places(), floor.waiting()) == ({"run.a": ("else", "a", 1)}, [])


def a_run_that_is_not_whole_harms_no_other(floor: Floor) -> None:
    for part in ("meta", "defs"):
        floor.create(spec(step("a", priority=5)), part)
        floor.client.delete(keys.run_key(part, part))
    floor.create(spec(step("a", priority=5), step("b", priority=5)))
    left = [floor.goes_on(name, floor.take(name), any_run=True) for name in "ab"]
    assert [(one.begun, one.run_state) for one in left] == [(None, "running"), (None, "success")]
    floor.client.rpop(list_of(QUEUES[0], redis_priority(5)))
    assert floor.waiter().look(BY, 1.0) is None
    assert floor.waiting() == ["a"]


def what_is_for_celery_ends_the_turn(floor: Floor) -> None:
    floor.create(LINE)
    floor.client.rpush("agents.noop", json.dumps({"headers": {"id": "run.a", "task": "another"}}))
    one = floor.waiter()
    assert one.look(BY, 5.0) is None
    assert floor.client.exists(keys.WAITING) == 0


def looking_again_finds_the_same(floor: Floor) -> None:
    floor.create(LINE)
    with patch.object(waiting, "token_hex", return_value="the same"):
        answers = [floor.waiter().look(BY, 5.0) for _ in range(2)]
    assert [found(answer) for answer in answers] == [("run", "a")] * 2
    assert floor.node("a", "token") == "1"


def what_was_never_taken_up_does_not_count(floor: Floor) -> None:
    who = f"{OWNER}:{BY['pid']}"
    for name, taken, spent in (("run", True, 0), ("else", False, 1)):
        one = floor.waiter(who)
        one.look(BY, 5.0)
        floor.create(LINE, name)
        if taken:
            one.given(1.0)
        assert [floor.ledger.lost(name, "a", 1) for _ in range(2)] == [spent, spent]
        assert one.leave(BY) is None, "its process finds nothing any more"


STORIES: tuple[Callable[[Floor], None], ...] = (
    a_step_released_alone_needs_no_message,
    the_process_of_a_barrier_goes_on_behind_it,
    the_end_of_its_last_member_decides_a_barrier_and_goes_on_behind_it,
    a_group_that_never_was_a_chord_is_not_closed_as_one,
    what_a_barrier_ends_in_the_moment_of_its_release_is_not_begun,
    of_several_it_begins_the_first,
    of_several_it_begins_the_most_urgent,
    a_process_that_waits_is_handed_the_most_urgent,
    a_member_of_its_group_is_next_in_the_queue,
    what_is_as_urgent_waits_until_the_turn_is_over,
    what_is_more_urgent_comes_first,
    what_is_less_urgent_waits,
    another_class_that_its_worker_serves_comes_first,
    another_run_waits_until_the_turn_is_over,
    a_step_of_another_class_needs_no_message_either,
    a_step_that_its_worker_does_not_serve_has_its_message,
    what_is_known_to_take_long_has_its_message,
    nothing_begins_while_a_person_is_asked,
    what_is_no_message_of_ours_stays,
    a_repeated_call_goes_on_with_the_same,
    a_lease_is_renewed_by_the_step_of_the_message,
    a_new_attempt_of_the_first_begins_a_turn_of_its_own,
    a_process_whose_attempt_was_taken_is_told_from_the_one_that_makes_the_next,
    a_process_that_has_ended_its_attempt_by_itself_is_left_alone,
    what_is_released_is_handed_to_a_process_that_waits,
    a_member_that_is_handed_over_is_one_of_its_chord_still,
    who_has_waited_least_is_asked_first,
    what_waits_longer_comes_first,
    nobody_who_has_gone_is_asked,
    who_leaves_is_given_nothing,
    who_leaves_takes_along_what_was_given,
    the_next_message_may_be_of_any_run,
    the_end_of_a_step_takes_the_next_message_of_any_run,
    a_run_that_is_not_whole_harms_no_other,
    what_is_for_celery_ends_the_turn,
    looking_again_finds_the_same,
    what_was_never_taken_up_does_not_count,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_in_a_turn(floor: Floor, story: Callable[[Floor], None]) -> None:
    story(floor)


MUTANTS: dict[str, tuple[str, str, Callable[[Floor], None]]] = {
    "a person is not waited for": (
        "if run_state == 'paused' or run_state == 'awaiting_input' or is_lane(node) then return end", "",
        nothing_begins_while_a_person_is_asked,
    ),
    "the token stays": (
        "redis.call('HINCRBY', sk, 'token', 1)", "redis.call('HINCRBY', sk, 'token', 0)",
        a_step_released_alone_needs_no_message,
    ),
    "others are passed by": (
        "return not before[1] or redis.call('EXISTS', unpack(before)) == 0", "return true",
        what_is_more_urgent_comes_first,
    ),
    "the message stays": ("redis.call('RPOP', list)", "", a_member_of_its_group_is_next_in_the_queue),
    "any class will do": (
        "served(spec.queue, by.queues) and", "", a_step_that_its_worker_does_not_serve_has_its_message
    ),
    "a repetition forgets": ("answer[6] = went_on(run_state)", "", a_repeated_call_goes_on_with_the_same),
    "what was gone on with is not renewed": (
        "if same and f[1] == 'running' then", "if false then", a_lease_is_renewed_by_the_step_of_the_message
    ),
    "any attempt of it is the process's own": (
        "tonumber(f[3]) == token", "true",
        a_process_whose_attempt_was_taken_is_told_from_the_one_that_makes_the_next,
    ),
    "whoever was given a step still waits": (
        "no_longer_waits(who, by.queues)\n", "", what_is_released_is_handed_to_a_process_that_waits
    ),
    "the dead are asked": ("tonumber(found[2]) > NOW", "true", nobody_who_has_gone_is_asked),
    "what was given is lost": ("if given then return {given} end", "", who_leaves_takes_along_what_was_given),
    "no other run is gone on with": (
        "others and A.on.any and", "nil and", the_end_of_a_step_takes_the_next_message_of_any_run
    ),
    "another run's step is begun twice": (
        "then return in_other(run).taken_before(step) end", "then return end",
        the_end_of_a_step_takes_the_next_message_of_any_run,
    ),
    "members that succeeded are judged": (
        "do release(node) end", "do end", the_end_of_its_last_member_decides_a_barrier_and_goes_on_behind_it,
    ),
    "what was no chord is closed": (
        "if chord and MAIL and MAIL.chord then", "if MAIL and MAIL.chord then",
        a_group_that_never_was_a_chord_is_not_closed_as_one,
    ),
    "Celery counts on": (
        "if chord and MAIL and MAIL.chord then", "if false then",
        the_end_of_its_last_member_decides_a_barrier_and_goes_on_behind_it,
    ),
    "all messages are ours": ("headers.task == MAIL.task", "true", what_is_for_celery_ends_the_turn),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_does_harm(floor: Floor, name: str) -> None:
    old, new, story = MUTANTS[name]
    floor.scripts = replace(floor.scripts, **changed(named(floor.scripts), old, new))
    with pytest.raises(AssertionError):
        story(floor)
