"""Processes die between two lines that belong together; the run ends all the same, each effect once, nothing is left.

With queues and ledger on one server, released steps leave with the transition that releases them; with queues elsewhere
a process publishes them. Both ways, at the same time, in two fleets.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestrator import Client, RunHandle, keys
from orchestrator.run.models import FINAL_RUN_STATES, FINAL_STEP_STATES, RunState, StepState
from tests.conftest import ROOT, Store, empty_database
from tests.faults.failing_client import RUNS_EACH
from tests.faults.failpoints import FOLDER, KILL, RAISE, arm, unreached
from tests.faults.scenes import started
from tests.servers import ValkeyServer
from tests.workers import QUICK_ENGINE, Worker, eventually

SECONDS = 30
VISIBILITY = 3
APP = "tests.faults.failing_app"


class Fleet:
    """Two workers, each of which may die and is then started anew, as a supervisor does it."""

    def __init__(self, store: Store, broker: Store, folder: Path) -> None:
        self.store, self.broker, self.points = store, broker, folder / "points"
        self.points.mkdir()
        engine = folder / "engine.yaml"
        engine.write_text(f"{QUICK_ENGINE.read_text()}  visibility_timeout: {VISIBILITY}\n")
        self.environment = {
            "ORCHESTRATOR_ENGINE_FILE": str(engine),
            "ORCHESTRATOR_BROKER_URL": broker.url,
            FOLDER: str(self.points),
        }
        self.workers = [
            Worker(store.url, folder, name=name, concurrency=2, app=APP, environment=self.environment)
            for name in ("w1", "w2")
        ]
        self.client = Client(store.url, broker_url=broker.url)


@dataclass(frozen=True, slots=True)
class Fleets:
    """The same faults strike both, and both are waited for."""

    together: Fleet
    apart: Fleet

    def __iter__(self) -> Iterator[Fleet]:
        return iter((self.together, self.apart))

    def mend(self) -> None:
        every = [worker for fleet in self for worker in fleet.workers]
        Worker.start_all(*(one for one in every if one.process is None or one.process.poll() is not None))

    def struck(self, points: Mapping[str, str], document: Mapping[str, Any]) -> list[RunHandle]:
        """Set failpoints in both, and submit a run to both."""
        self.mend()
        for fleet in [self.apart] if "closing" in points else self:  # of one server, the decision closes the chord
            if "claiming" in points:
                eventually(partial(nobody_waits, fleet.client.redis), within=10, what="steps are claimed")
            arm(fleet.points, points)
        return [fleet.client.submit(document) for fleet in self]

    def reached(self) -> None:
        eventually(lambda: not any(map(unreached, [fleet.points for fleet in self])), within=5, what="every failpoint")


@pytest.fixture(scope="module")
def fleets(valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleets]:
    one, other, queues = (empty_database(valkey_server) for _ in range(3))
    fleets = Fleets(
        Fleet(one, one, tmp_path_factory.mktemp("together")), Fleet(other, queues, tmp_path_factory.mktemp("apart"))
    )
    with started(*(worker for fleet in fleets for worker in fleet.workers)):
        yield fleets
    for fleet in fleets:
        fleet.client.close()


def nobody_waits(client: Any) -> bool:
    """Whether all steps go through their queues, because no process waits to be handed one."""
    return not any(client.zcount(queue, time.time(), "+inf") for queue in client.scan_iter(f"{keys.WAITING}:*"))


def step(name: str, *needs: str, agent: str = "echo", **parameters: Any) -> dict[str, Any]:
    retry = {"initial_interval": 0.1}
    return {"id": name, "agent": agent, "with": parameters, "needs": list(needs), "retry": retry}


def workflow(agent: str = "echo", *, judged: bool = False, **parameters: Any) -> dict[str, Any]:
    """A chain, a group behind it, a step behind the group. Of a `judged` one the results are looked at, so that its
    barrier is not decided with the end of the last member."""
    barrier = {"consistency": [{"equal": ["x.echo", "y.echo"]}]} if judged else {}
    group = {"agents": [step("x"), step("y")], "dependencies": ["b"], "parallel_capable": True, "barrier": barrier}
    return {
        "name": "struck",
        "steps": [step("a", agent=agent, **parameters), step("b", "a"), step("z", "x", "y")],
        "execution_groups": {"g": group},
    }


JUDGES = {"joined", "decided", "counted"}
"""Failpoints on the way of a judge."""


def each_effect_once(handle: RunHandle, attempts: Mapping[str, int], *, begun: Sequence[str] = ()) -> None:
    """`begun` are steps with which the process that died may just have gone on."""
    status = handle.wait(SECONDS)
    told = "\n".join(f"{event.at:.3f} {event.type} {event.step} {event.state}" for event in handle.events(follow=False))
    assert status.state is RunState.SUCCESS, told
    ended = Counter(event.step for event in handle.events(follow=False) if event.state == "success" and event.step)
    assert {name: ended[name] for name in status.steps} == dict.fromkeys(status.steps, 1), told
    authors = Counter(version.author for version in handle.history())
    assert set(authors.values()) == {1}, told
    made = {name: step.attempts for name, step in status.steps.items()}
    assert sum(made[name] for name in begun) <= len(begun) + 1, told
    assert made == {name: made[name] if name in begun else attempts.get(name, 1) for name in status.steps}, told


@pytest.mark.parametrize(
    "points",
    [
        {"taken": KILL},
        {"claiming": KILL},
        {"ended": KILL},
        {"joined": KILL},
        {"decided": KILL},
        {"closing": KILL},
        {"joined": RAISE, "counted": KILL},
        {"claiming": KILL, "repaired": KILL},
    ],
    ids="-".join,
)
def test_a_run_comes_through_a_death_at(fleets: Fleets, points: Mapping[str, str]) -> None:
    """Nothing that an attempt did is lost with it, so no step needs a second one, but for one that the process had just
    begun without a message."""
    together, apart = fleets.struck(points, workflow(judged=not JUDGES.isdisjoint(points)))
    each_effect_once(together, {}, begun=("b", "x", "y", "z"))
    each_effect_once(apart, {})
    fleets.reached()


def test_an_attempt_that_failed_is_made_again_although_its_process_died_with_the_news(fleets: Fleets) -> None:
    for handle in fleets.struck({"ended": KILL}, workflow("fail", times=1)):
        each_effect_once(handle, {"a": 2})
    fleets.reached()


def gapped(member: str, **barrier: Any) -> dict[str, Any]:
    """A group whose second member may stay away, and a step behind it."""
    stays = step("y", agent=member, **({"seconds": 3} if member == "sleep" else {}))
    stays |= {"retry": {"maximum_attempts": 1}, "defaults": {"by": "default"}}
    timeout = {"timeout": barrier.pop("member_timeout")} if "member_timeout" in barrier else {}
    return {
        "name": "gapped",
        "steps": [step("z", "x", "y")],
        "execution_groups": {
            "g": {"agents": [step("x"), stays | timeout], "parallel_capable": True, "barrier": barrier}
        },
    }


def joined_once(handle: RunHandle) -> None:
    """The barrier has moved on once, with what stands for the missing member, whatever comes after it."""
    status = handle.wait(SECONDS)
    events = list(handle.events(follow=False))
    told = "\n".join(f"{event.at:.3f} {event.type} {event.step} {event.state}" for event in events)
    assert status.state is RunState.PARTIAL, told
    assert [event.state for event in events if event.type == "barrier"] == ["success"], told
    ends = [(event.step, event.state) for event in events if event.type == "step" and event.state in FINAL_STEP_STATES]
    assert sorted(name or "" for name, _ in ends) == ["x", "y", "z"], told
    assert ("y", "success") not in ends, told
    assert handle.result()["y"] == {"by": "default"}
    assert status.steps["z"].attempts <= 2, "it may have been handed to a process that was just killed"


@pytest.mark.parametrize("point", ["joined", "decided"])
def test_who_watches_a_barrier_dies_when_its_time_is_over(fleets: Fleets, point: str) -> None:
    for handle in fleets.struck({point: KILL}, gapped("hang", timeout=1)):
        joined_once(handle)
    fleets.reached()


def test_a_member_that_takes_too_long_has_arrived_once(fleets: Fleets) -> None:
    for handle in fleets.struck({}, gapped("hang", timeout=30, member_timeout=0.5)):
        joined_once(handle)


def test_a_member_that_wakes_up_behind_its_barrier_writes_nothing(fleets: Fleets) -> None:
    """It was frozen while its barrier, and the run, went on without it."""
    fleet = fleets.together
    fleets.mend()
    handle = fleet.client.submit(gapped("sleep", timeout=1.5))

    def only_y_runs() -> bool:
        steps = handle.status().steps
        return steps["x"].state is StepState.SUCCESS and bool(steps["y"].worker)

    eventually(only_y_runs, within=SECONDS, what="y runs, and x has ended")
    name = str(handle.status().steps["y"].worker).partition("@")[0]
    frozen = fleet.workers[0] if name == "w1" else fleet.workers[1]
    with frozen.frozen() as processes:
        joined_once(handle)
        for pid in processes[1:]:
            os.kill(pid, signal.SIGCONT)
        late = f"run {handle.id} step y: attempt 1 came late"
        eventually(lambda: late in frozen.text(), within=SECONDS, what=late)
    with fleet.broker.server.client(fleet.broker.database) as broker:
        eventually(lambda: not messages(broker), within=SECONDS, what="its work has ended")
    joined_once(handle)


def client_process(fleet: Fleet, *arguments: str) -> subprocess.Popen[str]:
    """Another process that submits the workflow."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.failing_client", fleet.store.url, fleet.broker.url, *arguments],
        cwd=ROOT, env={**os.environ, FOLDER: str(fleet.points)},
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(workflow()))
    process.stdin.close()
    process.stdin = None
    return process


