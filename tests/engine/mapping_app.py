"""A deployment of its own: agents that work on items, and write down what they did where a test can count it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from orchestrator import AgentContext, agent
from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings, Environment, load_engine
from tests.workers import QUICK_ENGINE, eventually

environment = Environment.load()
_clients: dict[int, Any] = {}


def effects() -> Any:
    """This process' client for the table of effects, in the database of the runs."""
    if os.getpid() not in _clients:
        _clients[os.getpid()] = redis.Redis.from_url(environment.store_url or "")
    return _clients[os.getpid()]


def _told(ctx: AgentContext, kind: str) -> None:
    effects().hincrby(f"effects:{ctx.run_id}:{kind}", str(ctx.index), 1)


def _named(name: str) -> Callable[[Any], Any]:
    return agent(name, queue="items")


@_named("double")
def double(ctx: AgentContext) -> Any:
    """Twice the item, after `seconds`; the items in `fail` fail, the first `times` attempts of each."""
    _told(ctx, "double")
    time.sleep(ctx.params.get("seconds", 0))
    if ctx.item in ctx.params.get("fail", []) and ctx.attempt <= ctx.params.get("times", 99):
        raise ValueError(f"{ctx.item} is not liked")
    return 2 * ctx.item


@agent("priced", queue="items", cache=True, version="1")
def priced(ctx: AgentContext) -> Any:
    """The item at the run's rate."""
    with Path(ctx.params["log"]).open("a") as log:
        log.write(f"{ctx.item}\n")
    return ctx.item * ctx.inputs["rate"]


@_named("moody")
def moody(ctx: AgentContext) -> Any:
    """Fails for as long as the test's folder says so."""
    _told(ctx, "moody")
    if ctx.item % 10 == 3 and (Path(ctx.params["folder"]) / "fail").exists():
        raise ValueError("not today")
    return ctx.item


@_named("held")
def held(ctx: AgentContext) -> Any:
    """Waits until the test lets it go, or the run is cancelled."""
    _told(ctx, "held")
    folder = Path(ctx.params["folder"])
    (folder / f"begun-{ctx.index}").touch()
    eventually(lambda: (folder / "go").exists() or ctx.cancelled, within=60, what="the test lets it go")
    return ctx.item


@_named("killer")
def killer(ctx: AgentContext) -> Any:
    """Ends its process over the items in `kill`, in the first `times` attempts of each."""
    _told(ctx, "killer")
    if ctx.item in ctx.params["kill"] and ctx.attempt <= ctx.params.get("times", 99):
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.item


@_named("add")
def add(ctx: AgentContext) -> Any:
    """The item and `n` more."""
    return ctx.item + ctx.params["n"]


@_named("third")
def third(ctx: AgentContext) -> bool:
    """Keeps what can be divided by three."""
    return bool(ctx.item % 3 == 0)


@_named("slow")
def slow(ctx: AgentContext) -> Any:
    """Takes as many seconds as the item says; one that is stubborn wants to go on when its time is over."""
    if ctx.item == "stubborn":
        with suppress(Exception):
            time.sleep(600)
        time.sleep(600)
    time.sleep(ctx.item)
    return ctx.item


@_named("pad")
def pad(ctx: AgentContext) -> str:
    """A long text that does not compress to nothing."""
    return os.urandom(ctx.params["bytes"] // 2).hex()


@_named("length")
def length(ctx: AgentContext) -> int:
    """How long a text is."""
    return len(ctx.item)


@_named("total")
def total(ctx: AgentContext) -> Any:
    """The sum of many."""
    return sum(ctx.item)


@_named("stamped")
def stamped(ctx: AgentContext) -> Any:
    """When the item came by, behind what it was."""
    time.sleep(ctx.params.get("seconds", 0))
    return [ctx.item, time.monotonic()]


@_named("sort")
def sort(ctx: AgentContext) -> Any:
    """A slice, sorted."""
    return sorted(ctx.item)


@_named("join")
def join(ctx: AgentContext) -> Any:
    """All slices as one list, sorted, with how many there were."""
    return {"slices": len(ctx.item), "sorted": sorted(number for part in ctx.item for number in part)}


@_named("writer")
def writer(ctx: AgentContext) -> Any:
    """Writes beside its result, which an item may not."""
    ctx.write("other", 1)
    return 1


@_named("caller")
def caller(ctx: AgentContext) -> dict[str, Any]:
    """Uses each pattern; its process dies once while it waits for the first."""
    doubled = list(ctx.scatter_gather(range(40), "double", concurrency=2, with_={"seconds": 0.01}))
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    (whole,) = ctx.pipeline(range(40), [{"map": "double"}, {"reduce": "total"}])
    merged = ctx.fork_join(list(range(9, -1, -1)), 2, "sort", "join")
    return {"doubled": doubled, "whole": whole, "merged": merged}


@_named("list")
def listing(ctx: AgentContext) -> dict[str, Any]:
    """A plain step that writes a list."""
    return {"numbers": list(range(ctx.params["count"]))}


settings: EngineSettings = load_engine(QUICK_ENGINE)
app = create_app(environment.store_url or "", environment.store_url or "", settings)
