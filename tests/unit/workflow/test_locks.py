"""Locks that steps and groups declare: how they are written, what is refused, and what the ledger gets."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.run.nodes import Node, compile_nodes
from orchestrator.run.shape import Shape
from orchestrator.settings import EngineSettings
from orchestrator.workflow.builder import Workflow
from orchestrator.workflow.loader import load_workflow, load_workflow_text, validate
from orchestrator.workflow.plan import make_plan
from orchestrator.workflow.writer import to_yaml

TEXT = """
name: locks
steps:
  - {id: a, priority: 3, locks: {requirements: write, board: read}}
  - {id: b, needs: [a]}
  - {id: c, needs: [b], locks: {board: write}}
execution_groups:
  g:
    agents: [{id: m, agent: x, locks: {board: read}}, {id: n, agent: x}]
    needs: [c]
    locks: {board: write}
"""


def nodes(text: str = TEXT, **engine: Any) -> dict[str, Node]:
    shape = Shape.of(EngineSettings.model_validate(engine))
    return {node.id: node for node in compile_nodes(make_plan(load_workflow_text(text)), str, shape)}


def test_what_is_declared_reaches_the_ledger_and_the_worker() -> None:
    found = nodes()
    assert found["a"].locks == "3 board:r5 requirements:w1"
    assert found["a"].definition["locks"] == {"requirements": "write", "board": "read"}
    assert found["b"].locks is None
    assert found["@g"].locks == found["m"].group_locks == found["n"].group_locks == "10 board:w1"
    assert (found["m"].locks, found["n"].locks) == ("10 board:r5", None)
    assert found["n"].definition["group_locks"] == {"board": "write"}
    assert [link[0] for link in found["a"].definition["next"]] == ["b"], "c may have to wait for its lock"


def test_how_many_may_hold_a_lock_is_the_deployments() -> None:
    pool = {"resource_pool": {"context_store": {"concurrent_readers": 2, "concurrent_writers": 3}}}
    assert nodes(resource_manager=pool)["a"].locks == "3 board:r2 requirements:w3"


def test_without_the_phase_groups_take_no_locks() -> None:
    found = nodes(barrier_synchronization={"phases": {"phase_1_initiation": ["begin_progress_monitoring"]}})
    assert (found["@g"].locks, found["m"].group_locks) == (None, None)
    assert "group_locks" not in found["m"].definition
    assert found["m"].locks == "10 board:r5"


def test_what_is_read_can_be_written_and_built() -> None:
    spec = load_workflow_text(TEXT)
    assert load_workflow_text(to_yaml(spec)) == spec
    flow = Workflow("locks")
    flow.step("a", priority=3, locks={"requirements": "write", "board": "read"}) >> flow.step("b")
    assert flow.spec().step("a").locks == spec.step("a").locks


def steps(*extra: dict[str, Any], **group: Any) -> dict[str, Any]:
    members = [{"id": "m"}, {"id": "n"}]
    return {"name": "w", "steps": list(extra), "execution_groups": {"g": {"agents": members, **group}}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (steps({"id": "a", "locks": {"x": "both"}}), "'both' is not accepted (known: read, write)"),
        (steps({"id": "a", "locks": {"pm.requirements": "read"}}), "pm.requirements"),
        (steps(locks={"x": "read"}, parallel_capable=False), "runs one after another: there is no barrier"),
        (steps(locks={"x": "read"}, agents=["m"]), "has one member: there is no barrier"),
        (
            steps(locks={"x": "read"}, agent_specifications={"m": {"locks": {"x": "write"}}}),
            "'m' locks 'x' to write, and its group 'g' does not",
        ),
        (
            steps(locks={"x": "write"}, agent_specifications={"m": {"locks": {"y": "read"}}}),
            "'m' locks 'y' to read, and its group 'g' does not",
        ),
        (
            steps(
                {"id": "between", "needs": ["m"], "locks": {"x": "read"}},
                locks={"x": "write"}, agent_specifications={"n": {"needs": ["between"]}},
            ),
            "'between' runs between members of group 'g', which holds the lock of 'x'",
        ),
    ],
)  # fmt: skip
def test_what_could_never_be_had_is_refused(document: dict[str, Any], message: str) -> None:
    (problem,) = validate(document).problems
    assert message in str(problem)


def test_readers_between_readers_wait_for_nobody() -> None:
    between = {"id": "between", "needs": ["m"], "locks": {"x": "read"}}
    load_workflow(steps(between, locks={"x": "read"}, agent_specifications={"n": {"needs": ["between"]}}))
