"""The items of mapped steps in the store: chunks are fed, handed to lanes, and ended, each by one atomic script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from secrets import token_hex
from typing import Any, cast

import redis
from msgspec import Struct, field

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.run import replies
from orchestrator.run.replies import Moved, Refused
from orchestrator.scripts import Script

Row = tuple[int, Any]
"""The place of an item among all items, from 0, and its value."""

NONCE_BYTES = 8
READ_AT_ONCE = 20


class ExpansionScripts(Struct, frozen=True):
    """What the engine composes of this room's fragments and those of others."""

    expand: Script
    feed: Script
    chunk: Script


class Fed(Struct, frozen=True):
    """What came of feeding: `ok`, `full` (too much waits already), `refused` (another feeder is ahead) or `ended` (the
    step takes nothing any more). The step has `chunks` with `items` now; `ended` of them are through, after `seconds`
    of work."""

    kind: str
    chunks: int
    items: int
    run_state: str
    ended: int
    seconds: float
    moved: Moved


class Given(Struct, frozen=True):
    """A chunk that a lane holds now. `part` is what an earlier attempt has stored of it, `begun` how often it was."""

    chunk: str
    packed: bytes
    part: bytes
    begun: int


class Rested(Struct, frozen=True):
    """A lane holds no chunk any more. `over`: all items have ended, and somebody has to gather."""

    over: bool


class ChunkEnd(Struct, frozen=True):
    """What a lane says of the chunk that it holds, as `chunk.lua` reads it. `onward` goes to the next stage or to the
    results; for a chunk that is not `done` it is how far it is. `failed` are the items that failed."""

    chunk: str
    state: str
    onward: bytes = b""
    failed: bytes = b""
    ok: int = 0
    bad: int = 0
    dropped: int = 0
    last: bool = False
    delay: float = 0.0
    seconds: float = 0.0


class Tally(Struct, frozen=True):
    """A mapped step as it stands. `again`: what failed has had its second turn; `dropped`: filtered out; `bytes` of all
    results; `merge`: the stage that merges; `fed_at`: when its feeder was last heard of (Redis' time)."""

    chunks: int = 0
    items: int = 0
    closed: bool = False
    over: bool = False
    ended: int = 0
    bad: int = 0
    dropped: int = 0
    bytes: int = 0
    again: bool = False
    merge: int | None = None
    fed_at: float = 0.0
    at: float = 0.0
    waiting: Mapping[int, int] = field(default_factory=dict)


