"""Messages of a run, or of the whole deployment: published, read from any id on, and followed. Nobody who publishes
waits for anybody who reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any

import redis
from pydantic import StringConstraints
from redis.exceptions import ResponseError

from orchestrator import keys
from orchestrator.connection import BLOCK_SECONDS, guarded
from orchestrator.errors import InvalidValue, LeaseLost, NotFound
from orchestrator.fields import Frozen, Seconds, Size
from orchestrator.messages.cursor import Cursor
from orchestrator.messages.models import Event, MissedEvent
from orchestrator.scripts import Script, fragment

if TYPE_CHECKING:
    from orchestrator.batch import BatchLimits, BatchProcessor

_ROOM = "orchestrator.messages"
_PLACES = fragment(_ROOM, "places")
PUBLISH = Script(  # what trims is only set up when it is time
    "local function trimming(P, A, NOW)", _PLACES, fragment(_ROOM, "trim"), "return trim end",
    fragment(_ROOM, "publish"),
)  # fmt: skip
JOIN = Script(fragment("orchestrator.run", "base"), _PLACES, fragment(_ROOM, "join"))
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
BLOCK_MS = int(BLOCK_SECONDS * 1000)
NONCE_BYTES = 8


class MessageLimits(Frozen, defer_build=False):
    """A stream keeps about its newest `keep` bytes, and up to `bytes` for groups that were seen within `live` seconds
    and have not read them. One message has at most `message` bytes."""

    message: Size = 64_000
    keep: Size = 8_000_000
    bytes: Size = 32_000_000
    live: Seconds = 60.0


Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Maybe = Annotated[str, StringConstraints(max_length=200)]


class Message(Frozen):
    """What is to be published: any JSON value on a `topic`, meant for the step `to`, or for everybody. Of several with
    one `key` within ten minutes the first is published."""

    topic: Name
    data: Any = None
    to: Maybe = ""
    key: Maybe = ""


class Speaker(Frozen, defer_build=False):  # of every step, as its limits: before children are forked
    """The attempt that publishes; its messages are refused once it is not the current one. `node` names it in the
    ledger where it works for another step than its own."""

    step: str
    token: int
    node: str = ""


class Stream:
    """What groups share: the stream `key` = `prefix` + `part`, and a book of where they stand. A group that is silent
    for `live` seconds holds nothing up. `bounded`: it keeps its newest entries, whoever has read them."""

    def __init__(self, prefix: str, part: str, live: float, *, of_run: bool = False, bounded: bool = False) -> None:
        self.prefix, self.key, self.book = prefix, prefix + part, f"{prefix}{part}:book"
        self.live, self.bounded = live, bounded
        self._of_run, self._part = of_run, part

    def joining(self, group: str, consumer: str, start: str) -> str:
        """Arguments of JOIN."""
        return _encode(
            {"run": self._of_run, "stream": self._part, "bounded": self.bounded, "group": group, "consumer": consumer,
             "start": start, "live": self.live}
        )  # fmt: skip

    def joined(self, raw: Sequence[Any]) -> None:
        """Raises NotFound."""
        if raw[0] == b"refused":
            raise NotFound(f"no run has the id '{self.prefix[5:-1]}'")


class Calls(Stream):
    """What a channel sends and how its answers are read, for clients that block and for asyncio alike.

    `run_id` None is the channel of the deployment.
    """

    def __init__(self, run_id: str | None, limits: MessageLimits | None = None) -> None:
        self.limits = limits or MessageLimits()
        self.run_id = keys.EVERYBODY if run_id is None else run_id
        super().__init__(keys.run_prefix(self.run_id), ":messages", self.limits.live, of_run=run_id is not None)
        bounds = (self.limits.bytes, self.limits.keep, self.limits.live)
        self._always = ("1" if self._of_run else "", *map(str, bounds))

    def publishing(self, messages: Sequence[Message], speaker: Speaker | None) -> list[str]:
        """Arguments of PUBLISH. Raises InvalidValue."""
        said = ("", "", "") if speaker is None else (speaker.step, str(speaker.token), speaker.node or speaker.step)
        arguments = [token_hex(NONCE_BYTES), *self._always, *said]
        for message in messages:
            arguments += (message.topic, message.to, self._text(message), message.key)
        return arguments

    def _text(self, message: Message) -> str:
        try:
            text = _encode(message.data)
        except (TypeError, ValueError) as error:
            raise InvalidValue(f"the message on '{message.topic}' is no JSON: {error}") from None
        if len(text) > self.limits.message:
            raise InvalidValue(
                f"the message on '{message.topic}' has {len(text):,} bytes; at most {self.limits.message:,} are sent. "
                "Keep the value in the context or as an artifact, and send its name"
            )
        return text

    def published(self, raw: Sequence[Any], speaker: Speaker | None) -> list[str]:
        """The ids that PUBLISH has given. Raises NotFound, LeaseLost."""
        if raw[0] == b"refused":
            state = raw[1].decode()
            if speaker is None or state == "unknown":
                raise NotFound(f"no run has the id '{self.run_id}'")
            raise LeaseLost(f"attempt {speaker.token} of step '{speaker.step}' was replaced; the step is {state}")
        return [entry.decode() for entry in raw[1:]]


class Broadcast(Stream):
    """A stream of the deployment that others write, such as the news of all runs (`keys.NEWS`) or the alerts: for
    groups. `client` is one for commands that wait."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        super().__init__(key, "", MessageLimits().live, bounded=True)
        self.client = client


