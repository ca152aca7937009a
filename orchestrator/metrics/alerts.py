"""Alerts: what the people who run a deployment should know of. They are kept in one stream, bounded in length; the
command line shows it, and anything else may forward them from there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, cast

import redis

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.fields import Frozen

KEPT = 1000
"""About so many alerts are kept, the newest."""


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Alert(Frozen):
    """One alert, raised at `at` (seconds since the epoch, Redis' clock). `kind` is for programs, `message` for people;
    `run_id` and `subject` (such as a group) say what it is about. The same `kind`, run and subject is the same alert:
    after a crash it may be raised twice. `id` is its place in the stream."""

    kind: str
    message: str
    severity: Severity = Severity.ERROR
    run_id: str = ""
    workflow: str = ""
    subject: str = ""
    id: str = ""
    at: float = 0.0


def raise_alert(client: redis.Redis, alert: Alert) -> None:
    """Keep an alert; one round trip."""
    fields: Any = alert.model_dump(mode="json", exclude={"id", "at"})
    with guarded():
        client.xadd(keys.ALERTS, fields, maxlen=KEPT, approximate=True)


def alerts(client: redis.Redis, *, limit: int = 50, after: str = "") -> list[Alert]:
    """The newest alerts first, at most `limit` of them, and only those that came after the one with the id `after`."""
    with guarded():
        rows = cast(
            "list[tuple[bytes, Mapping[bytes, bytes]]]",
            client.xrevrange(keys.ALERTS, min=f"({after}" if after else "-", count=limit),
        )
    return [read(entry, fields) for entry, fields in rows]


def read(entry: bytes, fields: Mapping[bytes, bytes]) -> Alert:
    """One entry of the stream."""
    text = {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
    known = {name: value for name, value in text.items() if name in Alert.model_fields}
    return Alert.model_validate(known | {"id": entry.decode(), "at": int(entry.partition(b"-")[0]) / 1000})
