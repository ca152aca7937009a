"""When members of a group are compared with each other long before their barrier."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from orchestrator.engine.foresight import warn_early
from orchestrator.engine.runtime import Runtime
from orchestrator.settings import EngineSettings

MEMBER = {"id": "a", "agent": "noop", "group": "g"}


@pytest.mark.parametrize(
    ("definition", "fields", "phases", "looks"),
    [
        (MEMBER, ["board.parts"], None, True),
        (MEMBER, ["a.parts"], None, False),
        ({"id": "a", "agent": "noop"}, ["board.parts"], None, False),
        (MEMBER, ["board.parts"], ["track_individual_agent_progress", "provide_progress_updates"], False),
    ],
)
def test_only_shared_writes_of_members_are_looked_at_and_only_if_wanted(
    definition: dict[str, Any], fields: list[str], phases: list[str] | None, looks: bool
) -> None:
    written = {} if phases is None else {"phases": {"phase_2_execution_monitoring": phases}}
    settings = EngineSettings.model_validate({"barrier_synchronization": written})
    asked: list[Any] = []

    def wrote(*arguments: Any) -> list[Any]:
        asked.append(arguments)
        return []

    runtime = SimpleNamespace(settings=settings, ledger=SimpleNamespace(wrote=wrote))
    warn_early(cast(Runtime, runtime), "run", definition, fields)
    assert asked == ([("run", "@g", "a", ["board.parts"])] if looks else [])
