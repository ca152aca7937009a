"""A mapped step from its claim to its end: its items become chunks, lanes work on them, and what they did is gathered.

The attempt that was claimed stores the chunks and opens the lanes; from then on it has no process. Whoever ends the
last item gathers: the same policy that judges a group's barrier judges the items, each of them a member. What is half
done when a process dies: chunks without lanes are stored anew by the next attempt of the step; lanes are leased; a step
whose items have all ended is due until somebody has gathered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from celery import Celery

from orchestrator import keys
from orchestrator.barrier.policy import Action, Decision, Member, Snapshot, decide
from orchestrator.connection import guarded
from orchestrator.context.fields import split
from orchestrator.context.reader import ContextReader
from orchestrator.context.values import canonical
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.commits import Written, complete
from orchestrator.engine.items import Failure, Item, pack_items, unpack_failures, unpack_items
from orchestrator.engine.join import follow
from orchestrator.engine.join_context import impact_of_filling
from orchestrator.engine.merging import mark
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.errors import InvalidValue
from orchestrator.run import dead_letters
from orchestrator.run.expansions import Tally
from orchestrator.run.models import RunState
from orchestrator.run.policy import POISONED
from orchestrator.run.replies import Claimed, Moved, Refused
from orchestrator.workflow.expansion import StageKind, chunk_size, chunked, room, slices
from orchestrator.workflow.models import BarrierSpec

if TYPE_CHECKING:
    from orchestrator.engine.link import Attempt

ALL = "all"
"""The chunk of the stage that merges."""
FED_AT_ONCE = 50
INLINE_BYTES = 1_000_000
"""Results that are larger together stay where the lanes have put them; the context gets a reference."""
REFERENCE = "items_of"
"""The key of such a reference: `{"items_of": step, "count": n}`."""
TOLD = 3
"""So many failed items are named in the error of a step."""
SILENT_LEASES = 2
"""A feeder that is silent for so many leases is told of in the status of its step."""


def definition_of(runtime: Runtime, run_id: str, step: str) -> Mapping[str, Any]:
    """The definition of a step that travels with its run."""
    with guarded():
        text = cast("bytes | None", runtime.client.hget(keys.run_key(run_id, "defs"), step))
    return cast("Mapping[str, Any]", json.loads(text or b"{}"))


# -- opening ----------------------------------------------------------------------------------------------------------


def expand(app: Celery, attempt: Attempt) -> None:
    """Store the items of a claimed step as chunks, and open its lanes. Raises InvalidValue for what is no list."""
    runtime, run_id, step = attempt.runtime, attempt.run_id, attempt.step
    spec = attempt.definition["expand"]
    if not _fed_by_client(spec):
        tally = runtime.expansions.tally(run_id, step)
        if not tally.closed:
            _store(runtime, attempt, spec)
    answer = _open(runtime, run_id, attempt.definition, attempt.token, attempt.reader.version, attempt.branches)
    if isinstance(answer, Refused):
        log.warning("run %s step %s: its items were not opened, it is %s", run_id, step, answer.why)
        return
    over, moved = answer
    follow(app, run_id, moved)
    if over:
        gather(app, run_id, step)


def _fed_by_client(spec: Mapping[str, Any]) -> bool:
    return isinstance(spec["items"], Mapping)


def _store(runtime: Runtime, attempt: Attempt, spec: Mapping[str, Any]) -> None:
    limit = runtime.settings.engine.max_value_bytes
    size, items = _source(attempt, spec)
    concurrency = spec["stages"][0]["concurrency"]
    rows = (Item(place, canonical(value, limit=limit, what=f"item {place}")) for place, value in enumerate(items))
    per_chunk = 1 if "forks" in spec else chunk_size(size, concurrency, spec.get("chunk_size"))
    at = 0
    for some in chunked(chunked(rows, per_chunk), FED_AT_ONCE):
        packed = [(len(chunk), pack_items(chunk)) for chunk in some]
        runtime.expansions.feed(attempt.run_id, attempt.step, at, packed, anew=at == 0)
        at += len(packed)
    runtime.expansions.feed(attempt.run_id, attempt.step, at, [], closed=True, anew=at == 0)


def _source(attempt: Attempt, spec: Mapping[str, Any]) -> tuple[int, Iterator[Any]]:
    """How many items there are, and they."""
    found: Any = spec["items"]
    if isinstance(found, str):
        found = attempt.context().read(found)
    if isinstance(found, Mapping) and REFERENCE in found:
        rows = (item.value for items in results(attempt.runtime, attempt.run_id, found[REFERENCE]) for item in items)
        return int(found["count"]), rows
    if not isinstance(found, list):
        hint = f"; give it as JSON: --input {spec['items']}:='[1, 2]'" if spec["items"] in attempt.inputs else ""
        what = f"step '{attempt.step}' maps over '{spec['items']}', which is no list but {_kind(found)}{hint}"
        raise InvalidValue(what)
    if "forks" in spec:
        found = slices(found, spec["forks"])
    return len(found), iter(found)


def _kind(value: Any) -> str:
    return {dict: "a mapping", str: "a text", type(None): "nothing"}.get(type(value), f"a {type(value).__name__}")


def _open(
    runtime: Runtime,
    run_id: str,
    definition: Mapping[str, Any],
    token: int,
    version: int,
    branches: Sequence[str],
    *,
    again: bool = False,
    seconds: float | None = None,
) -> tuple[bool, Moved] | Refused:
    stages = definition["expand"]["stages"]
    merge = len(stages) - 1 if stages[-1]["kind"] == StageKind.MERGE else None
    lanes = [
        {
            "id": f"{definition['id']}/{token}{'a' if again else ''}.{number}.{place}",
            "n": definition["n"],
            "agent": stage["agent"],
            "queue": stage["queue"],
            "priority": definition["priority"],
            "retry": {"maximum_attempts": 0},
            "lane": {"step": definition["id"], "stage": number, "token": token, "version": version,
                     "branches": list(branches)} | ({"again": True} if again else {}),
        }
        for number, stage in enumerate(stages)
        for place in range(1 if again else stage["concurrency"])
    ]  # fmt: skip
    rooms = [room(stage["concurrency"]) for stage in stages]
    return runtime.expansions.expand(
        run_id, definition["id"], token, lanes, rooms, merge=merge, idle=definition.get("idle_timeout"), again=again,
        seconds=seconds,
    )  # fmt: skip


# -- results ----------------------------------------------------------------------------------------------------------


def results(runtime: Runtime, run_id: str, step: str) -> Iterator[list[Item]]:
    """The results of a mapped step in the order of its items, chunk by chunk; what failed or was filtered out is not
    among them."""
    for pieces in runtime.expansions.results(run_id, step):
        rows = [item for piece in pieces for item in unpack_items(piece)]
        yield rows if len(pieces) == 1 else sorted(rows, key=lambda item: item.place)


def _failures(chunks: Mapping[str, bytes]) -> tuple[list[Failure], str]:
    """The items that failed, in order, and what went wrong when all results were merged."""
    found: list[Failure] = []
    merge = ""
    for name, packed in chunks.items():
        rows = unpack_failures(packed)
        if name.endswith(f":{ALL}"):
            merge = rows[0].error
        else:
            found += rows
    return sorted(found, key=lambda failure: failure.item.place), merge


# -- judging ----------------------------------------------------------------------------------------------------------


def _judge(
    definition: Mapping[str, Any], tally: Tally, failed: Sequence[Failure], *, overdue: bool = False,
    progress_at: float = 0.0, extensions: int = 0, looked_at: float = 0.0,
) -> Decision:  # fmt: skip
    """The barrier's decision over the items, each of them a member."""
    stand_in = _stand_in(definition) is not None
    good = Member("", "success")
    bad = [Member(f"item {one.item.place}", "failed", has_defaults=stand_in, reason=one.reason) for one in failed]
    running = Member("the others", "running", has_defaults=stand_in, progress_at=progress_at)
    left = max(0, tally.items - tally.ended) if overdue else 0
    members = (*[good] * (tally.ended - len(bad)), *bad, *[running] * left)
    snapshot = Snapshot(tally.at, members, overdue, extensions=extensions, looked_at=looked_at, fell_back=tally.again)
    spec = BarrierSpec.model_validate(definition["expand"]["barrier"])
    if not members:
        return Decision(Action.RELEASE, reason="there were no items")
    return decide(spec, snapshot)


