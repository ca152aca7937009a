"""The table of faults names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_test_of_the_table_exists() -> None:
    named = re.findall(r"`([\w./]+\.py)::(test_\w+)`", (HERE / "README.md").read_text())
    assert len(named) > 30
    missing = [f"{file}::{name}" for file, name in named if name not in functions_of(HERE / file)]
    assert not missing


def functions_of(file: Path) -> set[str]:
    return {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}
