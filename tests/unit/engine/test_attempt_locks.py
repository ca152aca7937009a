"""What an agent may ask of locks that its workflow declares; nothing of it reaches Redis."""

from __future__ import annotations

from typing import Any, cast

import pytest
from celery import Celery

from orchestrator.context.reader import ContextReader
from orchestrator.engine.attempt_locks import AttemptLocks
from orchestrator.engine.runtime import Runtime
from orchestrator.errors import AgentError
from orchestrator.settings import EngineSettings


@pytest.mark.parametrize(
    ("declared", "whose"),
    [
        ({"locks": {"board": "read"}}, "step 'a' locks 'board' to read"),
        ({"group": "g", "group_locks": {"board": "read"}}, "group 'g' locks 'board' to read"),
        ({"group": "g", "group_locks": {"board": "write"}, "locks": {"board": "read"}}, "step 'a' locks 'board'"),
    ],
)
def test_a_lock_that_is_declared_to_read_is_not_taken_to_write(declared: dict[str, Any], whose: str) -> None:
    app: Any = Celery(set_as_current=False)
    app.orchestrator = Runtime("redis://127.0.0.1:1", EngineSettings())
    locks = AttemptLocks(app, "run", {"id": "a", "priority": 5, **declared}, 1, cast(ContextReader, None))
    with pytest.raises(AgentError, match=whose):
        locks.take("board", True, None)