def _stand_in(definition: Mapping[str, Any]) -> Any:
    declared = definition.get("defaults")
    if declared is not None:
        return declared
    stages = definition["expand"]["stages"]
    agent = REGISTRY.get(stages[0]["agent"]) if len(stages) == 1 else None
    return None if agent is None else agent.defaults


def is_enough(runtime: Runtime, run_id: str, definition: Mapping[str, Any]) -> bool:
    """Whether the items that succeeded are enough to go on with."""
    tally, chunks = runtime.expansions.standing(run_id, definition["id"])
    return _judge(definition, tally, _failures(chunks)[0]).action in (Action.RELEASE, Action.PARTIAL)


def gather(app: Celery, run_id: str, step: str, *, overdue: bool = False, cause: str = "") -> bool:
    """End a mapped step whose items have all ended, or whose time is over; whether anything has changed. Safe to call
    any number of times."""
    runtime = runtime_of(app)
    with guarded():
        pipe = runtime.client.pipeline(transaction=False)
        pipe.hget(keys.run_key(run_id, "defs"), step)
        pipe.hmget(keys.run_key(run_id, f"s:{step}"), "state", "token", "lanes", "progress_at", "extensions",
                   "looked_at")  # fmt: skip
        pipe.hget(keys.run_key(run_id, "meta"), "doom")
        text, row, doom = pipe.execute()
    state, token, lanes = row[:3]
    if text is None or state != b"running" or lanes is None:
        return False
    definition = json.loads(text)
    gathering = _Gathering(app, runtime, run_id, definition, int(token), lanes.decode())
    if doom is not None:
        return gathering.end("cancelled", "Cancelled: the run was cancelled")
    tally, chunks = runtime.expansions.standing(run_id, step)
    if not tally.over and not overdue:
        return False
    failed, merge = _failures(chunks)
    progress_at, extensions, looked_at = (float(value or 0) for value in row[3:])
    decision = _judge(
        definition, tally, failed, overdue=overdue and not tally.over, progress_at=progress_at,
        extensions=int(extensions), looked_at=looked_at,
    )  # fmt: skip
    return gathering.carry_out(decision, tally, failed, merge, cause)


