"""The documents' own workflow blocks, run as they stand by the six agents on real workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from orchestrator import Client
from orchestrator.cli import main
from orchestrator.run.models import RunState, StepState
from tests.workers import idle

ROOT = Path(__file__).parents[2]
SEEDS = ROOT / "tests" / "fixtures" / "seeds"
SECONDS = 60


def test_the_execution_groups_run_as_they_stand(client: Client) -> None:
    handle = client.submit(SEEDS / "02_execution_groups.yaml")
    status = handle.wait(SECONDS)
    assert status.state is RunState.SUCCESS, {name: step.error for name, step in status.steps.items()}
    ux, architect = status.steps["ux_expert"], status.steps["architect"]
    assert (ux.queued_at or 0) == (architect.queued_at or 1), "they are released in the same moment"
    assert {"qa/report.md", "architect/openapi.json", "ux_expert/ui_spec.md"} <= set(handle.artifacts())


@pytest.mark.parametrize("form", ["prose", "values"])
def test_the_enhanced_step_runs_with_its_missing_inputs_given(client: Client, form: str) -> None:
    inputs: dict[str, object] = {
        "pm.user_stories": "As a tenant I want to report a fault with a photo.",
        "analyst.target_users": "Tenants with phones",
        "pm.requirements": "Tenants report faults with a photo.",
        "analyst.technical_constraints": "PostgreSQL is the database.",
    }
    if form == "values":
        before = client.submit(SEEDS / "02_execution_groups.yaml")
        assert before.wait(SECONDS).state is RunState.SUCCESS
        done = before.result()
        inputs = {path: done[path.split(".")[0]][path.split(".")[1]] for path in inputs}
    handle = client.submit(SEEDS / "08_enhanced_workflow_step.yaml", inputs)
    status = handle.wait(SECONDS)
    assert status.state is RunState.SUCCESS, {name: step.error for name, step in status.steps.items()}
    result = handle.result()
    validations = {"ux_expert_parallel-validates", "architect_parallel-validates"}
    assert set(result) == {"ux_expert_parallel", "architect_parallel"} | validations
    assert set(result["ux_expert_parallel"]) == {"ux_outputs"}
    assert [result[name]["valid"] for name in sorted(validations)] == [True, True], result


def test_a_design_for_two_platforms_is_found_in_three_ways(client: Client) -> None:
    document = yaml.safe_load((ROOT / "config" / "workflows" / "product.yaml").read_text())
    specifications = document["execution_groups"]["group_3_design_architecture"]["agent_specifications"]
    specifications["architect"]["with"] = {"platform": "desktop_primary"}
    specifications["ux_expert"]["with"] = {"platform": "mobile_first"}
    brief = (ROOT / "config" / "briefs" / "housing_repairs.md").read_text()
    handle = client.submit(document, {"brief": brief})
    status = handle.wait(SECONDS)
    assert status.state is RunState.SUCCESS, {name: step.error for name, step in status.steps.items()}
    assert [mark.kind for mark in status.quality] == ["consistency", "validation", "validation"], status.quality
    assert {mark.group for mark in status.quality} == {"group_3_design_architecture"}
    assert all("mobile_first" in mark.message for mark in status.quality)
    (found,) = handle.conflicts()
    assert (found.kind, found.ours, found.theirs) == ("consistency", "mobile_first", "desktop_primary")
    ux, validation = status.steps["ux_expert"], status.steps["architect-validates"]
    assert (ux.finished_at or 0) <= (validation.started_at or 0)
    assert (validation.finished_at or 0) <= (status.steps["developer"].started_at or 0)


def test_a_changed_brief_makes_only_those_work_whose_inputs_it_changes(
    client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = (ROOT / "tasks" / "sample_brief.md").read_text()
    faster = brief.replace("in under 2 seconds", "in under 1 second")
    six = {"analyst", "pm", "ux_expert", "architect", "developer", "qa"}
    results, ids = [], []
    idle(client)
    for cache in client.caches.values():
        cache.clear()
    for text, working in ((brief, six), (brief, set()), (brief + "\n \n", {"analyst"}), (faster, None)):
        handle = client.submit(ROOT / "config" / "workflows" / "product.yaml", {"brief": text})
        status = handle.wait(SECONDS)
        assert status.state is RunState.SUCCESS, {name: step.error for name, step in status.steps.items()}
        worked = {name for name in six if status.steps[name].state is StepState.SUCCESS}
        assert {status.steps[name].state for name in six - worked} <= {StepState.CACHED}
        assert working is None or worked == working
        results.append(handle.result())
        ids.append(handle.id)
        idle(client)
    assert results[0] == results[1] == results[2]
    assert worked == {"analyst", "pm", "architect", "developer", "qa"}, "no screen depends on how fast pages load"
    assert results[3]["ux_expert"] == results[0]["ux_expert"]
    assert results[3]["architect"] != results[0]["architect"]
    monkeypatch.setenv("ORCHESTRATOR_STORE_URL", client.store_url)
    assert main(["show", ids[1]]) == 0
    shown = capsys.readouterr().out
    assert "cached, 6 of 8 steps: analyst, pm, ux_expert, architect, developer, qa" in shown
    assert f"as in run {ids[0]}, where it took" in shown
    assert main(["cache", "stats", "agent_output", "-o", "json"]) == 0
    counted = json.loads(capsys.readouterr().out)["agent_output"]
    assert (counted["misses"], counted["hits"]) == (12, 12), "six, none, one and five were computed"
    assert main(["cache", "clear", "-q"]) == 0
    assert client.caches["agent_output"].stats().entries == 0
