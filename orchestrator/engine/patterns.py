"""The parallel patterns from Python and from agents: a run of one mapped step, whose items come from this process.

`scatter_gather` calls an agent for each item, `pipeline` sends items through stages of map, filter and reduce, and
`fork_join` cuts a list into slices, has an agent work on each, and merges what they return. Items may be any iterable,
also one without an end in sight: it is read chunk by chunk, each stored before it runs, and only while few wait, so
that this process holds one chunk at a time. When it dies, the run says that it waits for its feeder; whoever feeds the
same items again, under the same idempotency key, goes on behind the last chunk that was stored.
"""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from threading import Event, Thread
from time import sleep
from typing import Any, TypedDict, Unpack, cast

from celery import Celery

from orchestrator import keys
from orchestrator.connection import connect_blocking, guarded
from orchestrator.context.values import canonical
from orchestrator.engine import lane, link, mapping, steering, submission
from orchestrator.engine.items import Item, pack_items
from orchestrator.engine.join import follow
from orchestrator.engine.registry import known_agents
from orchestrator.engine.runtime import Runtime, runtime_of
from orchestrator.errors import Cancelled, Conflict, ItemsFailed, OrchestratorError, RunStateError
from orchestrator.run.expansions import Tally
from orchestrator.run.models import FINAL_RUN_STATES, GOOD_RUN_STATES
from orchestrator.run.reader import RunReader
from orchestrator.run.replies import Claimed
from orchestrator.workflow.builder import PATTERN_STEP, Named, Workflow, pattern
from orchestrator.workflow.expansion import next_chunk_size, room
from orchestrator.workflow.models import WorkflowSpec

STEP = PATTERN_STEP
ROOM_SECONDS = 1.0
"""A feeder that waits for room looks again after this, and says by it that it is alive."""
HELP_SECONDS = 0.02
"""How often an agent that waits for its items looks whether it can work on some of them itself."""


class PatternKeys(TypedDict, total=False):
    """What a mapped step may say in a file, too."""

    with_: Mapping[str, Any]
    retry: Mapping[str, Any]
    barrier: Mapping[str, Any]
    defaults: Mapping[str, Any]
    timeout: str | float
    idle_timeout: str | float
    item_timeout: str | float
    chunk_size: int
    priority: int
    queue: str


def scatter_gather(agent: str | Named, *, concurrency: int, **keys: Unpack[PatternKeys]) -> Workflow:
    """An agent for each item, so many at a time. The items are fed."""
    return pattern("scatter_gather", agent=_name(agent), for_each={"feed": True}, concurrency=concurrency, **keys)


def pipeline(stages: Sequence[Mapping[str, Any]], **keys: Unpack[PatternKeys]) -> Workflow:
    """Stages as `{"map": agent, "concurrency": 4}`, with filter or, at the end, reduce instead. The items are fed."""
    return pattern("pipeline", for_each={"feed": True}, pipeline=list(stages), **keys)


def fork_join(
    data: Sequence[Any], forks: int, agent: str | Named, merge: str | Named | None = None, **keys: Unpack[PatternKeys]
) -> Workflow:
    """A list in so many slices, an agent for each, and one for what they return."""
    parts = {"forks": forks, "agent": _name(agent)} | ({} if merge is None else {"merge": _name(merge)})
    return pattern("fork_join", for_each=list(data), fork_join=parts, **keys)


def _name(agent: str | Named) -> str:
    return agent if isinstance(agent, str) else agent.name


def feed(
    app: Celery, run_id: str, items: Iterable[Any], spec: WorkflowSpec, help_out: Callable[[], bool] | None = None
) -> int:
    """Feed the run of a pattern, submitted as `spec`, with all items, behind those that it has already; returns how
    many there are. While too much waits, it helps out, if it can.

    Raises Conflict when somebody else feeds it, RunStateError when it takes no more, InvalidValue for an item that is
    no JSON; what was fed before that is kept.
    """
    step = spec.step(STEP)
    tally = runtime_of(app).expansions.tally(run_id, STEP)
    if tally.closed:
        return tally.items
    feeder = _Feeder(app, run_id, tally, room(step.stages[0].concurrency), help_out)
    iterator = islice(items, tally.items, None)
    size = step.chunk_size or 1
    try:
        while chunk := feeder.rows(list(islice(iterator, size))):
            ended, seconds = feeder.put([(len(chunk), pack_items(chunk))])
            size = next_chunk_size(size, ended, seconds, step.chunk_size)
        feeder.put([], closed=True)
    finally:
        feeder.client.close()
    return feeder.items


