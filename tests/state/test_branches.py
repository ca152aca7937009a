"""Steps that read what a member of a group wrote before its barrier has merged it, and change the same place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestrator.context.reader import ContextReader
from orchestrator.engine.commits import Written, complete
from orchestrator.engine.join_context import merge_members
from orchestrator.engine.runtime import Runtime
from orchestrator.run.replies import Claimed, Moved
from orchestrator.settings import EngineSettings
from orchestrator.workflow.models import GroupSpec, TriggerRule, WorkflowSpec
from tests.state.bench import Bench, released, shared, spec, step
from tests.state.graphs import workflows

G = GroupSpec(id="g", steps=("b", "c"))


def work(bench: Bench, runtime: Runtime, name: str, granted: Claimed | None = None, **entries: Any) -> dict[str, Any]:
    """An attempt reads the board, sets entries of it and commits; what it has read."""
    granted = granted or bench.granted(name)
    held = ContextReader(bench.context, "run", version=granted.version, branches=granted.branches)
    seen: dict[str, Any] = held.field("plan.board", {})
    main = held.seen("plan.board")
    write = shared("plan.board", {**seen, **entries}, 0 if main is None else main.version)
    moved = complete(runtime, "run", granted, held, Written((write,), {}))
    assert isinstance(moved, Moved), moved
    return seen


def join(bench: Bench, runtime: Runtime, group: str, *members: str) -> Moved:
    definition = {"id": f"@{group}", "group": group, "members": list(members), "barrier": {}}
    joined = merge_members(runtime, "run", definition, {})
    moved = bench.ledger.judge(
        "run", f"@{group}", "success", decision="", members=members, branches=joined.branches, fields=joined.fields,
        conflicts=joined.left.records, absorbed=joined.absorbed,
    )  # fmt: skip
    assert isinstance(moved, Moved), moved
    return moved


def board(bench: Bench) -> Any:
    return bench.context.documents("run")["plan"]["board"]


def outside() -> WorkflowSpec:
    """b and c side by side; `after` and then `further` behind b alone, `other` beside everything, `all` behind both."""
    after = (step("after", "b"), step("further", "after"), step("other", "a"), step("all", "b", "c"))
    return spec(step("a"), step("b", "a", group="g"), step("c", "a", group="g"), *after, groups=(G,))


def test_a_place_that_was_changed_upon_a_branch_is_no_conflict_for_its_barrier(bench: Bench, runtime: Runtime) -> None:
    bench.create(outside())
    work(bench, runtime, "a", count=1)
    work(bench, runtime, "b", count=2)
    assert work(bench, runtime, "after", count=3) == {"count": 2}
    assert board(bench) == {"count": 3}
    work(bench, runtime, "c", c=True)
    join(bench, runtime, "g", "b", "c")
    assert board(bench) == {"count": 3, "c": True}
    assert bench.context.conflicts("run") == []


def test_what_was_written_upon_a_branch_is_seen_by_those_behind(bench: Bench, runtime: Runtime) -> None:
    bench.create(outside())
    work(bench, runtime, "a", a=1)
    work(bench, runtime, "b", b=1)
    held = bench.granted("after")
    work(bench, runtime, "after", held, after=1)
    assert work(bench, runtime, "further", further=1) == {"a": 1, "b": 1, "after": 1}
    early = ContextReader(bench.context, "run", version=held.version, branches=held.branches)
    assert early.field("plan.board") == {"a": 1, "b": 1}, "an attempt goes on reading what it has read"


def test_who_writes_upon_a_branch_loses_nothing_that_the_main_line_got_meanwhile(
    bench: Bench, runtime: Runtime
) -> None:
    bench.create(outside())
    work(bench, runtime, "a", a=1)
    b = bench.granted("b")
    work(bench, runtime, "other", other=1)
    work(bench, runtime, "b", b, b=1)
    assert work(bench, runtime, "after", after=1) == {"a": 1, "b": 1, "other": 1}, "the branch lies over the main line"
    assert board(bench) == {"a": 1, "other": 1, "b": 1, "after": 1}


def test_a_barrier_may_merge_before_who_read_the_branch_commits(bench: Bench, runtime: Runtime) -> None:
    bench.create(outside())
    work(bench, runtime, "a", count=1)
    work(bench, runtime, "b", count=2)
    after = bench.granted("after")
    work(bench, runtime, "c", c=1)
    assert released(join(bench, runtime, "g", "b", "c")) == {"all"}
    work(bench, runtime, "after", after, count=3)
    assert board(bench) == {"count": 3, "c": 1}
    assert bench.context.conflicts("run") == []


def test_who_begins_anew_takes_no_edit_of_others_away(bench: Bench, runtime: Runtime) -> None:
    bench.create(outside())
    work(bench, runtime, "a", a=1)
    work(bench, runtime, "b", b=1)
    work(bench, runtime, "after", after=1)
    assert isinstance(bench.ledger.retry("run", step="after"), Moved)
    assert work(bench, runtime, "after", after=2) == {"a": 1, "b": 1, "after": 1}
    work(bench, runtime, "c", c=1)
    join(bench, runtime, "g", "b", "c")
    assert board(bench) == {"a": 1, "b": 1, "after": 2, "c": 1}
    assert bench.context.conflicts("run") == []


@pytest.mark.parametrize("order", ["gh", "hg"])
def test_a_member_of_another_group_may_write_upon_a_branch(bench: Bench, runtime: Runtime, order: str) -> None:
    members = (step("b", "a", group="g"), step("c", "a", group="g"), step("d", "b", group="h"), step("e", group="h"))
    groups = (G, GroupSpec(id="h", steps=("d", "e")))
    bench.create(spec(step("a"), *members, step("last", "b", "c", "d", "e"), groups=groups))
    work(bench, runtime, "a", count=1)
    work(bench, runtime, "b", count=2)
    work(bench, runtime, "c", c=1)
    if order == "gh":
        d = bench.granted("d") if bench.state("d") == "queued" else None
        join(bench, runtime, "g", "b", "c")
        work(bench, runtime, "d", d, count=3)
    else:
        work(bench, runtime, "d", count=3)
    work(bench, runtime, "e", e=1)
    join(bench, runtime, "h", "d", "e")
    if order == "hg":
        assert board(bench) == {"count": 3, "e": 1}
        join(bench, runtime, "g", "b", "c")
    assert board(bench) == {"count": 3, "c": 1, "e": 1}
    assert bench.context.conflicts("run") == []


@pytest.mark.parametrize("members", [("b", "c"), ("c", "b")])
def test_a_member_may_write_upon_what_another_member_wrote(
    bench: Bench, runtime: Runtime, members: tuple[str, str]
) -> None:
    groups = (GroupSpec(id="g", steps=members),)
    bench.create(spec(step("a"), step("b", "a", group="g"), step("c", "b", group="g"), groups=groups))
    work(bench, runtime, "a", count=1)
    work(bench, runtime, "b", count=2)
    assert work(bench, runtime, "c", count=3) == {"count": 2}
    join(bench, runtime, "g", *members)
    assert board(bench) == {"count": 3}
    assert bench.context.conflicts("run") == []


@settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(workflow=workflows(rules=[TriggerRule.ALL_SUCCESS]), data=st.data())
def test_whatever_the_graph_and_the_order_no_edit_is_lost(
    store_url: str, workflow: WorkflowSpec, data: st.DataObject
) -> None:
    """Every step adds an entry to one shared value, and changes one that its predecessors have changed before."""
    bench, runtime = Bench(store_url), Runtime(store_url, EngineSettings())
    bench.client.flushdb()
    moved: Any = bench.create(workflow)
    ready, joined, running = released(moved), set(moved.joined), dict[str, Claimed]()
    while ready or joined or running:
        chosen = data.draw(st.sampled_from(sorted((*ready, *joined, *running))))
        if chosen in ready:
            ready.remove(chosen)
            running[chosen] = bench.granted(chosen)
            continue
        if chosen in joined:
            joined.remove(chosen)
            group = bench.ledger.group("run", chosen)
            assert group is not None
            moved = join(bench, runtime, chosen[1:], *group.definition["members"])
        else:
            granted = running.pop(chosen)
            ready |= {link[0] for link in granted.definition.get("next", ())[:1]}  # travels with the same message
            held = ContextReader(bench.context, "run", version=granted.version, branches=granted.branches)
            if "validates_as" in granted.definition:
                moved = bench.end(chosen, granted, {"valid": True, "findings": []})
            else:
                seen, main = held.field("plan.board", {}), held.seen("plan.board")
                assert set(workflow.step(chosen).needs) <= seen.keys(), (chosen, seen)
                write = shared("plan.board", {**seen, chosen: True}, 0 if main is None else main.version)
                moved = complete(runtime, "run", granted, held, Written((write,), {}))
        assert isinstance(moved, Moved), moved
        ready |= released(moved)
        joined |= set(moved.joined)
    assert bench.reader.state("run") == "success"
    assert board(bench) == {one.id: True for one in workflow.steps}
    assert bench.context.conflicts("run") == []
