"""Drills: agents that measure and torture the engine. They share the agent class `drills`.

Every parameter comes from the step's `with`; a wrong one fails the step with InvalidValue, which no retry can mend.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from orchestrator import AgentContext, AgentError, agent
from tasks.inputs import parse

QUEUE: Final = "drills"
_SLICE: Final = 0.25
"""Seconds between two looks at whether the run was cancelled."""

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class DrillFailed(AgentError):
    """A drill failed because it was asked to."""


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class NoParameters(_Parameters):
    pass


class Sleep(_Parameters):
    seconds: Seconds = 1.0


class Spin(_Parameters):
    cpu_seconds: Seconds = 1.0


class Times(_Parameters):
    times: Annotated[int, Field(ge=0)] = 1


class Steps(_Parameters):
    seconds: Seconds = 1.0
    every: Annotated[float, Field(gt=0, le=86_400)] = 0.1


class Blob(_Parameters):
    bytes: Annotated[int, Field(ge=0, le=1_000_000_000)] = 1024


class Write(_Parameters):
    path: Annotated[str, Field(min_length=1)]
    value: Any = None


P = TypeVar("P", bound=_Parameters)


_ADAPTERS: Final[dict[type[_Parameters], TypeAdapter[Any]]] = {}
"""Drills measure the engine, so they build what checks their parameters once."""


def _parameters(ctx: AgentContext, model: type[P]) -> P:
    if model not in _ADAPTERS:
        _ADAPTERS[model] = TypeAdapter(model)
    adapter: TypeAdapter[P] = _ADAPTERS[model]
    return parse(dict(ctx.params), "with", adapter)


def _wait(ctx: AgentContext, until: float) -> bool:
    """Sleep until a moment of the monotonic clock. False as soon as the run is cancelled."""
    while until > time.monotonic():
        if ctx.cancelled:
            ctx.log.info("cancelled while %.2f seconds were left", until - time.monotonic())
            return False
        time.sleep(max(0.0, min(_SLICE, until - time.monotonic())))  # to have asked has taken a moment
    return True


@agent("noop", queue=QUEUE)
def noop(ctx: AgentContext) -> dict[str, Any]:
    """Do nothing at all."""
    _parameters(ctx, NoParameters)
    return {}


@agent("stamp", queue=QUEUE)
def stamp(ctx: AgentContext) -> dict[str, Any]:
    """When the first line of this agent ran, in seconds since the epoch."""
    return {"at": time.time()}


@agent("sleep", queue=QUEUE)
def sleep(ctx: AgentContext) -> dict[str, Any]:
    """Sleep for `seconds`, or until the run is cancelled."""
    wanted = _parameters(ctx, Sleep)
    start = time.monotonic()
    completed = _wait(ctx, start + wanted.seconds)
    return {"completed": completed}


@agent("spin", queue=QUEUE)
def spin(ctx: AgentContext) -> dict[str, Any]:
    """Use a core for `cpu_seconds` of this thread's processor time."""
    wanted = _parameters(ctx, Spin)
    end = time.thread_time() + wanted.cpu_seconds
    rounds, digest = 0, b""
    while time.thread_time() < end and not ctx.cancelled:
        for _ in range(500):
            digest = hashlib.blake2b(digest).digest()
        rounds += 500
    return {"rounds": rounds}


@agent("echo", queue=QUEUE)
def echo(ctx: AgentContext) -> dict[str, Any]:
    """Return the parameters, whatever they are."""
    return {"echo": dict(ctx.params)}


@agent("fail", queue=QUEUE)
def fail(ctx: AgentContext) -> dict[str, Any]:
    """Fail in the first `times` attempts, then succeed."""
    wanted = _parameters(ctx, Times)
    if ctx.attempt <= wanted.times:
        raise DrillFailed(f"attempt {ctx.attempt} fails, as asked for {wanted.times} times")
    return {"attempt": ctx.attempt}


@agent("hang", queue=QUEUE)
def hang(ctx: AgentContext) -> dict[str, Any]:
    """Never end by itself: only a cancelled run or the end of the attempt's time stops it."""
    _parameters(ctx, NoParameters)
    while not ctx.cancelled:
        time.sleep(_SLICE)
    return {"cancelled": True}


@agent("crash", queue=QUEUE)
def crash(ctx: AgentContext) -> dict[str, Any]:
    """Kill the own process with SIGKILL in the first `times` attempts, then succeed."""
    wanted = _parameters(ctx, Times)
    if ctx.attempt <= wanted.times:
        ctx.log.warning("attempt %d kills process %d", ctx.attempt, os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)
    return {"attempt": ctx.attempt}


@agent("progress", queue=QUEUE)
def progress(ctx: AgentContext) -> dict[str, Any]:
    """Work for `seconds` and report how far it is `every` so many seconds."""
    wanted = _parameters(ctx, Steps)
    start = time.monotonic()
    reports = 0
    while (passed := time.monotonic() - start) < wanted.seconds:
        if not _wait(ctx, min(start + wanted.seconds, start + passed + wanted.every)):
            return {"reports": reports, "completed": False}
        reports += 1
        share = min(1.0, (time.monotonic() - start) / wanted.seconds)
        ctx.progress(share, f"{share:.0%}")
    return {"reports": reports, "completed": True}


@agent("blob", queue=QUEUE)
def blob(ctx: AgentContext) -> dict[str, Any]:
    """Return a text of `bytes` ASCII characters that do not compress to nothing."""
    wanted = _parameters(ctx, Blob)
    pattern = "".join(hashlib.blake2b(str(number).encode()).hexdigest() for number in range(64))
    text = (pattern * (wanted.bytes // len(pattern) + 1))[: wanted.bytes]
    return {"blob": text}


@agent("write", queue=QUEUE)
def write(ctx: AgentContext) -> dict[str, Any]:
    """Write `value` at the context path `path`, which the step has to own."""
    wanted = _parameters(ctx, Write)
    ctx.write(wanted.path, wanted.value)
    return {}
