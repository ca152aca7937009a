"""Reads runs: status, outputs, files, logs. Nothing here changes a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.errors import NotFound
from orchestrator.run.models import (
    GroupStatus,
    LogLine,
    LogTail,
    QualityMark,
    RunState,
    RunStatus,
    RunSummary,
    StepState,
    StepStatus,
)
from orchestrator.run.transitions import BASE, lua
from orchestrator.scripts import Script

STEP_FIELDS = ("state", "token", "queued_at", "started_at", "finished_at", "worker", "error", "reason", "progress",
               "message", "quality_impact")  # fmt: skip
BARRIER_FIELDS = ("state", "started_at", "deadline", "extensions", "fallback_at", "decided_at", "action", "decision",
                  "filled", "quality_impact")  # fmt: skip
META_FIELDS = ("state", "workflow", "created_at", "started_at", "finished_at", "critical_path_seconds", "reason",
               "quality_impact", "quality")  # fmt: skip
STATUS = Script(BASE, lua("status"))
TAIL = Script(BASE, lua("tail"))


def parse_status(run_id: str, raw: Sequence[Any]) -> RunStatus:
    """A status from the reply of STATUS; raises NotFound when the run does not exist."""
    meta, *rows = raw
    if meta[0] is None:
        raise NotFound(f"no run has the id '{run_id}'")
    state, workflow, created, started, finished, critical, reason, impact, quality = (
        None if x is None else x.decode() for x in meta
    )
    nodes = [(json.loads(text), values) for text, values in rows]
    barriers = sorted((row for row in nodes if "members" in row[0]), key=lambda row: str(row[0]["group"]))
    steps = sorted((row for row in nodes if "members" not in row[0]), key=lambda row: int(row[0]["n"]))
    return RunStatus(
        run_id=run_id,
        workflow=workflow or "",
        state=RunState(state or ""),
        created_at=float(created or 0),
        started_at=_number(started),
        finished_at=_number(finished),
        critical_path_seconds=float(critical or 0),
        reason=reason or None,
        quality_impact=impact,
        quality=tuple(QualityMark.model_validate(mark) for mark in json.loads(quality or "[]")),
        steps={definition["id"]: _step(definition, values) for definition, values in steps},
        groups={definition["group"]: _group(definition, values) for definition, values in barriers},
    )


def _step(definition: Mapping[str, Any], row: Sequence[bytes | None]) -> StepStatus:
    state, token, queued, started, finished, worker, error, reason, progress, message, impact = (
        None if x is None else x.decode() for x in row
    )
    return StepStatus(
        id=definition["id"],
        agent=definition["agent"],
        group=definition.get("group"),
        state=StepState(state or "pending"),
        attempts=int(token or 0),
        queued_at=_number(queued),
        started_at=_number(started),
        finished_at=_number(finished),
        worker=worker,
        error=error or None,
        reason=reason or None,
        progress=_number(progress),
        message=message or "",
        quality_impact=impact or None,
        validates="validates_as" in definition,
    )


def _group(definition: Mapping[str, Any], row: Sequence[bytes | None]) -> GroupStatus:
    state, started, deadline, extensions, fallback, decided, action, reason, filled, impact = (
        None if x is None else x.decode() for x in row
    )
    return GroupStatus(
        id=definition["group"],
        state=state or "pending",
        members=tuple(definition["members"]),
        started_at=_number(started),
        deadline=_number(deadline),
        extensions=int(extensions or 0),
        fallback_at=_number(fallback),
        decided_at=_number(decided),
        action=action or None,
        reason=reason or None,
        filled=tuple((filled or "").split()),
        quality_impact=impact or None,
    )


def _number(text: str | None) -> float | None:
    return None if not text else float(text)


class RunReader:
    """Reads of one Redis, blocking."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def status(self, run_id: str) -> RunStatus:
        """One round trip. Raises NotFound."""
        wanted = {"meta": META_FIELDS, "step": STEP_FIELDS, "barrier": BARRIER_FIELDS}
        return parse_status(run_id, STATUS(self.client, run_id, wanted))

    def state(self, run_id: str) -> RunState:
        """One round trip. Raises NotFound."""
        with guarded():
            raw = cast("bytes | None", self.client.hget(keys.run_key(run_id, "meta"), "state"))
        if raw is None:
            raise NotFound(f"no run has the id '{run_id}'")
        return RunState(raw.decode())

    def files(self, run_id: str) -> dict[str, bytes]:
        """`<step>/<name>` -> content of every artifact."""
        with guarded():
            raw = cast("dict[bytes, bytes]", self.client.hgetall(keys.run_key(run_id, "files")))
        return {name.decode(): content for name, content in raw.items()}

    def file_sizes(self, run_id: str) -> dict[str, int]:
        """`<step>/<name>` -> bytes of every artifact. Two round trips."""
        key = keys.run_key(run_id, "files")
        with guarded():
            names = sorted(cast("list[bytes]", self.client.hkeys(key)))
            pipe = self.client.pipeline(transaction=False)
            for name in names:
                pipe.hstrlen(key, name.decode())
            return {name.decode(): size for name, size in zip(names, pipe.execute(), strict=True)}

    def file(self, run_id: str, step: str, name: str) -> bytes:
        """The content of one artifact. Raises NotFound."""
        with guarded():
            found = cast("bytes | None", self.client.hget(keys.run_key(run_id, "files"), f"{step}/{name}"))
        if found is None:
            raise NotFound(f"step {step} of run {run_id} has no artifact '{name[:200]}'")
        return found

    def logs(self, run_id: str, step: str, attempt: int | None = None) -> list[LogLine]:
        """The lines that the attempts of a step logged, oldest first."""
        return [line for line in self.log_tail(run_id, step).lines if attempt in (None, line.attempt)]

    def log_tail(self, run_id: str, step: str, after: int = 0) -> LogTail:
        """What a step has logged behind its first `after` lines. One round trip."""
        count, lines = cast("tuple[int, list[bytes]]", TAIL(self.client, run_id, {"step": step, "after": after}))
        return LogTail(lines=tuple(LogLine.model_validate_json(line) for line in lines), cursor=count)

    def behind(self, run_id: str, step: str) -> list[str]:
        """The steps that come after a step, directly or through others and barriers, in the order of the definition:
        what runs again with it. Two round trips."""
        with guarded():
            raw = cast("dict[bytes, bytes]", self.client.hgetall(keys.run_key(run_id, "edges")))
        edges = {node.decode(): to.decode().split() for node, to in raw.items()}
        found, ahead = set[str](), [step]
        while ahead:
            for node in edges.get(ahead.pop(), ()):
                if node not in found and not node.startswith("^"):
                    found.add(node)
                    ahead.append(node)
        return [name for name in self.status(run_id).steps if name in found]

    def workers(self) -> list[str]:
        """Host names of the workers that have said within the last seconds that they are there."""
        prefix = keys.worker_key("")
        with guarded():
            return sorted(key.decode().removeprefix(prefix) for key in self.client.scan_iter(prefix + "*", count=1000))

    def list(self, *, state: str | None = None, workflow: str | None = None, limit: int = 50) -> list[RunSummary]:
        """The newest runs first."""
        with guarded():
            ids = cast("list[bytes]", self.client.zrange(keys.RUNS, 0, 999, desc=True))
            pipe = self.client.pipeline(transaction=False)
            for raw_id in ids:
                pipe.hmget(keys.run_key(raw_id.decode(), "meta"), "workflow", "state", "created_at", "finished_at")
            rows = pipe.execute()
        found = [_summary(raw_id.decode(), row) for raw_id, row in zip(ids, rows, strict=True) if row[1] is not None]
        wanted = (run for run in found if state in (None, run.state) and workflow in (None, run.workflow))
        return list(wanted)[:limit]


def _summary(run_id: str, row: Sequence[bytes | None]) -> RunSummary:
    workflow, state, created, finished = (None if x is None else x.decode() for x in row)
    return RunSummary(run_id=run_id, workflow=workflow or "", state=RunState(state or ""),
                      created_at=float(created or 0), finished_at=_number(finished))  # fmt: skip
