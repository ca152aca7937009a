"""The transition that ends an attempt begins the next step for the same process: which one, when, and what is known of
it. The messages are the ledger's own, in the queues of a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from orchestrator import keys
from orchestrator.engine import runtime as engine
from orchestrator.engine.app import create_app
from orchestrator.engine.routing import agent_queue
from orchestrator.engine.runtime import runtime_of
from orchestrator.run import store
from orchestrator.run.replies import Claimed, Moved
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import GroupSpec, WorkflowSpec
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

    def goes_on(self, name: str, granted: Claimed, *, head: str = "", **more: Any) -> Moved:
        """The attempt ends well, and its process would go on."""
        onward = {**PROCESS, "head": head or name}
        moved = self.ledger.finish(
            "run", name, "success", token=granted.token, snapshot=granted.version, fields=own(name, {}), onward=onward,
            **more,
        )  # fmt: skip
        assert isinstance(moved, Moved), moved
        return moved

    def first(self, workflow: WorkflowSpec) -> Moved:
        """The first step of a workflow has run."""
        self.create(workflow)
        return self.goes_on("a", self.take("a"))


def _step(raw: bytes) -> str:
    return str(json.loads(raw)["headers"]["id"].partition(".")[2])


def begun(moved: Moved) -> str | None:
    return None if moved.begun is None else str(moved.begun.definition["id"])


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
    assert moved.begun.token == 1
    assert moved.begun.version == 1, "it reads what the step before has written"
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
    members, onward = ["x", "y", "z"], PROCESS | {"head": "z"}
    moved = floor.ledger.judge("run", "@g", "success", decision="", members=members, branches=members, onward=onward)
    assert isinstance(moved, Moved)
    assert (begun(moved), floor.waiting()) == ("last", [])


def of_several_it_takes_the_next_message(floor: Floor) -> None:
    moved = floor.first(FAN)
    assert begun(moved) == "x"
    assert sorted(floor.waiting()) == ["y", "z"]
    assert moved.begun is not None
    message = json.loads(moved.begun.message)
    assert message["headers"]["id"] == "run.x"
    assert json.loads(message["body"])[2]["chord"], "it is a member of its chord still"


def what_is_as_urgent_waits_until_the_turn_is_over(floor: Floor) -> None:
    assert (begun(floor.first(beside(5))), floor.waiting()) == ("b", ["d"])


def what_is_more_urgent_comes_first(floor: Floor) -> None:
    assert (begun(floor.first(beside(8))), floor.waiting()) == ("d", ["b"])


def what_is_less_urgent_waits(floor: Floor) -> None:
    assert (begun(floor.first(beside(3))), floor.waiting()) == ("b", ["d"])


def another_class_that_its_worker_serves_comes_first(floor: Floor) -> None:
    assert (begun(floor.first(beside(8, queue="other"))), floor.waiting()) == ("d", ["b"])


def another_run_waits_until_the_turn_is_over(floor: Floor) -> None:
    floor.create(LINE, "else")
    floor.create(LINE)
    assert begun(floor.goes_on("a", floor.take("a"))) == "b"


def what_was_sent_last_is_taken_behind_other_runs(floor: Floor) -> None:
    floor.create(FAN, "else")
    floor.create(FAN)
    assert begun(floor.goes_on("a", floor.take("a"))) == "z"
    assert len(floor.waiting()) == 3


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
    floor.create(FAN)
    granted, rubbish = floor.take("a"), ("no JSON", json.dumps({"headers": {"id": None}}), json.dumps([]))
    floor.client.lpush("agents.noop", *rubbish)
    assert begun(floor.goes_on("a", granted)) == "z"
    found: Any = floor.client.lrange("agents.noop", 2, -1)
    assert [raw.decode() for raw in found] == list(reversed(rubbish))


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
    third = floor.goes_on("b", second, head="a").begun
    assert third is not None
    floor.now += 4
    assert floor.ledger.renew("run", ["a"], owner=OWNER, lease=5.0) == {"a": 7}
    assert floor.client.zscore(keys.run_key("run", "due"), "lease:c") == floor.now + 5
    floor.ledger.finish("run", "c", "timed_out", token=third.token, executed=False)
    assert floor.ledger.renew("run", ["a"], owner=OWNER, lease=5.0) == {"a": 0}, "its process is to be ended"


def a_new_attempt_of_the_first_begins_a_turn_of_its_own(floor: Floor) -> None:
    second = floor.first(LINE).begun
    assert second is not None
    floor.goes_on("b", second, head="a")
    floor.ledger.retry("run", "a")
    assert floor.ledger.renew("run", ["a"], owner=OWNER, lease=5.0) == {}, (
        "its message may be on its way to this worker"
    )
    floor.take("a")
    assert floor.node("a", "onward") == ""
    assert floor.ledger.renew("run", ["a"], owner=OWNER, lease=5.0) == {"a": 7}


def again(floor: Floor, token: int, *, taken: bool) -> int:
    """The attempt of `b` ends, and another process of the same worker makes the next one; its token."""
    floor.ledger.finish("run", "b", "retrying", token=token, executed=not taken, delay=0.0)
    floor.ledger.requeue("run", "b", found="retrying")
    told = floor.ledger.renew("run", ["a"], owner=OWNER, lease=5.0)
    assert told == {"a": 0 if taken else 7}, "what was taken is over, whoever will have the next one"
    claimed = floor.ledger.claim("run", "b", worker=OWNER, owner=OWNER, lease=5.0, pid=8)
    assert isinstance(claimed, Claimed)
    return claimed.token


def a_process_whose_attempt_was_taken_is_told_from_the_one_that_makes_the_next(floor: Floor) -> None:
    second = floor.first(LINE).begun
    assert second is not None
    third = again(floor, second.token, taken=True)
    assert floor.ledger.renew("run", ["a", "b"], owner=OWNER, lease=5.0) == {"a": 0, "b": 8}
    again(floor, third, taken=True)
    assert floor.ledger.renew("run", ["a", "b"], owner=OWNER, lease=5.0) == {"a": 0, "b": 8}


def a_process_that_has_ended_its_attempt_by_itself_is_left_alone(floor: Floor) -> None:
    second = floor.first(LINE).begun
    assert second is not None
    again(floor, second.token, taken=False)
    assert floor.ledger.renew("run", ["a", "b"], owner=OWNER, lease=5.0) == {"a": 7, "b": 8}


STORIES: tuple[Callable[[Floor], None], ...] = (
    a_step_released_alone_needs_no_message,
    the_process_of_a_barrier_goes_on_behind_it,
    of_several_it_takes_the_next_message,
    what_is_as_urgent_waits_until_the_turn_is_over,
    what_is_more_urgent_comes_first,
    what_is_less_urgent_waits,
    another_class_that_its_worker_serves_comes_first,
    another_run_waits_until_the_turn_is_over,
    what_was_sent_last_is_taken_behind_other_runs,
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
        "(before[1] and redis.call('EXISTS', unpack(before)) > 0)", "false",
        what_is_more_urgent_comes_first,
    ),
    "the message stays": ("redis.call(pop, list)", "", of_several_it_takes_the_next_message),
    "any class will do": ("served(spec.queue) and", "", a_step_that_its_worker_does_not_serve_has_its_message),
    "a repetition forgets": ("answer[6] = went_on(run_state)", "", a_repeated_call_goes_on_with_the_same),
    "only the message's step is renewed": (
        "if f[6] and f[7] then", "if false then", a_lease_is_renewed_by_the_step_of_the_message
    ),
    "any attempt of it is the process's own": (
        " and f[3] == token then", " then", a_process_whose_attempt_was_taken_is_told_from_the_one_that_makes_the_next,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mistake_does_harm(floor: Floor, name: str) -> None:
    old, new, story = MUTANTS[name]
    floor.scripts = replace(floor.scripts, **changed(named(floor.scripts), old, new))
    with pytest.raises(AssertionError):
        story(floor)
