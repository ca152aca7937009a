"""Runs and pools together, without workers: each of the three steps of an admission may be lost, and nothing is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery

from orchestrator.engine import admission, runtime
from orchestrator.engine.app import create_app
from orchestrator.engine.join import follow
from orchestrator.engine.runtime import runtime_of, transitions
from orchestrator.resources.policy import Fate, Standing
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.replies import Claimed, Moved
from orchestrator.run.shape import Shape
from orchestrator.run.store import NO_MAIL, Transitions
from orchestrator.scripts import Script
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import Resources, StepSpec, WorkflowSpec
from orchestrator.workflow.plan import make_plan
from tests.state.pool_stories import tell

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