class Channel(Calls):
    """The messages of a run (`run_id`), or of the deployment (None), on this client."""

    def __init__(self, client: redis.Redis, run_id: str | None = None, limits: MessageLimits | None = None) -> None:
        super().__init__(run_id, limits)
        self.client = client

    def publish(self, *messages: Message, speaker: Speaker | None = None) -> list[str]:
        """Tell everybody; returns the messages' ids. One command, however many there are; it never waits for readers.

        Raises NotFound for a run that is not there, LeaseLost for a speaker that was replaced, InvalidValue.
        """
        raw = PUBLISH.at(self.client, self.prefix, *self.publishing(messages, speaker))
        return self.published(raw, speaker)

    def batching(self, limits: BatchLimits | None = None) -> BatchProcessor[Message, str]:
        """A processor that publishes what is added to it as `message`, in batches. The result of each is its id.
        After a broken connection messages are sent again: give those a key that must not come twice."""
        from orchestrator.batch import BatchProcessor

        return BatchProcessor({"message": lambda messages: self.publish(*messages)}, limits=limits)

    def read(self, after: str = "0") -> list[Event]:
        """What was published behind the id `after` and is kept; a MissedEvent first if some of it is not."""
        cursor, found = Cursor(self.key, after), list[Event]()
        while events := look(self.client, cursor, None):
            found += events
        return found

    def follow(self, after: str = "0") -> Iterator[list[Event]]:
        """As `read`, in batches, and then what comes; an empty list whenever nothing came for BLOCK_SECONDS. The client
        has to be one for commands that wait."""
        cursor = Cursor(self.key, after)
        while True:
            yield look(self.client, cursor, BLOCK_MS)


def look(client: redis.Redis, cursor: Cursor, block: int | None) -> list[Event]:
    """The next events of any stream, with a MissedEvent before them where some are gone. Waits up to `block` ms."""
    any_client: Any = client
    with guarded():
        events, doubtful = cursor.take(any_client.execute_command(*cursor.command(block)))
        missed = missing(client, cursor) if doubtful else None
    cursor.move(events)
    return events if missed is None else [missed, *events]


def missing(client: redis.Redis, cursor: Cursor) -> MissedEvent | None:
    """What tells a reader that events behind its place are not kept any more; None when all are."""
    any_client: Any = client
    try:
        return cursor.check(any_client.execute_command("XINFO", "STREAM", cursor.key))
    except ResponseError:  # it has just expired
        return None


def newest(client: redis.Redis, key: str) -> str:
    """The id of the last event of a stream, "0" when there is none."""
    with guarded():
        rows: Any = client.xrevrange(key, count=1)
    return rows[0][0].decode() if rows else "0"