class Expansions:
    """The mapped steps of one store. Every method is one round trip, but where it says otherwise."""

    def __init__(self, client: redis.Redis, scripts: ExpansionScripts, *, lost_after: float) -> None:
        self._client = client
        self._scripts = scripts
        self._common = {"lost": lost_after}

    def _arguments(self, **given: Any) -> dict[str, Any]:
        return self._common | {name: value for name, value in given.items() if value is not None}

    def feed(
        self,
        run_id: str,
        step: str,
        at: int,
        chunks: Sequence[tuple[int, bytes]],
        *,
        closed: bool = False,
        room: int | None = None,
        anew: bool = False,
        silence: float | None = None,
    ) -> Fed:
        """Store chunks, each its number of items and their packed values, behind the `at` chunks that are there. With
        `room` only as long as fewer wait; `closed`: these are the last."""
        arguments = self._arguments(
            step=step, at=at, counts=[count for count, _ in chunks], closed=closed or None, room=room,
            anew=anew or None, silence=silence, nonce=token_hex(NONCE_BYTES),
        )  # fmt: skip
        raw = self._scripts.feed(self._client, run_id, arguments, [packed for _, packed in chunks])
        kind, fed, items, state, ended, seconds, reply = raw
        return Fed(kind.decode(), int(fed), int(items), state.decode(), int(ended), float(seconds), _moved(reply))

    def expand(
        self,
        run_id: str,
        step: str,
        token: int,
        lanes: Sequence[Mapping[str, Any]],
        rooms: Sequence[int],
        *,
        merge: int | None = None,
        idle: float | None = None,
        again: bool = False,
        seconds: float | None = None,
    ) -> tuple[bool, Moved] | Refused:
        """Lanes begin on what is stored: their definitions by stage. Returns whether there is nothing to do. `again`:
        what failed has its second turn, once, within `seconds`."""
        arguments = self._arguments(
            step=step, token=token, merge=merge, rooms=list(rooms), lanes=[lane["id"] for lane in lanes], idle=idle,
            again=again or None, seconds=seconds,
        )  # fmt: skip
        definitions = [json.dumps(lane, separators=(",", ":")) for lane in lanes]
        raw = self._scripts.expand(self._client, run_id, arguments, definitions)
        return Refused(raw[1].decode()) if raw[0] == b"refused" else (raw[0] == b"over", _moved(raw[1]))

    def chunk(
        self,
        run_id: str,
        step: str,
        lane: str,
        stage: int,
        token: int,
        *,
        lease: float,
        end: ChunkEnd | None = None,
        leave: bool = False,
    ) -> tuple[Given | Rested, Moved] | str | Refused:
        """A lane ends a chunk, and takes the next one unless it is to `leave`. For a chunk that it goes on with, the
        state of the run."""
        said: dict[str, Any] = {}
        payloads: list[bytes] = []
        if end is not None:
            said = {"chunk": end.chunk, "state": end.state, "ok": end.ok, "bad": end.bad, "dropped": end.dropped,
                    "last": end.last or None, "delay": end.delay, "seconds": round(end.seconds, 6)}  # fmt: skip
            payloads = [end.onward, end.failed]
        arguments = self._arguments(step=step, lane=lane, stage=stage, token=token, lease=lease, leave=leave or None,
                                    **said)  # fmt: skip
        raw = self._scripts.chunk(self._client, run_id, arguments, payloads)
        if raw[0] == b"refused":
            return Refused(raw[1].decode())
        if raw[0] == b"on":
            return str(raw[1].decode())
        if raw[0] == b"chunk":
            _, name, packed, part, begun, reply = raw
            return Given(name.decode(), packed, part, int(begun)), _moved(reply)
        return Rested(raw[0] == b"over"), _moved(raw[1])

    def tally(self, run_id: str, step: str) -> Tally:
        """How far it is; two round trips."""
        with guarded():
            raw = cast("dict[bytes, bytes]", self._client.hgetall(keys.expansion_key(run_id, step)))
            seconds, micros = self._client.time()
        return _tally(raw, seconds, micros)

    def standing(self, run_id: str, step: str) -> tuple[Tally, dict[str, bytes]]:
        """How far it is, and what has failed, at one moment: `<stage>:<chunk>` -> the items of that chunk that
        failed there, packed; `<stage>:all` for a merge. One round trip."""
        with guarded():
            pipe = self._client.pipeline(transaction=True)
            pipe.hgetall(keys.expansion_key(run_id, step))
            pipe.hgetall(keys.expansion_key(run_id, step, "bad"))
            pipe.time()
            raw, failed, now = pipe.execute()
        return _tally(raw, *now), {name.decode(): packed for name, packed in failed.items()}


    def merged(self, run_id: str, step: str) -> bytes | None:
        """What the merge gave."""
        with guarded():
            return cast("bytes | None", self._client.hget(keys.expansion_key(run_id, step, "out"), "all"))

    def results(self, run_id: str, step: str) -> Iterator[list[bytes]]:
        """The results of each chunk in the order of the items: mostly one packed piece, more after a retry. A round
        trip for READ_AT_ONCE chunks."""
        name = keys.expansion_key(run_id, step, "out")
        with guarded():
            fields = [raw.decode() for raw in cast("list[bytes]", self._client.hkeys(name))]
        pieces: dict[int, list[str]] = {}
        for chunk in fields:
            if chunk != "all":
                pieces.setdefault(int(chunk.partition("~")[0]), []).append(chunk)
        order = sorted(pieces)
        for at in range(0, len(order), READ_AT_ONCE):
            numbers = order[at : at + READ_AT_ONCE]
            wanted = [chunk for number in numbers for chunk in pieces[number]]
            with guarded():
                found = dict(zip(wanted, cast("list[bytes]", self._client.hmget(name, wanted)), strict=True))
            for number in numbers:
                yield [found[chunk] for chunk in pieces[number]]

    def await_room(self, run_id: str, step: str, client: redis.Redis, seconds: float) -> None:
        """Block until a lane has taken a chunk, for at most so long. `client` is one for blocking calls."""
        with guarded():
            client.blpop([keys.expansion_key(run_id, step, "room")], timeout=seconds)


def _tally(raw: Mapping[bytes, bytes], seconds: int, micros: int) -> Tally:
    found = {name.decode(): value.decode() for name, value in raw.items()}
    merge = found.get("merge")
    return Tally(
        chunks=int(found.get("fed", 0)),
        items=int(found.get("items", 0)),
        closed="closed" in found,
        over="over" in found,
        ended=int(found.get("ended", 0)),
        bad=int(found.get("bad", 0)),
        dropped=int(found.get("dropped", 0)),
        bytes=int(found.get("bytes", 0)),
        again="again" in found,
        merge=None if merge is None else int(merge),
        fed_at=float(found.get("fed_at", 0)),
        at=seconds + micros / 1e6,
    )


def _moved(reply: Any) -> Moved:
    answer = replies.moved(reply)
    assert isinstance(answer, Moved)  # noqa: S101 - these scripts say elsewhere that they refuse
    return answer


__all__ = ["ChunkEnd", "ExpansionScripts", "Expansions", "Fed", "Given", "Rested", "Tally"]
