"""A lane of a mapped step: takes one chunk of items after another, calls the agent for each item, stores what came of
it.

A lane is claimed, leased and given up as a step is. What it has done of a chunk is stored every second, and with the
chunk's end, in one script that accepts it once. When a process dies over a chunk, the next attempt goes on with it item
by item, and tells before each which one it begins: an item that ends its processes is found out, and given up as
poisoned after as many attempts as the step's retry policy allows. Its neighbours are not.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from time import monotonic
from typing import Any

from celery import Celery

from orchestrator.barrier.policy import HOPELESS
from orchestrator.context.lock_models import Lock
from orchestrator.context.reader import ContextReader, Inputs
from orchestrator.context.values import canonical
from orchestrator.engine import mapping
from orchestrator.engine.access import step_access
from orchestrator.engine.agent import find_agent
from orchestrator.engine.agent_context import AgentContext
from orchestrator.engine.agent_messages import RunPost
from orchestrator.engine.attempt_log import AttemptLog, flush_left
from orchestrator.engine.index import look_soon
from orchestrator.engine.item_limit import limited
from orchestrator.engine.item_memory import item_memory_of
from orchestrator.engine.items import Failure, Item, Part, pack_items, unpack_failures, unpack_items
from orchestrator.engine.join import follow
from orchestrator.engine.runtime import is_current, log, runtime_of
from orchestrator.errors import AgentError, InvalidValue, LeaseLost, StepTimeout
from orchestrator.run.expansions import ChunkEnd, Given, Rested
from orchestrator.run.models import StepState
from orchestrator.run.policy import Cause, Ended, decide
from orchestrator.run.replies import Claimed, Refused
from orchestrator.workflow.builder import Workflow
from orchestrator.workflow.expansion import LARGEST_CHUNK, StageKind, chunked
from orchestrator.workflow.models import RetryPolicy

STORE_SECONDS = 1.0
"""How often a lane stores what it has done of a chunk: so much work is done again when its process dies."""
TURN_SECONDS = 2.0
"""Then it goes to the end of its queue, so that more urgent steps get a worker."""
ASK_SECONDS = 0.5
_STOPS = ("cancelling", "paused", "awaiting_input")


class _Stopped(Exception):
    """The lane gives its chunk back."""


class Lane:
    """One attempt of a lane."""

    def __init__(self, app: Celery, run_id: str, lane: str, granted: Claimed) -> None:
        self._app, self._run_id, self._lane, self._token = app, run_id, lane, granted.token
        self._runtime = runtime_of(app)
        said = granted.definition["lane"]
        self._step, self._number, self._again = str(said["step"]), int(said["stage"]), bool(said.get("again"))
        self._opened = int(said["token"])
        self._definition = mapping.definition_of(self._runtime, run_id, self._step)
        stages = self._definition["expand"]["stages"]
        self._stage: Mapping[str, Any] = stages[self._number]
        self._kind = StageKind(self._stage["kind"])
        self._last = self._number == len(stages) - 1 or stages[self._number + 1]["kind"] == StageKind.MERGE
        self._retry = RetryPolicy.model_validate(self._definition.get("retry", {}))
        self._item_timeout = self._definition["expand"].get("item_timeout")
        self._limit = self._runtime.settings.engine.max_value_bytes
        self._reader = ContextReader(
            self._runtime.context, run_id, version=said["version"], branches=said["branches"],
            drafts=self._definition.get("wants", ()),
        )  # fmt: skip
        self._inputs = Inputs(self._runtime.client, run_id)
        self._agent = find_agent(self._stage["agent"])
        lists = self._agent.reads, self._agent.writes
        self._access = step_access(self._runtime, run_id, self._definition, *lists)
        own = self._stage.get("with")
        self._params: Mapping[str, Any] = self._definition.get("with", {}) if own is None else own
        self._memory = item_memory_of(
            self._runtime, self._definition, self._agent, self._access, self._params, self._reader, self._inputs,
            anew=lambda: self._opened > 1 and self._runtime.ledger.spent(run_id, self._step) > 0,
        )  # fmt: skip
        self._began = self._stored = self._asked = monotonic()
        self._cancelled = False

    def work(self) -> bool:
        """Work until there is nothing to do right now; whether the step's items have all ended."""
        lines = AttemptLog(self._runtime, self._run_id, self._step, self._opened)
        answer = self._exchange(None)
        with lines:
            while isinstance(answer, Given):
                answer = self._exchange(self._chunk(answer))
            if self._memory is not None and self._memory.recalled:
                log.info("%d items are cached: they are as they were made before", self._memory.recalled)
        return isinstance(answer, Rested) and answer.over

    def _exchange(self, end: ChunkEnd | None) -> Given | Rested | None:
        leave = end is not None and (monotonic() - self._began > TURN_SECONDS or end.state == "back")
        answer = self._runtime.expansions.chunk(
            self._run_id, self._step, self._lane, self._number, self._token,
            lease=self._runtime.settings.engine.lease_seconds, end=end, leave=leave,
        )  # fmt: skip
        if isinstance(answer, Refused | str):
            log.info("run %s lane %s: %s", self._run_id, self._lane, answer)
            return None
        follow(self._app, self._run_id, answer[1])
        if end is not None and end.state == "later":
            look_soon(self._runtime, self._run_id, end.delay)
        self._stored = monotonic()
        return answer[0]

    # -- one chunk ----------------------------------------------------------------------------------------------

    def _chunk(self, given: Given) -> ChunkEnd:
        begun = monotonic()
        part = Part.of(given.part)
        items = unpack_items(given.packed) if given.packed else []
        part.before = {one.item.place: one.attempts for one in unpack_failures(given.packed)} if given.packed else {}
        if self._again and given.packed and not given.part:
            hopeless = [one for one in unpack_failures(given.packed) if one.reason in HOPELESS]
            part.failed = {one.item.place: one for one in hopeless}
        if given.chunk == mapping.ALL:
            return self._merge(given, part)
        if self._kind is StageKind.REDUCE:
            items = [Item(items[0].place, f"[{','.join(item.text for item in items)}]")] if items else []
        waits: list[float] = []
        try:
            self._charge(part, items, given)
            for item in items:
                if item.place not in part.done and item.place not in part.failed:
                    self._look(part, given, item)
                    self._one(part, item, waits)
        except _Stopped:
            return ChunkEnd(given.chunk, "back", onward=part.packed(), seconds=monotonic() - begun)
        return self._end(given, part, waits, monotonic() - begun)

    def _charge(self, part: Part, items: list[Item], given: Given) -> None:
        """A process has died over this chunk: the item that it had begun is charged with it, when that is known."""
        if given.begun < 2:
            return
        left = [item for item in items if item.place not in part.done and item.place not in part.failed]
        charged = [item for item in left if item.place == part.at] or (left if len(left) == 1 else [])
        for item in charged:
            self._failed(part, item, Cause.LOST, AgentError("its process died"), [])
        part.at = -1

    def _look(self, part: Part, given: Given, item: Item) -> None:
        """Store how far the chunk is: now and then, and before each item once a process has died over the chunk."""
        careful = given.begun > 1
        if not careful and monotonic() - self._stored < STORE_SECONDS:
            return
        part.at = item.place if careful else -1
        answer = self._runtime.expansions.chunk(
            self._run_id, self._step, self._lane, self._number, self._token,
            lease=self._runtime.settings.engine.lease_seconds, end=ChunkEnd(given.chunk, "on", onward=part.packed()),
        )  # fmt: skip
        self._stored = monotonic()
        if isinstance(answer, Refused):
            raise LeaseLost(f"lane {self._lane} was taken away: {answer.why}")
        if answer in _STOPS or monotonic() - self._began > TURN_SECONDS:
            part.at = -1
            raise _Stopped

    def _one(self, part: Part, item: Item, waits: list[float]) -> None:
        try:
            text = self._result(part, item)
            if self._kind is StageKind.FILTER:
                if text not in ("true", "false"):
                    raise InvalidValue(f"a filter says true or false; agent '{self._agent.name}' returned {text:.100}")
                part.done[item.place] = item.text if text == "true" else None
            else:
                part.done[item.place] = text
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an agent raises is its item's failure, never ours
            self._failed(part, item, Cause.TIMEOUT if isinstance(error, StepTimeout) else Cause.ERROR, error, waits)

    def _result(self, part: Part, item: Item) -> str:
        """What the agent makes of an item, or has made of it before, as canonical JSON."""
        recalled = None if self._memory is None else self._memory.recall(item.text)
        if recalled is not None:
            return recalled
        context, begun = self._context(item.value, item.place, part), monotonic()
        with limited(self._item_timeout):
            value = self._agent.value(context)
        text = canonical(value, limit=self._limit, what=f"the result of item {item.place}")
        if self._memory is not None:
            self._memory.remember(item.text, text, monotonic() - begun, context)
        return text

    def _failed(self, part: Part, item: Item, cause: Cause, error: Exception, waits: list[float]) -> None:
        tries = part.tries[item.place] = part.tries.get(item.place, 0) + 1
        types = tuple(kind.__name__ for kind in type(error).__mro__)
        verdict = decide(self._retry, Ended(cause, tries, types, chance=random.random()))  # noqa: S311 - jitter
        if verdict.state is StepState.RETRYING:
            if cause is not Cause.LOST:
                waits.append(verdict.delay)
            return
        text = f"{type(error).__name__}: {error}"
        log.info("run %s step %s: item %d: %s", self._run_id, self._step, item.place, text)
        part.failed[item.place] = Failure(item, text[:500], verdict.reason, part.before.get(item.place, 0) + tries)

    def _end(self, given: Given, part: Part, waits: list[float], seconds: float) -> ChunkEnd:
        if waits:
            return ChunkEnd(given.chunk, "later", onward=part.packed(), delay=min(waits), seconds=seconds)
        kept = [Item(place, text) for place, text in sorted(part.done.items()) if text is not None]
        failed = sorted(part.failed.values(), key=lambda failure: failure.item.place)
        inside = self._inside(given) if self._kind is StageKind.REDUCE else 1
        bad = pack_items([one.item for one in failed], failed) if failed else b""
        if self._kind is StageKind.REDUCE and failed:  # what failed are its items, one by one
            rows = unpack_items(given.packed)
            bad = pack_items(
                rows, [Failure(row, failed[0].error, failed[0].reason, failed[0].attempts) for row in rows]
            )
        return ChunkEnd(
            given.chunk, "done", onward=pack_items(kept) if kept else b"", failed=bad, last=self._last,
            ok=len(kept) * inside, bad=len(failed) * inside, dropped=len(part.done) - len(kept), seconds=seconds,
        )  # fmt: skip

    def _inside(self, given: Given) -> int:
        return len(unpack_items(given.packed))

    def _merge(self, given: Given, part: Part) -> ChunkEnd:
        """The last stage: all results become one, if they are enough."""
        begun = monotonic()
        whole = Item(0, "null")
        waits: list[float] = []
        if not mapping.is_enough(self._runtime, self._run_id, self._definition):
            return ChunkEnd(given.chunk, "done", last=True)
        self._charge(part, [whole], given)
        if not part.failed:
            try:
                merged = self._merged(part)
                part.done[0] = canonical(merged, limit=self._limit, what="what the merge gave")
            except LeaseLost:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(part, whole, Cause.ERROR, error, waits)
        if waits:
            return ChunkEnd(given.chunk, "later", onward=part.packed(), delay=min(waits))
        failed = list(part.failed.values())
        return ChunkEnd(
            given.chunk, "done", onward=pack_items([Item(0, part.done[0] or "null")]) if part.done else b"", last=True,
            failed=pack_items([one.item for one in failed], failed), ok=len(part.done), bad=len(failed),
            seconds=monotonic() - begun,
        )  # fmt: skip

    def _merged(self, part: Part) -> Any:
        values = [item.value for items in mapping.results(self._runtime, self._run_id, self._step) for item in items]
        reducing = self._definition["expand"]["stages"][self._number - 1]["kind"] == StageKind.REDUCE
        while reducing and len(values) > LARGEST_CHUNK:
            values = [self._agent.value(self._context(some, None, part)) for some in chunked(values, LARGEST_CHUNK)]
        if reducing and len(values) == 1:
            return values[0]
        return self._agent.value(self._context(values, None, part))

    # -- what the agent sees --------------------------------------------------------------------------------------

    def _context(self, value: Any, place: int | None, part: Part) -> AgentContext:
        return AgentContext(
            run_id=self._run_id,
            step_id=self._step,
            agent=self._agent.name,
            attempt=part.before.get(place or 0, 0) + part.tries.get(place or 0, 0) + 1,
            params=self._params,
            inputs=self._inputs,
            snapshot=self._reader,
            link=self,
            access=self._access,
            templates=self._runtime.rendering,
            item=value,
            index=place,
            post=RunPost(self._runtime, self._run_id, self._step, self._token, self._lane),
        )

    def progress(self, fraction: float, message: str) -> None:
        """What a mapped step reports is how many of its items have ended."""

    def cancelled(self) -> bool:
        """Whether the run is being cancelled or this lane was taken away. At most one round trip in half a second."""
        if not self._cancelled and monotonic() - self._asked >= ASK_SECONDS:
            self._asked = monotonic()
            self._cancelled = not is_current(self._runtime, self._run_id, self._lane, self._token)
        return self._cancelled

    def publish(self, field: str, value: Any) -> None:
        raise AgentError("an item of a mapped step shows no drafts; it returns its result")

    def lock(self, section: str, write: bool, timeout: float | None) -> Lock:
        raise AgentError("an item of a mapped step takes no locks; declare them for the step")

    async def alock(self, section: str, write: bool, timeout: float | None) -> Lock:  # noqa: ASYNC109 - as above
        return self.lock(section, write, timeout)

    def unlock(self, lock: Lock, wrote: bool) -> None:
        return None

    def pattern(self, workflow: Workflow, items: Iterable[Any] | None) -> Iterator[Any]:
        raise AgentError("an item of a mapped step calls no patterns; give the step a pipeline")


def work(app: Celery, run_id: str, lane: str, granted: Claimed) -> str:
    """Work in a lane that was claimed, and gather the step's results when it was the last; `over`, or else `idle`."""
    step = str(granted.definition["lane"]["step"])
    try:
        over = Lane(app, run_id, lane, granted).work()
    finally:
        flush_left()
    if over:
        mapping.gather(app, run_id, step)
    return "over" if over else "idle"
