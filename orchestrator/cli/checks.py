"""What `doctor` looks at. Each check is a function of facts that were fetched before, and says what would help."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]

MIN_REDIS, MIN_VALKEY = 7, 8
CLOCK_WARN, CLOCK_FAIL = 0.5, 5.0
LONG_VISIBILITY = 600.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the diagnosis. `unavailable`: nothing works without it."""

    name: str
    status: Status
    message: str
    remedy: str = ""
    unavailable: bool = False

    def document(self) -> dict[str, str]:
        """The JSON form."""
        return {key: value for key, value in asdict(self).items() if key != "unavailable"}


def server_version(info: Mapping[str, Any]) -> Check:
    """Redis from 7.0, Valkey from 8.0. `info` is the reply to INFO."""
    valkey = info.get("valkey_version")
    product, text = ("Valkey", str(valkey)) if valkey else ("Redis", str(info.get("redis_version", "0")))
    least = MIN_VALKEY if valkey else MIN_REDIS
    found = re.match(r"\d+", text)
    if found and int(found[0]) >= least:
        return Check("version", "ok", f"{product} {text}")
    return Check("version", "fail", f"{product} {text} is too old", f"use {product} {least} or newer")


def eviction(info: Mapping[str, Any]) -> Check:
    """Redis must refuse writes rather than forget state when its memory is full."""
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return Check("maxmemory-policy", "ok", policy)
    remedy = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file"
    return Check("maxmemory-policy", "fail", f"{policy}: under memory pressure, runs would lose state", remedy)


def persistence(info: Mapping[str, Any]) -> Check:
    """Without an append-only file, a restart of Redis loses what was accepted."""
    if int(info.get("aof_enabled", 0)):
        written = str(info.get("aof_last_write_status", "ok"))
        if written == "ok":
            return Check("append-only file", "ok", "on")
        return Check("append-only file", "fail", f"the last write failed: {written}", "look at the disk of the server")
    remedy = "CONFIG SET appendonly yes, and the same in its configuration file"
    return Check("append-only file", "warn", "off: a restart of Redis loses every run", remedy)


def clock(skew: float) -> Check:
    """`skew`: seconds by which this host is ahead of Redis (negative: behind)."""
    side = "ahead of" if skew > 0 else "behind"
    message = f"this host is {abs(skew):.3f} s {side} Redis"
    if abs(skew) < CLOCK_WARN:
        return Check("clock", "ok", message)
    status: Status = "warn" if abs(skew) < CLOCK_FAIL else "fail"
    return Check("clock", status, message, "synchronise the clocks, for example with chrony")


def visibility(options: Mapping[str, Any], lease: float) -> Check:
    """How soon a message comes back whose worker died before it was acknowledged; `lease` in seconds."""
    seconds = float(options.get("visibility_timeout", 3600.0))
    message = f"{seconds:g} s"
    if seconds <= lease:
        remedy = "set engine.visibility_timeout well above engine.lease_seconds"
        return Check("visibility timeout", "fail", f"{message}: running steps would be delivered again", remedy)
    if seconds > LONG_VISIBILITY:
        remedy = "make the app with create_app, or set engine.visibility_timeout"
        return Check("visibility timeout", "warn", f"{message}: lost messages come back that late", remedy)
    return Check("visibility timeout", "ok", message)


def content(conf: Mapping[str, Any]) -> Check:
    """Messages may be JSON only: everything else can run code in a worker."""
    accepted = {str(kind) for kind in [*(conf["accept_content"] or []), *(conf["result_accept_content"] or [])]}
    others = sorted(accepted - {"json", "application/json"})
    if not others and conf["task_serializer"] == conf["result_serializer"] == "json":
        return Check("content", "ok", "json only")
    found = ", ".join(others) or f"{conf['task_serializer']}, {conf['result_serializer']}"
    return Check("content", "fail", f"{found} is accepted or sent", "set accept_content and both serializers to json")


def workers(names: Sequence[str]) -> Check:
    """Whether anybody works."""
    if names:
        return Check("workers", "ok", f"{len(names)}: {', '.join(names)}")
    return Check("workers", "fail", "none answers", "start one: orchestrator worker", unavailable=True)


def queues(declared: Mapping[str, int], consumed: frozenset[str]) -> Iterator[Check]:
    """`declared`: queue -> messages that wait in it; `consumed`: the queues that some worker takes from."""
    orphans = {name: waiting for name, waiting in declared.items() if name not in consumed}
    if not orphans:
        yield Check("queues", "ok", f"all {len(declared)} have a worker")
    for name, waiting in sorted(orphans.items()):
        option = f" --agents {name.removeprefix('agents.')}" if name.startswith("agents.") else ""
        yield Check(
            "queues",
            "fail" if waiting else "warn",
            f"{name} has no worker" + (f" and {waiting} messages wait in it" if waiting else ""),
            f"orchestrator worker{option}",
        )
