"""Processes die in the middle of a run; the run ends all the same, and each effect is there once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil

from orchestrator import RunHandle
from orchestrator.engine.runtime import pools
from orchestrator.run.models import RunState, RunStatus, StepState
from tests.engine.test_barriers import decisions, group, in_turn, member
from tests.faults.scenes import Place, scene, started
from tests.workers import Worker, eventually, told

APP = "tests.faults.stuck_app"
SECONDS = 60
HELD = 300
"""Seconds that nothing here lasts."""
ITEMS = 600


def worker(place: Place, name: str = "w1", **options: Any) -> Worker:
    return Worker(place.store.url, place.folder, name=name, **{"concurrency": 2, "app": APP, **options})


def product(*held: str, again: float = 0) -> dict[str, Any]:
    """The documents' shape: analyst, pm, two designers side by side, developer, qa. The first attempt of a `held` step
    lasts until its process dies, another one `again` seconds."""

    def step(name: str, *needs: str) -> dict[str, Any]:
        return {"id": name, "needs": list(needs)} | (
            {"agent": "slow_at_first", "with": {"seconds": HELD, "again": again}}
            if name in held
            else {"agent": "echo", "with": {"text": name}}
        )

    return {
        "name": "product",
        "steps": [step("analyst"), step("pm", "analyst"), step("developer", "ux_expert", "architect"),
                  step("qa", "developer")],
        "execution_groups": {
            "design": {"agents": [step("ux_expert"), step("architect")], "dependencies": ["pm"],
                       "parallel_capable": True}
        },
    }  # fmt: skip


def assert_each_effect_once(handle: RunHandle, status: RunStatus) -> None:
    assert status.state is RunState.SUCCESS, {name: step.state for name, step in status.steps.items()}
    committed = Counter(event.step for event in handle.events(follow=False) if event.state == "success" and event.step)
    assert {name: committed[name] for name in status.steps} == dict.fromkeys(status.steps, 1)
    assert set(handle.result()) == set(status.steps)


def running(handle: RunHandle, *names: str) -> bool:
    return in_state(StepState.RUNNING, handle, *names)


def in_state(state: StepState, handle: RunHandle, *names: str) -> bool:
    steps = handle.status().steps
    return all(steps[name].state is state for name in names)


@scene
def test_a_worker_is_killed_twice_and_others_carry_on(place: Place) -> None:
    """Once while the members of a group run, once in the middle of a chain."""
    with started(first := worker(place)):
        handle = place.client.submit(product("ux_expert", "architect", "developer"))
        eventually(lambda: running(handle, "ux_expert", "architect"), within=SECONDS, what="the designers run")
        first.kill()
    with started(second := worker(place, "w2")):
        eventually(lambda: running(handle, "developer"), within=SECONDS, what="the developer runs")
        second.kill()
    with started(worker(place, "w3")):
        status = handle.wait(SECONDS)
    assert_each_effect_once(handle, status)
    attempts = {name: step.attempts for name, step in status.steps.items()}
    assert attempts == {"analyst": 1, "pm": 1, "ux_expert": 2, "architect": 2, "developer": 2, "qa": 1}


@scene
def test_a_killed_child_costs_one_attempt_and_no_visibility_timeout(place: Place) -> None:
    with started(one := worker(place)):
        handle = place.client.submit(product("ux_expert", "architect", again=1))
        eventually(lambda: running(handle, "ux_expert", "architect"), within=SECONDS, what="the designers run")
        busy = [pid for pid in one.children() if psutil.Process(pid).is_running()]
        os.kill(busy[0], signal.SIGKILL)
        os.kill(busy[1], signal.SIGKILL)
        status = handle.wait(25)
        assert_each_effect_once(handle, status)
        assert status.steps["ux_expert"].attempts == status.steps["architect"].attempts == 2
        assert_each_has_its_own_connections(one)


def assert_each_has_its_own_connections(worker: Worker) -> None:
    """Children that were forked when their parent had been at work for a while speak to Redis on their own."""
    inherited = sockets(worker.pid)
    opened = [sockets(pid) - inherited for pid in worker.children()]
    assert inherited
    assert all(opened), "they have all worked"
    assert all(own.isdisjoint(other) for own, other in combinations(opened, 2))


def sockets(pid: int) -> set[str]:
    """What the kernel calls the connections that a process holds."""
    found = set[str]()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(entry.readlink()))
    return {name for name in found if name.startswith("socket:")}


@scene
def test_a_step_that_kills_every_process_is_given_up_and_the_rest_flows_on(place: Place) -> None:
    poison = {"id": "poison", "agent": "crash", "with": {"times": 99}}
    other = {"id": "other", "agent": "noop", "with": {}}
    with started(worker(place)):
        status = place.client.submit({"name": "poisoned", "steps": [poison, other]}).wait(SECONDS)
    assert (status.steps["poison"].state, status.steps["poison"].reason) == (StepState.FAILED, "poisoned")
    assert status.steps["poison"].attempts == 3
    assert status.steps["other"].state is StepState.SUCCESS


def begun(place: Place, worker: Worker, seconds: float) -> list[RunHandle]:
    """A run that works on the step of its message, and one whose process has gone on to a step without: their first
    attempts of `a` take so long, and run. What comes behind them is done by whoever is there."""
    slow = {"id": "a", "agent": "slow_at_first", "with": {"seconds": seconds}}
    last = {"id": "last", "agent": "noop", "needs": ["a"]}
    handles = []
    for steps in [slow, last], [{"id": "head", "agent": "noop"}, slow | {"needs": ["head"]}, last]:
        handles.append(handle := place.client.submit({"name": "begun", "steps": steps}))
        eventually(lambda: running(handle, "a"), within=SECONDS, what="a runs")
    assert [f"[{handle.id}.a] received" in worker.text() for handle in handles] == [True, False]
    return handles


def assert_made(handles: list[RunHandle], attempts: int, worker: str) -> None:
    """It took `a` so many attempts, the last one on this worker, and whatever came before it one."""
    for handle in handles:
        status = handle.wait(SECONDS)
        assert_each_effect_once(handle, status)
        made = {name: step.attempts for name, step in status.steps.items()}
        assert made == dict.fromkeys(made, 1) | {"a": attempts}
        assert status.steps["a"].worker == f"{worker}@test"


@scene
def test_a_frozen_worker_loses_its_leases_and_its_late_results(place: Place) -> None:
    """Its children wake up before it does, and are late; those that would never look up are ended."""
    with started(first := worker(place, concurrency=4)):
        late, never = begun(place, first, 4), begun(place, first, HELD)
        with first.frozen() as processes, started(worker(place, "w2")):
            assert_made(late + never, 2, "w2")
            for pid in processes[1:]:
                os.kill(pid, signal.SIGCONT)
            for run in late:
                told = f"run {run.id} step a: attempt 1 came late"
                eventually(lambda: told in first.text(), within=SECONDS, what=told)  # noqa: B023
        eventually(lambda: not place.client.redis.hlen("unacked"), within=SECONDS, what="nobody works on any more")
        assert_made(late + never, 2, "w2")


@scene
def test_a_warm_shutdown_lets_its_steps_end_and_renews_their_leases(place: Place) -> None:
    """What comes behind them has a message, and goes to another worker."""
    with started(first := worker(place), worker(place, "w2", concurrency=1, queues=["control"])):
        handles = begun(place, first, 4)
        os.kill(first.pid, signal.SIGTERM)
        told(place.client.app.control.add_consumer, "agents.drills", destination=["w2@test"])
        assert_made(handles, 1, "w1")
        assert {handle.status().steps["last"].worker for handle in handles} == {"w2@test"}


@scene
def test_a_worker_that_froze_takes_its_own_steps_up_again_and_is_not_poisoned(place: Place) -> None:
    """Its old children still run when the new attempts are claimed in the same worker: only the old ones are ended."""
    first = worker(place, concurrency=4)
    with started(first, worker(place, "w2", concurrency=1, queues=["control"])):
        handles = begun(place, first, HELD)
        os.kill(first.pid, signal.SIGSTOP)
        try:
            for one in handles:
                eventually(partial(in_state, StepState.QUEUED, one, "a"), within=SECONDS, what="a was taken")
        finally:
            os.kill(first.pid, signal.SIGCONT)
        assert_made(handles, 2, "w1")
        eventually(lambda: not place.client.redis.hlen("unacked"), within=SECONDS, what="the old ones have ended")
        seen = place.client.app.AsyncResult(f"{handles[0].id}.a")
        assert seen.state == "PENDING", "Celery has not heard of a failure"


def second_turn(run: RunHandle) -> bool:
    """Whether b works again, its first two attempts having failed."""
    step = run.status().steps["b"]
    return step.state is StepState.RUNNING and step.attempts == 3


@scene
def test_the_second_turn_of_a_group_goes_on_after_its_worker_was_killed(place: Place) -> None:
    twice = {"retry": {"maximum_attempts": 2, "initial_interval": 0.05}}
    failing = [member("b", twice, fails=2, moves=1), member("c", twice, fails=2)]
    with started(first := worker(place, app="tests.engine.barrier_app")):
        run = place.client.submit(group(member("a"), *failing))
        eventually(lambda: second_turn(run), within=SECONDS, what="b has its second turn")
        first.kill()
    with started(worker(place, "w2", app="tests.engine.barrier_app")):
        status = run.wait(SECONDS)
    assert status.state is RunState.SUCCESS, status
    assert {name: status.steps[name].attempts for name in "abc"} == {"a": 1, "b": 4, "c": 3}
    assert in_turn(status, "b", "c", "after")
    assert decisions(run) == ["abort_and_fallback", "release"]


@scene
def test_a_child_and_then_the_worker_of_a_mapped_step_are_killed(place: Place) -> None:
    """The second worker finishes it: every item is called at least once, none is lost, and none is there twice. What
    the step needs of pools it holds once, for all its lanes, from its first item to its last, whichever are killed."""
    stages = [
        {"map": "double", "concurrency": 2},
        {"map": "add", "with": {"n": 1}, "concurrency": 1},
    ]
    step = {"id": "a", "for_each": list(range(ITEMS)), "with": {"seconds": 0.002}, "chunk_size": 25}
    step |= {"pipeline": stages, "resources": {"memory": 100}}
    here = pools(place.client.redis, place.client.settings)

    def ended() -> int:
        return int((handle.status().steps["a"].message or "0").split()[0])

    with started(first := worker(place, app="tests.engine.mapping_app", concurrency=3)):
        handle = place.client.submit({"name": "killed", "steps": [step]})
        eventually(lambda: ended() > 100, within=SECONDS, what="some items have ended")
        os.kill(first.children()[0], signal.SIGKILL)
        at = ended()
        eventually(lambda: ended() > at + 50, within=SECONDS, what="it goes on")
        first.kill()
        assert ended() < ITEMS, "it was killed in the middle"
        assert [(one.step, one.takes["memory"]) for one in here.status().holders] == [("a", 100)]
    with started(worker(place, "w2", app="tests.engine.mapping_app", concurrency=3)):
        status = handle.wait(SECONDS)
        eventually(lambda: not here.status().holders, within=SECONDS, what="its lease is over")
    assert status.state is RunState.SUCCESS, status
    results = [2 * number + 1 for number in range(ITEMS)]
    assert handle.result()["a"] == {"count": ITEMS, "failed": 0, "results": results}
    calls = place.client.redis.hgetall(f"effects:{handle.id}:double")
    assert {int(item) for item in calls} == set(range(ITEMS))
    told = place.client.redis.hmget(f"orc:{{{handle.id}}}:x:a", "items", "ended", "bad", "open:0")
    assert [int(value or 0) for value in told] == [ITEMS, ITEMS, 0, 0]
