"""`validate`, `plan` and `explain` on real files."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.workflow.builder import Workflow

SEEDS = sorted((Path(__file__).parents[2] / "fixtures" / "seeds").glob("*.yaml"))

FULL = """
name: full
description: Everything that can be said.
inputs:
  brief: {description: What is wanted., example: A shop.}
steps:
  - {id: a, agent: a, description: Reads the brief., inputs: [brief], outputs: [facts], timeout: 10m}
  - {id: b, agent: b, needs: [a], wants: [c], retry: {maximum_attempts: 1}, resources: {cpu: high, memory: 20}}
  - {id: c, agent: c, needs: [a], trigger_rule: all_done, with: {depth: 3}, idle_timeout: 30s, cache: 2h}
  - {id: d, agent: d, needs: [b, c], validates: [a], defaults: {score: 0}}
"""


@pytest.fixture
def full(tmp_path: Path) -> str:
    file = tmp_path / "full.yaml"
    file.write_text(FULL)
    return str(file)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(list(arguments)) == status, capsys.readouterr().err
    return capsys.readouterr().out


def data(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    return json.loads(said(capsys, *arguments, "-o", "json", status=status))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.stem)
def test_every_block_of_the_documents_is_valid_as_it_stands(seed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, "validate", str(seed))
    assert found["valid"] is True
    assert found["errors"] == []
    kind = "workflow" if seed.stem.startswith(("02", "08")) else "engine"
    assert found["kind"] == kind
    assert f"{kind} file" in said(capsys, "validate", str(seed))


def test_every_mistake_at_once_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("name: wrong\nsteps:\n  - {id: a, agent: a, tmieout: 10m}\n  - {id: b, agent: b, needs: [aa]}\n")
    found = data(capsys, "validate", str(file), status=3)
    assert found["valid"] is False
    assert [(error["line"], error["path"]) for error in found["errors"]] == [
        (3, "steps[0].tmieout"),
        (4, "steps[1].needs[0]"),
    ]
    assert all(set(error) == {"path", "line", "column", "message", "hint"} for error in found["errors"])
    text = said(capsys, "validate", str(file), status=3)
    assert text.count("error:") == 2
    assert "2 mistakes" in text
    assert main(["plan", str(file)]) == 3
    assert capsys.readouterr().err.count("error:") == 2


def test_plan_prints_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, "plan", str(SEEDS[1]))
    assert found["critical_path_seconds"] == 31 * 60
    assert found["steps"]["architect"]["group"] == "group_3_design_architecture"
    assert {"id", "steps"} <= set(found["groups"][0])
    assert {"1", "2", "4", "8"} <= set(found["makespan_seconds"])
    assert "critical path" in said(capsys, "plan", str(SEEDS[1]))


def test_plan_in_other_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "plan", str(SEEDS[1]), "--mermaid").startswith("flowchart")
    drills = said(capsys, "plan", "config/workflows/drills.yaml", "--canvas")
    assert "agents.drills" in drills
    canvas = said(capsys, "plan", str(SEEDS[1]), "--canvas")
    assert "chord(" in canvas
    assert "chain(" not in canvas, "steps with resources are admitted one by one"
    assert main(["plan", str(SEEDS[1]), "--canvas", "--mermaid"]) == 2


def test_explain_says_it_in_words(full: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "explain", full)
    for words in (
        "Everything that can be said.",
        'input brief (required, for example "A shop."): What is wanted.',
        "a: Reads the brief.",
        "starts at once",
        "reads brief",
        "writes a.facts",
        "ended after 10m",
        "starts when a has succeeded",
        "uses what c has written if it is there by then",
        "is tried once",
        "holds cpu high, memory 20 while it runs",
        "all of them have ended, however they ended",
        'the parameters {"depth": 3}',
        "30s without progress",
        "takes its result from the cache if it is there and at most 2h old",
        "checks a after completion",
        'fill in {"score": 0}',
    ):
        assert words in text, words


def test_explain_one_step_and_the_barrier_of_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, "explain", str(SEEDS[1]), "architect")
    assert list(found["steps"]) == ["architect"]
    assert found["steps"]["architect"]["waits_for"] == ["pm"]
    sentences = " ".join(found["steps"]["architect"]["says"])
    assert "side by side with ux_expert" in sentences
    assert "after 10m" in sentences
    assert main(["explain", str(SEEDS[1]), "architct"]) == 4
    assert "did you mean 'architect'" in capsys.readouterr().err


def test_explain_tells_the_rules_for_what_several_steps_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = Workflow("ruled", merge={"identity": {"board.cards": "number"}, "ordered": ["board.columns"]})
    rule = {"equal": ["b.x", "c.x"], "on_violation": "manual"}
    flow.group("g", ["b", "c"], consistency=[rule, {"subset": ["b.y", "c.*.y"]}])
    file = tmp_path / "ruled.yaml"
    file.write_text(flow.to_yaml())
    text = said(capsys, "explain", str(file))
    for words in (
        "the items of board.cards are told apart by number",
        "in board.columns the order counts",
        "it checks that b.x equals c.x, and otherwise waits for a person to decide",
        "it checks that b.y is within c.*.y, and otherwise marks the run",
    ):
        assert words in text, words


HOSTILE = """
name: hostile
description: "</script><img src=x onerror=alert(1)><!-- & {{ 7 * 7 }}"
steps:
  - {id: a, agent: a, estimated_duration: 10m}
  - {id: b, agent: b, estimated_duration: 4m}
  - {id: c, agent: c, needs: [a, b], estimated_duration: 1m}
"""


def _page(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> str:
    file, page = tmp_path / "workflow.yaml", tmp_path / "plan.html"
    file.write_text(text)
    assert said(capsys, "plan", str(file), "--html", str(page)) == ""
    return page.read_text()


def test_a_plan_as_a_page_holds_its_schedules_and_fetches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = _page(tmp_path, capsys, HOSTILE)
    (document,) = re.findall(r'<script type="application/json" id="document">(.*?)</script>', page)
    found = json.loads(document)
    assert found["schedules"]["1"] == {"a": 0, "b": 600, "c": 840}
    assert found["schedules"]["2"] == {"a": 0, "b": 0, "c": 600}
    assert [step["planned"]["slack_seconds"] for step in found["steps"]] == [0, 360, 0]
    assert "<img" not in page
    assert "{{ 7 * 7 }}" in page, "texts are no templates"
    assert re.findall(r"\b(?:src|href|url|import)\s*[=(]?\s*[\"'][^\"']", page) == []


def test_the_policy_of_a_page_allows_its_own_scripts_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = _page(tmp_path, capsys, FULL)
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0])
    inline = re.findall(r"<(?:style|script)(?: type=\"module\")?>(.*?)</(?:style|script)>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline]
    assert policy.startswith("default-src 'none';")
    assert re.findall(r"sha256-([^']+)", policy) == hashes
    assert len(hashes) == 3


def test_a_page_that_cannot_be_written_is_wrong_usage(tmp_path: Path, full: str) -> None:
    assert main(["plan", full, "--html", str(tmp_path / "missing" / "plan.html")]) == 2
    assert main(["plan", full, "--html", str(tmp_path / "plan.html"), "--mermaid"]) == 2
