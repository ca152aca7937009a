"""A worker tells once that it takes tasks."""

from __future__ import annotations

import os

import pytest

from orchestrator.engine.app import create_app
from orchestrator.engine.signals import READY_FD, ready
from orchestrator.settings import EngineSettings


def test_what_starts_again_writes_nothing_into_what_has_that_number_by_now(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGHUP the pipe is closed, and its number may be that of a connection."""
    heard, told = os.pipe()
    monkeypatch.setenv(READY_FD, str(told))
    with create_app(store_url, store_url, EngineSettings(), set_as_current=False) as app:
        ready(app)
        ready(app)
    os.close(told)
    with os.fdopen(heard, "rb") as pipe:
        assert pipe.read() == b"1"
