"""Whatever the graph, its groups and its failures: a run whose steps all end, ends."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.run.models import FINAL_RUN_STATES, RunState
from orchestrator.run.replies import Claimed, Moved
from orchestrator.workflow.models import GroupSpec, WorkflowSpec
from tests.state.bench import Bench, spec, step
from tests.state.graphs import workflows


def play(bench: Bench, workflow: WorkflowSpec, fates: dict[str, str], *, sequential: bool = False) -> RunState:
    """Be the worker: end every released step as its fate says, judge every barrier, until nothing moves. The barrier of
    the group h is content with any success."""
    return go_on(bench, bench.create(workflow, sequential=sequential), fates, sequential=sequential)


def go_on(bench: Bench, moved: Moved, fates: dict[str, str], *, sequential: bool = False) -> RunState:
    ready = [definition["id"] for definition in moved.released]
    joined, succeeded = list(moved.joined), set[str]()
    while ready or joined:
        at_once = [name for name in ready if not name.endswith("-validates")]
        assert not sequential or len(at_once) <= 1, "two steps at a time"
        if joined:
            node = joined.pop()
            group = bench.ledger.group("run", node)
            assert group is not None, node
            members = group.definition["members"]
            done = [name for name in members if name in succeeded]
            state = "success" if len(done) >= (1 if node == "@h" else len(members)) else "failed"
            answer: object = bench.ledger.judge(
                "run", node, state, decision="", members=members, branches=done, filled=(), fields=()
            )
        else:
            name = ready.pop()
            granted = bench.claim(name)
            assert isinstance(granted, Claimed), (name, granted)
            answer = bench.ledger.finish("run", name, fates[name], token=granted.token, executed=False)
            succeeded |= {name} if fates[name] == "success" else set()
        assert isinstance(answer, Moved), answer
        ready += [definition["id"] for definition in answer.released]
        joined += answer.joined
    return bench.reader.state("run")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workflow=workflows(), data=st.data(), sequential=st.booleans())
def test_a_run_ends_whatever_fails(
    store_url: str, workflow: WorkflowSpec, data: st.DataObject, sequential: bool
) -> None:
    names = [name for one in workflow.steps for name in (one.id, f"{one.id}-validates")]
    fates = {name: data.draw(st.sampled_from(["success", "success", "failed", "skipped"]), name) for name in names}
    bench = Bench(store_url)
    bench.client.flushdb()
    state = play(bench, workflow, fates, sequential=sequential)
    assert state in FINAL_RUN_STATES, {name: one.state.value for name, one in bench.reader.status("run").steps.items()}
    again = bench.ledger.retry("run")
    assert isinstance(again, Moved)
    state = go_on(bench, again, dict.fromkeys(fates, "success"), sequential=sequential)
    assert state in FINAL_RUN_STATES, {name: one.state.value for name, one in bench.reader.status("run").steps.items()}


@pytest.mark.parametrize("fate", ["success", "failed"])
def test_two_groups_that_start_behind_each_other_do_not_stand_still(store_url: str, fate: str) -> None:
    workflow = spec(
        step("q", group="g2"), step("x1", "q", group="g1"), step("x2", group="g1"), step("p", "x1", "x2", group="g2"),
        groups=(GroupSpec(id="g2", steps=("q", "p")), GroupSpec(id="g1", steps=("x1", "x2"))),
    )  # fmt: skip
    bench = Bench(store_url)
    assert play(bench, workflow, dict.fromkeys(("q", "x1", "x2", "p"), fate)) in FINAL_RUN_STATES


def test_a_member_that_fails_does_not_stop_another_member_that_waits_for_it(store_url: str) -> None:
    workflow = spec(step("m", group="g"), step("c", "m", group="g"), groups=(GroupSpec(id="g", steps=("m", "c")),))
    bench = Bench(store_url)
    assert play(bench, workflow, {"m": "failed", "c": "success"}) is RunState.FAILED
