"""The index of active runs: when a sweep looks at each of them next."""

from __future__ import annotations

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine.runtime import Runtime


def look_soon(runtime: Runtime, run_id: str, delay: float) -> None:
    """Make sure that a sweep looks at the run in `delay` seconds, when that is before its next regular look."""
    if delay >= look_seconds(runtime):
        return
    with guarded():
        runtime.client.zadd(keys.ACTIVE, {run_id: store_time(runtime) + delay}, lt=True)


def look_seconds(runtime: Runtime) -> float:
    """Every active run is looked at half a lease after its last look, at the latest."""
    return runtime.settings.engine.lease_seconds / 2


def store_time(runtime: Runtime) -> float:
    """Redis' clock, in seconds since the epoch; one round trip."""
    seconds, micros = runtime.client.time()
    return seconds + micros / 1e6
