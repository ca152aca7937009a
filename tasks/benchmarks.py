"""Scheduled measurements: the agent class `benchmarks`, which a deployment gives a worker of its own, on a queue of its
own, so that nothing waits behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from orchestrator import AgentContext, AgentError, agent
from tasks.inputs import parse, shape

QUEUE: Final = "benchmarks"
LONGEST: Final = 3600.0
"""Seconds that one benchmark may take, whatever the step's own timeout is."""


class BenchmarkFailed(AgentError):
    """A measurement ended with an error."""


class Wanted(BaseModel):
    """Which benchmark (`orchestrator bench --list`), and how often it measures; its own number of rounds by default."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    rounds: Annotated[int, Field(ge=1, le=1000)] | None = None


_WANTED: Final = shape(Wanted)


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
    """What the command prints."""
    try:
        done = ctx.run(command, timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkFailed(f"it did not end within {LONGEST:g} seconds") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise BenchmarkFailed(last[0])
    return done.stdout