class _Gathering:
    def __init__(
        self, app: Celery, runtime: Runtime, run_id: str, definition: Mapping[str, Any], token: int, lanes: str
    ) -> None:
        self._app, self._runtime, self._run_id = app, runtime, run_id
        self._definition, self._token, self._lanes = definition, token, lanes
        self._step = str(definition["id"])

    def carry_out(self, decision: Decision, tally: Tally, failed: list[Failure], merge: str, cause: str) -> bool:
        log.info("run %s step %s: %s, %.300s", self._run_id, self._step, decision.action.value, decision.reason)
        action = decision.action
        if action is Action.WAIT:
            return False
        if action is Action.EXTEND:
            return self._extend(decision.seconds)
        if action is Action.FALLBACK:
            return self._again()
        if action is Action.FAIL or merge:
            named = "; ".join(f"item {one.item.place}: {one.error}" for one in failed[:TOLD])
            why = f"{len(failed)} of {tally.items} items failed" if failed else ""
            late = f"StepTimeout: {tally.ended} of {tally.items} items had ended in time" if cause else ""
            said = "; ".join(part for part in (late, f"{why}: {named}" if why else "", merge) if part)
            if any(one.reason == POISONED for one in failed):
                dead_letters.park(self._runtime.client, self._run_id, self._step)
                return self.end("failed", f"ItemsFailed: {said}", POISONED)
            return self.end(
                "timed_out" if cause else "failed", said if cause else f"ItemsFailed: {said}", cause or "items"
            )
        return self._succeed(tally, failed)

    def end(self, state: str, error: str, reason: str = "") -> bool:
        moved = self._runtime.ledger.finish(
            self._run_id, self._step, state, token=self._token, error=error, reason=reason, apart=True
        )
        if isinstance(moved, Moved):
            follow(self._app, self._run_id, moved)
        return isinstance(moved, Moved)

    def _extend(self, seconds: float) -> bool:
        """A sweep that dies in between has extended without counting it: the step has some more time then."""
        node = keys.run_key(self._run_id, f"s:{self._step}")
        client = self._runtime.client
        with guarded():
            now, micros = client.time()
            pipe = client.pipeline(transaction=True)
            pipe.zadd(
                keys.run_key(self._run_id, "due"), {f"timeout:{self._step}": now + micros / 1e6 + seconds}, xx=True
            )
            pipe.hincrby(node, "extensions", 1)
            pipe.hset(node, "looked_at", str(now + micros / 1e6))
            pipe.execute()
        return True

    def _again(self) -> bool:
        """What failed runs once more, one item at a time."""
        version, branches = self._reads()
        answer = _open(
            self._runtime, self._run_id, self._definition, self._token, version, branches, again=True,
            seconds=self._definition.get("timeout"),
        )  # fmt: skip
        if isinstance(answer, Refused):
            return False
        follow(self._app, self._run_id, answer[1])
        return True

    def _reads(self) -> tuple[int, Sequence[str]]:
        """What the attempt reads: the version that it was granted, and branches over it."""
        first = self._lanes.partition(" ")[0]
        lane = definition_of(self._runtime, self._run_id, first).get("lane", {})
        return int(lane.get("version", 0)), tuple(lane.get("branches", ()))

    def _succeed(self, tally: Tally, failed: list[Failure]) -> bool:
        runtime, definition = self._runtime, self._definition
        version, branches = self._reads()
        reader = ContextReader(runtime.context, self._run_id, version=version, branches=branches)
        granted = Claimed(self._token, definition, tally.at, RunState.RUNNING, version, tuple(branches))
        missing = len(failed) + (tally.items - tally.ended)
        marks: tuple[Mapping[str, str], ...] = ()
        if missing:
            message = f"{missing} of {tally.items} items of {self._step} gave no result"
            marks = (mark("partial", impact_of_filling(runtime), message, step=self._step),)
        try:
            fields = split(
                self._step, self._document(tally, failed, missing), limit=runtime.settings.engine.max_value_bytes
            )
        except InvalidValue as error:
            return self.end("failed", f"InvalidValue: {error}", "non_retryable")
        moved = complete(runtime, self._run_id, granted, reader, Written(tuple(fields), {}, marks=marks), apart=True)
        if isinstance(moved, Moved):
            follow(self._app, self._run_id, moved)
        return isinstance(moved, Moved)

    def _document(self, tally: Tally, failed: list[Failure], missing: int) -> dict[str, Any]:
        """What the step writes: `count` of items, how many `failed`, and its `results` in order, or the one `result` of
        a merge."""
        document: dict[str, Any] = {"count": tally.items, "failed": missing}
        merged = self._runtime.expansions.merged(self._run_id, self._step)
        if merged is not None or tally.merge is not None:
            return document | {"result": None if merged is None else unpack_items(merged)[0].value}
        stand_in = _stand_in(self._definition)
        if tally.bytes > INLINE_BYTES:
            return document | {"results": {REFERENCE: self._step, "count": tally.ended - tally.dropped - len(failed)}}
        rows = {item.place: item.value for items in results(self._runtime, self._run_id, self._step) for item in items}
        if stand_in is not None:
            rows |= {one.item.place: stand_in for one in failed}
            if tally.ended < tally.items and not tally.dropped:
                rows |= {place: stand_in for place in range(tally.items) if place not in rows}
        values = [rows[place] for place in sorted(rows)]
        if "forks" in self._definition["expand"] and all(isinstance(value, list) for value in values):
            return document | {"result": [item for value in values for item in value]}
        return document | {"results": values}


def miss_feeder(runtime: Runtime, run_id: str, step: str) -> None:
    """Nobody has fed a step for a while: its status says so, until somebody goes on."""
    tally = runtime.expansions.tally(run_id, step)
    silent = tally.at - tally.fed_at
    with guarded():
        pipe = runtime.client.pipeline(transaction=True)
        if not tally.closed:
            said = f"waits for its feeder, silent for {silent:.0f} s; {tally.ended} of {tally.items} items so far"
            pipe.hset(keys.run_key(run_id, f"s:{step}"), "message", said)
        pipe.zrem(keys.run_key(run_id, "due"), f"feed:{step}")
        pipe.execute()