class _Feeder:
    def __init__(self, app: Celery, run_id: str, tally: Tally, most: int, help_out: Callable[[], bool] | None) -> None:
        self._app, self._run_id, self._runtime = app, run_id, runtime_of(app)
        self.items, self._chunks, self._room, self._help = tally.items, tally.chunks, most, help_out
        self.client = connect_blocking(self._runtime.store_url)
        self._limit = self._runtime.settings.engine.max_value_bytes

    def rows(self, values: list[Any]) -> list[Item]:
        return [
            Item(place, canonical(value, limit=self._limit, what=f"item {place}"))
            for place, value in enumerate(values, self.items)
        ]

    def put(self, chunks: list[tuple[int, bytes]], *, closed: bool = False) -> tuple[int, float]:
        """Store chunks as soon as there is room; how many items have ended so far, after how many seconds of work."""
        while True:
            fed = self._runtime.expansions.feed(
                self._run_id, STEP, self._chunks, chunks, closed=closed, room=self._room,
                silence=mapping.SILENT_LEASES * self._runtime.settings.engine.lease_seconds,
            )  # fmt: skip
            follow(self._app, self._run_id, fed.moved)
            if fed.kind == "full":
                if self._help is None or not self._help():
                    seconds = ROOM_SECONDS if self._help is None else HELP_SECONDS
                    self._runtime.expansions.await_room(self._run_id, STEP, self.client, seconds)
                continue
            if fed.kind == "refused":
                raise Conflict(f"another process feeds run {self._run_id}")
            if fed.kind == "ended":
                state = RunReader(self._runtime.client).state(self._run_id)
                raise RunStateError(f"run {self._run_id} takes no more items: the run is {state}")
            self._chunks, self.items = fed.chunks, fed.items
            return fed.ended, fed.seconds


def results(runtime: Runtime, run_id: str, step: str) -> Iterator[Any]:
    """The results of a mapped step that has succeeded, in the order of its items, wherever they are kept: a merge's
    result alone. Large ones are read chunk by chunk."""
    document = runtime.context.outputs(run_id).get(step, {})
    if "result" in document:
        yield document["result"]
    elif isinstance(document.get("results"), Mapping):
        for items in mapping.results(runtime, run_id, step):
            for item in items:
                yield item.value
    else:
        yield from document.get("results", ())


def call(
    app: Celery, workflow: Workflow, items: Iterable[Any] | None, key: str, stopped: Callable[[], bool]
) -> Iterator[Any]:
    """Run a pattern for an agent, and wait for it; its results. The run belongs to this call by its `key`: the next
    attempt of the agent's step finds it, goes on feeding it, and has what failed tried again. While this waits it works
    on the items itself, so that a single worker is enough. `stopped` says whether to give up. Raises ItemsFailed."""
    runtime = runtime_of(app)
    spec, settings = workflow.spec(engine=runtime.settings), runtime.settings
    prepared = submission.prepare(spec, {}, known_agents(runtime.client), settings, submission.Compiler())
    run_id, fresh = submission.start(app, runtime.ledger, prepared, key)
    reader = RunReader(runtime.client)
    if not fresh and reader.state(run_id) in FINAL_RUN_STATES - GOOD_RUN_STATES:
        steering.retry(app, runtime.ledger, run_id, failed=True)
    helper = _Helper(app, run_id)
    if items is not None:
        feed(app, run_id, items, spec, helper)
    while (state := reader.state(run_id)) not in FINAL_RUN_STATES:
        if stopped():
            grace = settings.engine.cancel_grace
            steering.cancel(app, runtime.ledger, run_id, "the agent that waits for it has ended", grace)
            raise Cancelled(f"the step that waits for run {run_id} was cancelled")
        if not helper():
            sleep(HELP_SECONDS)
    if state not in GOOD_RUN_STATES:
        error = reader.status(run_id).steps[STEP].error
        raise ItemsFailed(f"run {run_id} is {state}: {error or 'its items did not succeed'}")
    return results(runtime, run_id, STEP)


class _Helper:
    """Works on what is queued of a run, in the process of the agent that waits for it: no worker may be free for it."""

    def __init__(self, app: Celery, run_id: str) -> None:
        self._app, self._run_id, self._runtime = app, run_id, runtime_of(app)

    def __call__(self) -> bool:
        """Whether there was something to do."""
        client = self._runtime.client
        with guarded():
            lanes = cast("bytes | None", client.hget(keys.run_key(self._run_id, f"s:{STEP}"), "lanes")) or b""
            names = [STEP, *lanes.decode().split()]
            pipe = client.pipeline(transaction=False)
            for name in names:
                pipe.hget(keys.run_key(self._run_id, f"s:{name}"), "state")
            states = pipe.execute()
        lease = self._runtime.settings.engine.lease_seconds
        for name, state in zip(names, states, strict=True):
            if state != b"queued":
                continue
            granted = self._runtime.ledger.claim(
                self._run_id, name, worker=self._runtime.hostname, owner=self._runtime.owner, lease=lease,
                pid=os.getpid(),
            )  # fmt: skip
            if isinstance(granted, Claimed):
                with self._leased(name):  # in a context of its own: what is logged is the items'
                    contextvars.copy_context().run(self._work, name, granted)
                return True
        return False

    def _work(self, name: str, granted: Claimed) -> None:
        if "lane" in granted.definition:
            lane.work(self._app, self._run_id, name, granted)
        else:
            mapping.expand(self._app, link.Attempt(self._app, self._run_id, name, granted))

    @contextmanager
    def _leased(self, name: str) -> Iterator[None]:
        """The worker renews what it has taken from its queues; this was not."""
        done = Event()
        engine = self._runtime.settings.engine

        def renew() -> None:
            while not done.wait(engine.renew_seconds):
                with suppress(OrchestratorError):
                    self._runtime.ledger.renew(
                        self._run_id, [name], owner=self._runtime.owner, lease=engine.lease_seconds
                    )

        thread = Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
