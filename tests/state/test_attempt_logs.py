"""What attempts log is stored while they work: that of all attempts of a process together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator.batch import BatchLimits
from orchestrator.engine import attempt_log
from orchestrator.engine.attempt_log import AttemptLog
from orchestrator.engine.runtime import Runtime
from orchestrator.errors import StoreUnavailable
from orchestrator.run import logs
from orchestrator.settings import EngineSettings
from tests.conftest import Store
from tests.state.bench import Bench, spec, step
from tests.workers import eventually


def said(bench: Bench, name: str) -> list[str]:
    return [line.text for line in bench.reader.logs("run", name)]


def test_the_lines_of_silent_attempts_are_stored_in_one_batch_in_spite_of_an_outage(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, sent, append = Bench(store.url), list[list[str]](), logs.append
    bench.create(spec(step("a"), step("b"), step("c")))

    def counted(client: Any, rows: Sequence[tuple[str, str, Any]], **keywords: Any) -> Any:
        sent.append(sorted(name for _, name, _ in rows))
        if len(sent) == 1:
            raise StoreUnavailable("it is away")
        return append(client, rows, **keywords)

    monkeypatch.setattr(logs, "append", counted)
    monkeypatch.setattr(attempt_log, "LIMITS", BatchLimits(timeout=3600, size=3, latency=3600))
    monkeypatch.setattr(attempt_log, "_silent", attempt_log._Silent())
    runtime = Runtime(store.url, EngineSettings())
    for name in "abc":
        with AttemptLog(runtime, "run", name, 1):
            for number in range(3):
                logging.getLogger("agent").info("%s %d", name, number)
    eventually(lambda: len(said(bench, "c")) == 3, within=30, what="stored, and nobody has asked for it")
    assert sent[0] == ["a", "b", "c"], "one batch, given back, and sent again"
    assert [said(bench, name) for name in "abc"] == [[f"{name} {number}" for number in range(3)] for name in "abc"]
