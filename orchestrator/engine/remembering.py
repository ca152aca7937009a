"""Results of steps that are taken from the cache, and put there: for steps that ask for it, and nobody else pays.

A result is known by two keys. The first is what is known before any work: the step, its parameters, the agent and its
version, what it may touch. Under it lies what the agent has ever been seen to read: names of fields and of inputs.
The second one adds the content of just those, so a change of something that was never read makes no difference, and
nothing has to be declared. An agent that reads more than before leaves the longer list behind.

When a process dies between the end of a step and the put, or between the two puts, the work is done once more later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.cache.levels import READS, Level
from orchestrator.cache.models import Hit
from orchestrator.cache.store import Building, Cache
from orchestrator.context.fields import FieldWrite
from orchestrator.engine import schemas
from orchestrator.engine.agent import Agent, find_agent
from orchestrator.engine.commits import Written
from orchestrator.engine.runtime import log
from orchestrator.engine.versions import version_of
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.engine.link import Attempt

_TELLING = ("id", "with", "outputs", "wants", "validates")
"""Keys of a definition on which a result may depend, beside what the rules of access say."""
_HEADER = 8


class Reads(Struct, frozen=True):
    """What an agent has asked for: sections and fields of the context, inputs, and templates, all by name."""

    context: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    templates: frozenset[str] = frozenset()

    def __or__(self, other: Reads) -> Reads:
        return Reads(self.context | other.context, self.inputs | other.inputs, self.templates | other.templates)

    def dump(self) -> bytes:
        return json.dumps([sorted(names) for names in (self.context, self.inputs, self.templates)]).encode()

    @classmethod
    def load(cls, text: bytes) -> Reads:
        return cls(*map(frozenset, json.loads(text)))


def memory_of(attempt: Attempt) -> Memory | None:
    """What remembers the results of this attempt's step, if anybody wants that: the step, or else its agent."""
    wanted = attempt.definition.get("cache")
    agent = find_agent(attempt.definition["agent"]) if wanted is not False else None
    if agent is None or attempt.validates:
        return None
    wanted = agent.cache if wanted is None else wanted
    if wanted is False:
        return None
    version = agent.version or version_of(agent.function, attempt.runtime.templates)
    if version is None:
        log.warning("agent %s has no version, and no file to take one from; its results are not cached", agent.name)
        return None
    return Memory(attempt, agent, version, None if wanted is True else float(wanted))


class Memory:
    """One attempt's way to the cache; a context, at whose end others may compute what it has not."""

    def __init__(self, attempt: Attempt, agent: Agent, version: str, max_age: float | None) -> None:
        self._attempt = attempt
        self._agent = agent
        self._version = version
        self._max_age = max_age
        self._seen = Reads()
        self._building: Building | None = None
        self._begun = perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._building is not None:
            self._building.close()

    def recall(self) -> Written | None:
        """An earlier result; None when the agent has to work. Whoever comes while another attempt computes it waits,
        unless it holds locks; a step that was begun anew by hand is computed anew."""
        attempt = self._attempt
        if attempt.token > 1 and attempt.runtime.ledger.spent(attempt.run_id, attempt.step):
            return None
        known = self._look(self._reads, self._first())
        if known is None:
            return None
        self._seen = Reads.load(known.value)
        found = self._look(self._results, self._second(), self._max_age)
        if found is None:
            attempt.runtime.foresee(self._seen.templates)
        self._begun = perf_counter()
        written = None if found is None else _unpacked(found, attempt)
        return written

    def _look(self, cache: Cache, key: str, max_age: float | None = None) -> Hit | None:
        definition = self._attempt.definition
        if "locks" in definition or "group_locks" in definition:
            return cache.get(key, max_age=max_age)
        entered = cache.enter(key, max_age=max_age, leave=self._attempt.cancelled)
        if isinstance(entered, Building):
            self._building = entered
            return None
        return entered

    def remember(self, written: Written) -> None:
        """Keep what was committed, for the next one."""
        attempt, name = self._attempt, self._agent.name
        if written.locks or attempt.talked or not attempt.reader.steady:
            why = "exchanged messages" if attempt.talked else "worked under locks"
            log.info("step %s of run %s %s: its result is not cached", attempt.step, attempt.run_id, why)
            return
        cost, unasked = perf_counter() - self._begun, not (self._seen.context or self._seen.inputs)
        self._seen |= attempt.read
        try:
            self._results.put(self._second(), _packed(written, attempt.run_id), family=name, cost=cost, unasked=unasked)
            self._reads.put(self._first(), self._seen.dump(), family=name, cost=cost)
        except OrchestratorError as error:  # the step has ended well
            log.warning("the result of step %s of run %s is not cached: %s", attempt.step, attempt.run_id, error)

    @property
    def _reads(self) -> Cache:
        return self._attempt.runtime.cache(READS)

    @property
    def _results(self) -> Cache:
        return self._attempt.runtime.cache(Level.AGENT_OUTPUT)

    def _first(self) -> str:
        definition = self._attempt.definition
        rules = self._attempt.access(self._agent).rules.model_dump(mode="json")
        return key_of([self._version, rules, {name: definition.get(name) for name in _TELLING}])

    def _second(self) -> str:
        content = self._attempt.reader.content(sorted(self._seen.context))
        return key_of([self._first(), content, self._attempt.inputs.content(self._seen.inputs)])


def key_of(value: Any) -> str:
    """The key of whatever depends on a JSON value alone."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _packed(written: Written, run_id: str) -> bytes:
    """A header as JSON behind its length, then all texts and files."""
    texts = [None if field.text is None else field.text.encode() for field in written.fields]
    header = json.dumps(
        {
            "run": run_id,
            "fields": [
                [field.field, -1 if text is None else len(text), field.read_at is None, field.mark]
                for field, text in zip(written.fields, texts, strict=True)
            ],
            "files": [[name, len(content)] for name, content in written.files.items()],
            "missing": written.missing,
        }
    ).encode()
    parts = [len(header).to_bytes(_HEADER, "big"), header, *(text or b"" for text in texts), *written.files.values()]
    return b"".join(parts)


def _unpacked(found: Hit, attempt: Attempt) -> Written | None:
    """What to commit. Shared fields are written as by somebody who has read them just now. None when one of them is
    not of its type any more."""
    length = int.from_bytes(found.value[:_HEADER], "big")
    header: Mapping[str, Any] = json.loads(found.value[_HEADER : _HEADER + length])
    at = _HEADER + length

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        return found.value[at - size : at]

    fields = [
        (FieldWrite(name, None if size < 0 else take(size).decode(), None, mark), own)
        for name, size, own, mark in header["fields"]
    ]
    files = {name: take(size) for name, size in header["files"]}
    shared = [field for field, own in fields if not own]
    if any(field.text is not None and schemas.complaint(field.field, field.text) for field in shared):
        return None
    return Written(
        tuple(field for field, own in fields if own) + tuple(_read_now(attempt, shared)),
        files,
        missing=tuple(header["missing"]),
        source=f"cached: as in run {header['run']}, where it took {found.cost:.3g} s",
    )


def _read_now(attempt: Attempt, shared: Sequence[FieldWrite]) -> list[FieldWrite]:
    attempt.reader.fetch([field.field for field in shared])
    seen = [attempt.reader.seen(field.field) for field in shared]
    return [
        replace(field, read_at=0 if value is None else value.version) for field, value in zip(shared, seen, strict=True)
    ]
