"""Runs and pools together, without workers: each of the three steps of an admission may be lost, and nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from msgspec.structs import replace

from orchestrator import keys
from orchestrator.cli.pools import waits
from orchestrator.engine import admission, recovery, runtime
from orchestrator.engine.app import create_app
from orchestrator.engine.join import follow
from orchestrator.engine.runtime import runtime_of, transitions
from orchestrator.resources.policy import Fate, Standing
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.replies import Claimed, Moved
from orchestrator.run.shape import Shape
from orchestrator.run.transitions import NO_MAIL, Transitions
from orchestrator.scripts import Script
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import GroupSpec, Resources, StepSpec, WorkflowSpec
from orchestrator.workflow.plan import make_plan
from tests.state.pool_stories import tell
from tests.workers import eventually

SETTINGS = EngineSettings.model_validate({"engine": {"lease_seconds": 0.002, "renew_seconds": 0.001}})
"""Leases on pools are looked at again after 2 ms."""


@pytest.fixture
def app(store_url: str) -> Celery:
    return create_app(store_url, store_url, SETTINGS, set_as_current=False)


def test_stories_with_crashes_between_any_two_steps(app: Celery) -> None:
    for seed in range(8):
        tell(app, seed)


@pytest.mark.parametrize(("resources", "scripts"), [(None, [1, 1, 1]), ({"cpu": 60.0}, [3, 3, 2])])
def test_a_step_with_resources_costs_two_round_trips_more(
    app: Celery, resources: dict[str, float] | None, scripts: list[int]
) -> None:
    """A run of two steps: its creation, the end of the first one, and that of the last one, which only gives back."""
    runtime, sent = runtime_of(app), list[int]()
    wants: dict[str, Any] = {} if resources is None else {"resources": Resources.model_validate(resources)}
    steps = (StepSpec(id="a", agent="noop", **wants), StepSpec(id="b", agent="noop", needs=("a",), **wants))
    nodes = compile_nodes(make_plan(WorkflowSpec(name="two", steps=steps)), str, Shape.of(runtime.settings))

    for warm in (True, False):
        runtime.client.flushdb()
        if not warm:
            sent.clear()
        begun = _scripts(runtime.client)
        follow(app, "run", _moved(runtime.ledger.create("run", nodes, workflow="two", spec="{}", inputs={})))
        sent.append(_scripts(runtime.client) - begun)
        for step in ("a", "b"):
            granted = runtime.ledger.claim("run", step, worker="w", owner="w", lease=100)
            assert isinstance(granted, Claimed)
            begun = _scripts(runtime.client)
            follow(app, "run", _moved(runtime.ledger.finish("run", step, "success", token=granted.token)))
            sent.append(_scripts(runtime.client) - begun)
    assert sent == scripts
    assert not runtime.pools.status().holders


def _moved(answer: object) -> Moved:
    assert isinstance(answer, Moved), answer
    return answer


def _scripts(client: Any) -> int:
    """How many scripts clients have sent."""
    stats = client.info("commandstats")
    return sum(int(stats[name]["calls"]) for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)


CPU = Resources(cpu=30.0)
APART = {"barrier_synchronization": {"phases": {"phase_1_initiation": ["begin_progress_monitoring"]}}}
"""The deployment does not say that the members of groups start together."""


class Places:
    """Runs without workers, in a deployment with places for three agents."""

    def __init__(self, app: Celery) -> None:
        self.app, self.runtime = app, runtime_of(app)

    def submit(self, run_id: str, *steps: str, grouped: bool, heard: bool = True) -> None:
        """`heard`: the pools hear of it; otherwise the process that has created the run dies there."""
        spec = WorkflowSpec(
            name=run_id, steps=tuple(StepSpec(id=name, agent="noop", group="g" if grouped else None, resources=CPU)
                                     for name in steps),
            groups=(GroupSpec(id="g", steps=steps),) if grouped else (),
        )  # fmt: skip
        nodes = compile_nodes(make_plan(spec), str, Shape.of(self.runtime.settings))
        moved = _moved(self.runtime.ledger.create(run_id, nodes, workflow=run_id, spec="{}", inputs={}))
        if heard:
            follow(self.app, run_id, moved)

    def end(self, run_id: str, step: str) -> None:
        granted = self.runtime.ledger.claim(run_id, step, worker="w", owner="w", lease=100)
        assert isinstance(granted, Claimed)
        follow(self.app, run_id, _moved(self.runtime.ledger.finish(run_id, step, "success", token=granted.token)))

    def have(self) -> str:
        """The steps that have a lease and are in their queues."""
        held = [(one.run_id, one.step) for one in self.runtime.pools.status().holders]
        for run_id, step in held:
            assert self.runtime.client.hget(keys.run_key(run_id, f"s:{step}"), "state") == b"queued"
        return " ".join(sorted(run_id + step for run_id, step in held))

    def sweep(self) -> None:
        """As it will be when time has gone by."""
        for run_id in ("a", "b"):
            self.runtime.client.zadd(keys.run_key(run_id, "due"), {"pool:1": 0, "pool:2": 0}, xx=True)
            self.runtime.client.zadd(keys.ACTIVE, {run_id: 0})
        recovery.sweep(self.app)

    def sweeps_until_queued(self, run_id: str, *steps: str) -> bool:
        self.sweep()
        found = [self.runtime.client.hget(keys.run_key(run_id, f"s:{step}"), "state") for step in steps]
        return found == [b"queued"] * len(steps)


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, ["h1 h2", "h1 h2", "a1 a2 h2", "a2 h2", "a2 b1 b2"]),
        (APART, ["a1 h1 h2", "a1 h1 h2", "a1 b1 h2", "a2 b1 h2", "a2 b1 b2"]),
    ],
)
def test_of_two_groups_that_need_two_of_three_places_one_starts_whole(
    store_url: str, settings: dict[str, Any], seen: list[str]
) -> None:
    """Unless the deployment does not want members to start together: then, fairly, each group gets half of it."""
    whole = EngineSettings.model_validate(settings)
    places = Places(create_app(store_url, store_url, whole, set_as_current=False))
    places.submit("h", "1", "2", grouped=False)
    found = []
    for run_id in "ab":
        places.submit(run_id, "1", "2", grouped=True)
        found.append(places.have())
    for run_id, step in (("h", "1"), ("a", "1"), ("h", "2")):
        places.end(run_id, step)
        found.append(places.have())
    assert found == seen


def test_what_needs_less_passes_a_group_and_one_that_never_fits_starts_piece_by_piece(app: Celery) -> None:
    places = Places(app)
    places.submit("h", "1", "2", grouped=False)
    places.submit("a", "1", "2", grouped=True)
    places.submit("b", "1", grouped=False)
    assert places.have() == "b1 h1 h2"
    for run_id, step in (("b", "1"), ("h", "1"), ("h", "2"), ("a", "1"), ("a", "2")):
        places.end(run_id, step)
    places.submit("c", "1", "2", "3", "4", grouped=True)
    assert places.have() == "c1 c2 c3"
    places.end("c", "2")
    assert places.have() == "c1 c3 c4"


def test_a_pause_and_an_end_take_a_waiting_group_out_of_line(app: Celery) -> None:
    places = Places(app)
    places.submit("h", "1", "2", grouped=False)
    places.submit("a", "1", "2", grouped=True)
    ledger, pools = places.runtime.ledger, places.runtime.pools
    follow(app, "a", _moved(ledger.pause("a")))
    assert not pools.status().waiting
    follow(app, "a", _moved(ledger.resume("a")))
    assert [(one.step, one.beside) for one in pools.status().waiting] == [("1", ("2",)), ("2", ("1",))]
    follow(app, "a", _moved(ledger.expire("a", "1", error="nobody took it in time")))
    assert [(one.step, one.beside) for one in pools.status().waiting] == []
    assert places.have() == "a2 h1 h2"
    for run_id in "ah":
        follow(app, run_id, _moved(ledger.stop(run_id, "cancelled", reason="", grace=1)))
    assert set(places.runtime.client.keys("orc:{pools}:*")) <= {b"orc:{pools}:waits", b"orc:{pools}:virtual"}


@pytest.mark.parametrize("dies", ["before the pools hear", "before the run hears"])
def test_a_group_that_lost_one_of_the_steps_of_its_admission_still_starts_whole(
    app: Celery, dies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(app)
    places.submit("h", "1", "2", grouped=False)
    places.submit("a", "1", "2", grouped=True, heard=dies != "before the pools hear")
    if dies == "before the pools hear":
        assert not places.runtime.pools.status().waiting
        places.sweep()
        status = places.runtime.pools.status()
        assert [(one.step, one.beside) for one in status.waiting] == [("1", ("2",)), ("2", ("1",))]
        assert next(waits(status, "a")).startswith("1 waits, to start together with 2, for agents, which h/1 (1), h/2")
        assert places.have() == "h1 h2"
        places.end("h", "1")
    else:
        with monkeypatch.context() as dead:
            dead.setattr(admission, "_carry_out", lambda *_: [])
            places.end("h", "1")
        states = [places.runtime.client.hget(keys.run_key("a", f"s:{step}"), "state") for step in "12"]
        assert states == [b"ready", b"ready"]
        eventually(lambda: places.sweeps_until_queued("a", "1", "2"), within=10, what="a sweep tells the run")
    assert places.have() == "a1 a2 h2"


def hunt(app: Celery) -> None:
    """Many stories, until one goes wrong."""
    for seed in range(80):
        tell(app, seed)


def _fragment(name: str, before: str, after: str) -> Callable[[Transitions], Transitions]:
    def plant(good: Transitions) -> Transitions:
        source = getattr(good, name).source
        assert source.count(before) == 1, (name, before)
        changes: dict[str, Any] = {name: Script(source.replace(before, after))}
        return replace(good, **changes)

    return plant


MUTANTS: dict[str, Callable[[Transitions], Transitions]] = {
    "a grant of before a pause is taken": _fragment(
        "grant", "tonumber(f[2] or 0) == one[2] and going", "f[1] == 'ready'"
    ),
    "a step that is tried again keeps its number": _fragment("finish", "  end_lease(A.step, f[6])\n", ""),
    "a pause keeps leases on paper": _fragment("pause", "end_lease(node, s[4], s[5])", "end_lease(node, nil, s[5])"),
    "a resumed step needs no lease": _fragment("resume", "f[8] and not f[9]", "f[8] and f[7] == 'pending'"),
}


@pytest.mark.proofs
@pytest.mark.parametrize("name", MUTANTS)
def test_the_stories_find(name: str, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = MUTANTS[name](transitions(runtime_of(app).mail()))
    monkeypatch.setattr(runtime, "transitions", lambda mail=NO_MAIL: broken)
    with pytest.raises(AssertionError):
        hunt(app)


@pytest.mark.proofs
def test_the_stories_find_leases_that_nobody_looks_at(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(lease: int, standing: Standing) -> Fate:
        return Fate.KEEP

    monkeypatch.setattr(admission, "judge", judge)
    with pytest.raises(AssertionError, match=r"left|for ever"):
        hunt(app)
