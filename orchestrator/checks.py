"""What `doctor`, workers and beats look at before anything runs. Each check is a function of facts that were fetched
before, and says what would help."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict

Status = Literal["ok", "warn", "fail"]

MIN_REDIS, MIN_VALKEY = 7, 8
CLOCK_WARN, CLOCK_FAIL = 0.5, 5.0
LONG_VISIBILITY = 600.0
LATE = 1.0


class Check(Struct, frozen=True):
    """One line of the diagnosis. `unavailable`: nothing works without it. `blocks`: nobody starts when it fails."""

    name: str
    status: Status
    message: str
    remedy: str = ""
    unavailable: bool = False
    blocks: bool = False

    def document(self) -> dict[str, str]:
        """The JSON form."""
        return {key: value for key, value in asdict(self).items() if isinstance(value, str)}


def server_version(info: Mapping[str, Any]) -> Check:
    """Redis from 7.0, Valkey from 8.0. `info` is the reply to INFO."""
    valkey = info.get("valkey_version")
    product, text = ("Valkey", str(valkey)) if valkey else ("Redis", str(info.get("redis_version", "0")))
    least = MIN_VALKEY if valkey else MIN_REDIS
    found = re.match(r"\d+", text)
    if found and int(found[0]) >= least:
        return Check("version", "ok", f"{product} {text}")
    return Check("version", "fail", f"{product} {text} is too old", f"use {product} {least} or newer", blocks=True)


def eviction(info: Mapping[str, Any]) -> Check:
    """Redis must refuse writes rather than forget state when its memory is full."""
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return Check("maxmemory-policy", "ok", policy)
    remedy = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file"
    message = f"{policy}: under memory pressure, runs would lose state"
    return Check("maxmemory-policy", "fail", message, remedy, blocks=True)


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
    seconds = _visibility(options)
    message = f"{seconds:g} s"
    if seconds <= lease:
        remedy = "set engine.visibility_timeout well above engine.lease_seconds"
        message = f"{message}: running steps would be delivered again"
        return Check("visibility timeout", "fail", message, remedy, blocks=True)
    if seconds > LONG_VISIBILITY:
        remedy = "make the app with create_app, or set engine.visibility_timeout"
        return Check("visibility timeout", "warn", f"{message}: lost messages come back that late", remedy)
    return Check("visibility timeout", "ok", message)


def others(own: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> Check:
    """`own` and `found` are transport options, those of every worker of the broker by its name."""
    ours = _visibility(own)
    different = {name: _visibility(options) for name, options in found.items() if _visibility(options) != ours}
    if not different:
        return Check("other apps", "ok", "none has another visibility timeout")
    listed = ", ".join(f"{name} has {seconds:g} s" for name, seconds in sorted(different.items()))
    message = f"ours is a visibility timeout of {ours:g} s, {listed}: the shortest counts for all"
    remedy = "set the same everywhere, or give each application a broker (or database) of its own"
    return Check("other apps", "warn", message, remedy)


def _visibility(options: Mapping[str, Any]) -> float:
    return float(options.get("visibility_timeout", 3600.0))


def content(conf: Mapping[str, Any]) -> Check:
    """Messages may be JSON only: everything else can run code in a worker."""
    accepted = {str(kind) for kind in [*(conf["accept_content"] or []), *(conf["result_accept_content"] or [])]}
    others = sorted(accepted - {"json", "application/json"})
    if not others and conf["task_serializer"] == conf["result_serializer"] == "json":
        return Check("content", "ok", "json only")
    found = ", ".join(others) or f"{conf['task_serializer']}, {conf['result_serializer']}"
    remedy = "set accept_content and both serializers to json"
    return Check("content", "fail", f"{found} is accepted or sent", remedy, blocks=True)


def lateness(count: int, p95: float, sweep: float) -> Check:
    """How late the newest `count` deadlines fired; `sweep`: how often somebody looks for them. In seconds."""
    if not count:
        return Check("deadlines", "ok", "none has fired yet")
    message = f"95 % of the last {count} fired within {p95:.2f} s"
    if p95 <= 2 * sweep + LATE:
        return Check("deadlines", "ok", message)
    return Check("deadlines", "warn", message, "the workers are too busy to look: start more of them")


def workers(names: Sequence[str]) -> Check:
    """Whether anybody works."""
    if names:
        return Check("workers", "ok", f"{len(names)}: {', '.join(names)}")
    return Check("workers", "fail", "none answers", "start one: orchestrator worker", unavailable=True)


def entries(found: Mapping[str, Sequence[str | None]]) -> Iterator[Check]:
    """`found`: queue -> what is wrong with each entry that was looked at in it (None: nothing)."""
    faults = {name: Counter(fault for fault in entries if fault) for name, entries in found.items()}
    if not any(faults.values()):
        total = sum(len(entries) for entries in found.values())
        yield Check("messages", "ok", f"every one of {total} in {len(found)} queues can be run")
    for name, counted in sorted(faults.items()):
        for fault, count in sorted(counted.items()):
            remedy = "workers drop it: find out who else writes into this queue, and take the right from them (ACL)"
            yield Check("messages", "fail", f"{count} of {len(found[name])} entries in {name}: each {fault}", remedy)


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