def accepted(client: Client) -> set[str]:
    return {run.run_id for run in client.list(limit=1000)}


@pytest.mark.parametrize("point", ["reserved", "created"])
def test_a_client_dies_while_it_submits_and_is_asked_again(fleets: Fleets, point: str) -> None:
    fleets.mend()
    before = [accepted(fleet.client) for fleet in fleets]
    for fleet in fleets:
        arm(fleet.points, {point: KILL})
    clients = [client_process(fleet, point) for fleet in fleets]
    for fleet, process, known in zip(fleets, clients, before, strict=True):
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        there = accepted(fleet.client) - known
        assert len(there) == (1 if point == "created" else 0)
        for run in there:
            each_effect_once(fleet.client.get(run), {})
        again = fleet.client.submit(workflow(), idempotency_key=point)
        each_effect_once(again, {})
        assert accepted(fleet.client) - known == {again.id}


class Lost(BaseException):
    """The client's own patience has ended, or somebody has interrupted it."""


@pytest.mark.parametrize("error", [redis.TimeoutError, Lost])
def test_whichever_answer_is_lost_to_a_client_there_is_one_run(
    fleets: Fleets, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """The server has done what it was asked to; the client asks again by itself, or is called again with its key."""
    fleets.mend()
    before = [accepted(fleet.client) for fleet in fleets]
    replies = Replies(monkeypatch, error)
    submitted = [submitted_at_last(fleet.client, replies, error.__name__) for fleet in fleets]
    for fleet, handles, known in zip(fleets, submitted, before, strict=True):
        assert len(handles) > 3
        for handle in handles:
            each_effect_once(handle, {})
        assert accepted(fleet.client) - known == {handle.id for handle in handles}


def submitted_at_last(client: Client, replies: Replies, name: str) -> list[RunHandle]:
    """Runs of which the first lost the first answer, the second the second, and the last none."""
    handles: list[RunHandle] = []
    while True:
        replies.lose(len(handles))
        key = f"{name}-{len(handles)}"
        try:
            handle = client.submit(workflow(), idempotency_key=key)
        except Lost:
            handle = client.submit(workflow(), idempotency_key=key)
        handles.append(handle)
        if not replies.lost():
            return handles


class Replies:
    """Answers of Redis to this process: one of them gets lost, and the connection with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
        self._left = -1
        original = redis.Connection.read_response
        thread = threading.get_ident()

        def read_response(connection: redis.Connection, *args: Any, **kwargs: Any) -> Any:
            answer = original(connection, *args, **kwargs)
            if threading.get_ident() == thread and self._left >= 0:
                self._left -= 1
                if self._left < 0:
                    connection.disconnect()  # type: ignore[no-untyped-call, unused-ignore]
                    raise error("the answer is lost")
            return answer

        monkeypatch.setattr(redis.connection.AbstractConnection, "read_response", read_response)

    def lose(self, number: int) -> None:
        """The answer after so many others."""
        self._left = number

    def lost(self) -> bool:
        """Whether it was due; if not, all answers arrive again."""
        due, self._left = self._left < 0, -1
        return due


def test_processes_that_share_a_client_by_fork_do_not_disturb_each_other(fleets: Fleets) -> None:
    fleets.mend()
    process = client_process(fleets.apart, "--fork", "3")
    told, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    runs = told.split()
    assert len(set(runs)) == len(runs) == 1 + 4 * RUNS_EACH
    for run in runs:
        each_effect_once(fleets.apart.client.get(run), {})


def test_nothing_is_left_of_all_these_runs(fleets: Fleets) -> None:
    """Neither a message, taken or waiting, nor a lease, nor a key that does not expire."""
    fleets.mend()
    for fleet in fleets:
        runs = fleet.client.list(limit=1000)
        assert runs
        assert {run.state for run in runs} <= FINAL_RUN_STATES
        with (
            fleet.store.server.client(fleet.store.database) as store,
            fleet.broker.server.client(fleet.broker.database) as broker,
        ):
            eventually(lambda: not messages(broker), within=4 * VISIBILITY, what="every message is acknowledged")
            eventually(lambda: not store.zcard("orc:active"), within=10, what="no run is looked at any more")
            for run in runs:
                for key in store.scan_iter(f"*{run.run_id}*", count=1000):
                    assert store.pttl(key) != -1, key


def messages(broker: redis.Redis) -> list[str]:
    queues = [*broker.scan_iter("agents.*", _type="list"), *broker.scan_iter("control*", _type="list")]
    return [*queues, *(str(tag) for tag in broker.hkeys("unacked"))]
