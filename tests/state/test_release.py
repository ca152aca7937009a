"""A barrier whose members have all succeeded is decided with the end of the last one, in the same script: what is left
in the store is what a judge leaves, and whatever needs more than that is left to a judge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import keys
from orchestrator.barrier.policy import ALL_SUCCEEDED
from orchestrator.context.fields import FieldWrite
from orchestrator.run.replies import Claimed, Moved
from orchestrator.workflow.models import BarrierSpec, CrossValidation, GroupSpec, TriggerRule, WorkflowSpec
from orchestrator.workflow.sharing import ConsistencyRule
from tests.state.bench import Bench, own, shared, spec, step
from tests.state.graphs import workflows

RELEASE = (ALL_SUCCEEDED.action.value, ALL_SUCCEEDED.reason)


def group(**barrier: Any) -> WorkflowSpec:
    """b and c side by side, z behind both."""
    groups = (GroupSpec(id="g", steps=("b", "c"), barrier=BarrierSpec(**barrier)),)
    return spec(*(step(name, group="g") for name in "bc"), step("z", "b", "c"), groups=groups)


def end(
    bench: Bench, name: str, state: str = "success", *writes: FieldWrite, release: bool = True, executed: bool = False
) -> Moved:
    granted = bench.claim(name)
    assert isinstance(granted, Claimed), (name, granted)
    fields = [*own(name, {"by": name}), *(write.payload() for write in writes)]
    moved = bench.ledger.finish(
        "run", name, state, token=granted.token, snapshot=granted.version, fields=fields, executed=executed,
        release=RELEASE if release else None,
    )  # fmt: skip
    assert isinstance(moved, Moved), moved
    return moved


def play(bench: Bench, workflow: WorkflowSpec, fates: dict[str, str], *, release: bool) -> set[str]:
    """Be the worker, until nothing moves; the barriers that were decided without a judge. Groups have to succeed as a
    whole."""
    bench.client.flushdb()
    moved = bench.create(workflow)
    ready, joined, decided, succeeded = set[str](), set[str](), set[str](), set[str]()
    while True:
        ready |= {definition["id"] for definition in moved.released}
        joined |= set(moved.joined)
        decided |= set(moved.decided)
        if joined:
            node = max(joined)
            joined.remove(node)
            state = bench.ledger.group("run", node)
            assert state is not None, node
            members = state.definition["members"]
            good = succeeded.issuperset(members)
            answer = bench.ledger.judge(
                "run", node, "success" if good else "failed", action=RELEASE[0] if good else "fail",
                decision=RELEASE[1] if good else "not all", members=members, branches=state.own_branches or (),
            )  # fmt: skip
            assert isinstance(answer, Moved), answer
            moved = answer
        elif ready:
            name = max(ready)
            ready.remove(name)
            succeeded |= {name} if fates[name] == "success" else set()
            moved = end(bench, name, fates[name], release=release)
        else:
            return decided


HIDDEN = (b"nonce", b"ending", b"header")
"""`header`: members of another group that are released in the same moment become one chord."""


def left(bench: Bench) -> dict[str, Any]:
    """All that is stored of the run, but what is random, the ids of events and how many travel together."""
    client: Any = bench.client
    found: dict[str, Any] = {}
    for key in client.scan_iter(f"{keys.run_prefix('run')}*"):
        kind, name = client.type(key), key.decode()
        if kind == b"hash":
            found[name] = {field: value for field, value in client.hgetall(key).items() if field not in HIDDEN}
        elif kind == b"zset":
            found[name] = dict(client.zrange(key, 0, -1, withscores=True))
        elif kind == b"stream":
            found[name] = [fields for _, fields in client.xrange(key)]
        else:
            assert kind == b"string", (name, kind)
            found[name] = client.get(key)
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workflow=workflows(), data=st.data())
def test_whatever_the_graph_it_leaves_what_a_judge_leaves(
    store_url: str, workflow: WorkflowSpec, data: st.DataObject
) -> None:
    names = [name for one in workflow.steps for name in (one.id, f"{one.id}-validates")]
    fates = {name: data.draw(st.sampled_from(["success", "success", "success", "failed"]), name) for name in names}
    bench = Bench(store_url)
    assert not play(bench, workflow, fates, release=False)
    judged = left(bench)
    play(bench, workflow, fates, release=True)
    assert left(bench) == judged
    bench.client.close()


def test_the_last_member_releases_what_stands_behind_its_group(bench: Bench) -> None:
    bench.create(group())
    assert end(bench, "b").decided == ()
    moved = end(bench, "c")
    assert (moved.decided, moved.joined, [one["id"] for one in moved.released]) == (("@g",), (), ["z"])
    assert bench.ledger.group("run", "@g") is None, "nobody decides again"
    due: Any = bench.client.zrange(keys.run_key("run", "due"), 0, -1)
    assert not [item for item in due if item.endswith(b":@g")], "nor looks at it"
    barrier = bench.reader.status("run").groups["g"]
    assert (barrier.action, barrier.reason) == RELEASE
    assert bench.context.documents("run", version=bench.granted("z").version) == {"b": {"by": "b"}, "c": {"by": "c"}}


def test_what_its_release_ends_is_looked_at_as_well(bench: Bench) -> None:
    """A group that runs when the first has failed does not run then."""
    groups = (GroupSpec(id="g", steps=("b", "c")), GroupSpec(id="h", steps=("y", "z")))
    after = (step(name, "b", "c", rule=TriggerRule.ALL_FAILED, group="h") for name in "yz")
    bench.create(spec(step("b", group="g"), step("c", group="g"), *after, groups=groups))
    end(bench, "b")
    moved = end(bench, "c")
    assert (moved.decided, moved.joined, bench.state("z").value) == (("@g",), ("@h",), "skipped")


def test_what_is_in_the_canvas_of_another_step_is_published(bench: Bench) -> None:
    """In a sequential run, members and a step behind them begin anew; the one before that in its chain has not."""
    group, behind = (step(name, group="g", priority=9) for name in "bc"), step("z", "y", priority=1)
    bench.create(spec(*group, step("y", priority=1), behind, groups=(GroupSpec(id="g", steps=("b", "c")),)),
                 sequential=True)  # fmt: skip
    end(bench, "b", executed=True)
    end(bench, "c", "failed", executed=True)
    bench.ledger.judge("run", "@g", "failed", decision="", members=("b", "c"), branches=("b",))
    end(bench, "y", executed=True)
    end(bench, "z", "failed", executed=True)
    assert isinstance(bench.ledger.retry("run", failed=True), Moved)
    moved = end(bench, "c", executed=True)
    assert (moved.decided, [one["id"] for one in moved.released]) == (("@g",), ["z"])


AUTHORS = ConsistencyRule(equal=("b.by", "c.by"))
LEFT = {
    "a member has failed": (group(), "failed", ()),
    "a member was skipped": (group(), "skipped", ()),
    "something has to be merged": (group(), "success", (shared("plan.board", {"c": 1}, 0),)),
    "its results have to fit together": (group(consistency=(AUTHORS,)), "success", ()),
}


@pytest.mark.parametrize("name", LEFT)
def test_a_judge_decides_where(bench: Bench, name: str) -> None:
    workflow, state, writes = LEFT[name]
    bench.create(workflow)
    end(bench, "b")
    moved = end(bench, "c", state, *writes)
    assert (moved.decided, moved.joined) == ((), ("@g",))
    assert bench.ledger.group("run", "@g") is not None


def test_validations_are_judged(bench: Bench) -> None:
    bench.create(group(cross_validation=CrossValidation(enabled=True)))
    end(bench, "b")
    moved = end(bench, "c")
    assert moved.decided == ("@g",)
    validators = [one["id"] for one in moved.released]
    assert len(validators) == 2
    assert [end(bench, name).joined for name in validators][-1] == ("@g.validation",)


def test_without_being_told_so_the_caller_judges(bench: Bench) -> None:
    bench.create(group())
    end(bench, "b", release=False)
    assert end(bench, "c", release=False).joined == ("@g",)
