"""Scheduled measurements: the agent class `benchmarks`, which a deployment gives a worker of its own, on a queue of its
own, so that nothing waits behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from orchestrator import AgentContext, AgentError, agent
from tasks.inputs import parse

QUEUE: Final = "benchmarks"
_SLICE: Final = 0.25
"""Seconds between two looks at whether the run was cancelled."""


class BenchmarkFailed(AgentError):
    """A measurement ended with an error."""


class Wanted(BaseModel):
    """Which benchmark (`orchestrator bench --list`), and how often it measures; its own number of rounds by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    rounds: Annotated[int, Field(ge=1, le=1000)] | None = None


_WANTED: Final = TypeAdapter(Wanted)


@agent("benchmark", queue=QUEUE)
def benchmark(ctx: AgentContext) -> dict[str, Any]:
    """Measure in a process of its own, keep the report with those of this machine, and compare.

    Returns the medians by measure, and a sentence for each figure that has become worse.
    """
    wanted = parse(dict(ctx.params), "with", _WANTED)
    command = [sys.executable, "-m", "orchestrator", "bench", wanted.name, "--record", "-o", "json"]
    if wanted.rounds is not None:
        command += ["--rounds", str(wanted.rounds)]
    report = json.loads(_output(ctx, command))
    ctx.artifact("report.json", json.dumps(report, indent=1))
    (found,) = report["reports"]
    return {
        "medians": {measure["name"]: measure["value"] for measure in found["measures"]},
        "regressions": report["regressions"],
    }


def _output(ctx: AgentContext, command: list[str]) -> str:
    """What the command prints. Ends it when the run is cancelled."""
    process = subprocess.Popen(  # noqa: S603 - our own command line
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        while not ctx.cancelled:
            try:
                out, err = process.communicate(timeout=_SLICE)
            except subprocess.TimeoutExpired:
                continue
            if process.returncode:
                raise BenchmarkFailed(err.strip().splitlines()[-1] if err.strip() else f"status {process.returncode}")
            return out
        raise BenchmarkFailed("cancelled")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + 5
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
