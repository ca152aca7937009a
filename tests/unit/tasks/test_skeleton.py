"""The skeleton that the developer writes compiles, runs on the standard library alone, and is what the API says."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tasks import developer
from tasks.making.skeleton import make_modules, package_name
from tests.unit.tasks.running import Outcome, context_for


def written(outcome: Outcome, folder: Path) -> Path:
    for name, text in outcome.context["developer"]["source_files"].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_it_imports_the_standard_library_only(run: Outcome) -> None:
    built = run.context["developer"]
    allowed = {*sys.stdlib_module_names, built["package"]}
    for name, text in built["source_files"].items():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(text)):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert {module.split(".")[0] for module in modules} <= allowed, name


def test_its_tests_pass_as_its_readme_runs_them(run: Outcome, tmp_path: Path) -> None:
    folder = written(run, tmp_path)
    command = next(
        line[2:] for line in (folder / "README.md").read_text().splitlines() if line.startswith("$ python -m u")
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); sys.argv = {command.split()[2:]!r}; "
         "import unittest; unittest.main(module=None)"],
        cwd=folder, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = len(run.context["developer"]["tests"]) + 4
    assert f"Ran {expected} tests" in done.stderr


def test_every_operation_is_built_and_tested(run: Outcome) -> None:
    built = run.context["developer"]
    document = run.context["architect"]["api_specifications"]
    described = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert sorted(built["operations"]) == sorted(described)
    assert sorted(name for test in built["tests"] for name in test["operations"]) == sorted(described)


def test_its_project_file_is_valid(run: Outcome) -> None:
    project = tomllib.loads(run.context["developer"]["source_files"]["pyproject.toml"])["project"]
    assert project["dependencies"] == []
    assert project["requires-python"] == ">=3.11"


def test_hostile_words_of_a_brief_stay_data(tmp_path: Path) -> None:
    from tests.unit.tasks.running import run_agents

    brief = (
        '# """ import os\\ {{ 7 * 7 }} <script>alert(1)</script>\n\n## Features\n\n'
        '- class: with import, def and """quote"""\n- {% raw %} a | b\n- Delete a name with id, status, None and self\n'
        "- Move a move with list, dict and e'scape\n- 漢字\n- ../../etc/passwd\n"
    )
    outcome = run_agents(brief)
    assert outcome.context["qa"]["test_run"]["failures"] == []
    assert outcome.context["qa"]["test_run"]["ran"] >= 20
    assert "<script>" not in outcome.text("skeleton/wireframes.html")
    assert "49" not in outcome.text("skeleton/README.md")
    assert all(".." not in name for name in outcome.artifacts)


@pytest.mark.parametrize(
    ("title", "package"),
    [
        ("Fixwell: repair reports", "fixwell"),
        ("Grain intake and settlement", "grain_intake_and_settlement"),
        ("Calendar", "calendar_app"),
        ("Class", "class_"),
        ("tests", "tests_app"),
        ("租户", "product"),
    ],
)
def test_package_names_hide_nothing(title: str, package: str) -> None:
    assert package_name(title) == package


def test_an_api_of_others_is_built_as_far_as_it_is_known() -> None:
    document = {
        "paths": {
            "/pets": {"get": {"operationId": "listPets"}, "post": {"operationId": "addPet", "requestBody": {}}},
            "/pets/{id}": {"get": {"operationId": "getPet"}},
            "/pets/{id}/toys/{toy}": {"get": {"operationId": "getToy"}},
            "/health": {"get": {"operationId": "health"}},
        }
    }
    modules, left_out = make_modules(document)
    assert [route.operation for module in modules for route in module.routes] == ["listPets", "addPet", "getPet"]
    assert left_out == ("getToy", "health")


def test_an_architect_that_did_not_finish_gives_an_honest_skeleton(housing: Outcome) -> None:
    from tasks import architect

    partial = Outcome(context={**housing.context, "architect": dict(architect.defaults or {})})
    built = developer(context_for(developer, partial))
    assert built["operations"] == []
    assert any("no operation that can be built" in note for note in built["notes"])
