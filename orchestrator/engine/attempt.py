"""One attempt of a step, from its claim to its end."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping
from time import monotonic
from typing import Any, cast

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery import Celery, Task
from celery.exceptions import Ignore, Retry

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.context.codec import pack
from orchestrator.context.fields import FieldWrite, assemble, split
from orchestrator.context.lock_models import Lock
from orchestrator.context.reader import ContextReader, Inputs
from orchestrator.context.values import canonical
from orchestrator.engine import lane, mapping, recovery, schemas
from orchestrator.engine.access import StepAccess, step_access
from orchestrator.engine.agent import REGISTRY, Agent, find_agent
from orchestrator.engine.agent_context import AgentContext
from orchestrator.engine.agent_messages import RunPost
from orchestrator.engine.attempt_locks import AttemptLocks
from orchestrator.engine.attempt_log import AttemptLog, flush_left
from orchestrator.engine.commits import Written, complete
from orchestrator.engine.foresight import warn_early
from orchestrator.engine.index import look_soon
from orchestrator.engine.join import follow
from orchestrator.engine.prefetching import likely_templates
from orchestrator.engine.remembering import Memory, Reads, memory_of
from orchestrator.engine.runtime import Runtime, is_current, log, runtime_of
from orchestrator.errors import AgentError, Conflict, InvalidValue, LeaseLost
from orchestrator.messages.channel import Speaker
from orchestrator.processes import is_running
from orchestrator.run.models import FINAL_STEP_STATES, StepState
from orchestrator.run.policy import Cause, Ended, Verdict, decide
from orchestrator.run.replies import Claimed, Moved, Refused
from orchestrator.workflow.builder import Workflow
from orchestrator.workflow.models import RetryPolicy

ASK_SECONDS = 0.5
_RENDERED: dict[str, set[str]] = {}
"""Agent -> the templates that it has rendered in this process."""
_LOST = (WorkerLostError, Terminated, TimeLimitExceeded)


class Attempt:
    """A granted attempt; the link through which its agent reports."""

    def __init__(self, app: Celery, run_id: str, step: str, granted: Claimed) -> None:
        self.runtime = runtime = runtime_of(app)
        self.run_id = run_id
        self.step = step
        self.token = granted.token
        self.definition = granted.definition
        self.reader = ContextReader(
            runtime.context,
            run_id,
            version=granted.version,
            branches=granted.branches,
            drafts=granted.definition.get("wants", ()),
            ahead=fields_ahead(runtime, granted.definition),
        )
        self.inputs = Inputs(runtime.client, run_id)
        self.branches = granted.branches
        self._app = app
        self._patterns = 0
        self._locks = AttemptLocks(app, run_id, granted.definition, granted.token, self.reader)
        self._asked_at = monotonic()
        self._cancelled = False
        self.read = Reads()
        self.talked = False

    def progress(self, fraction: float, message: str) -> None:
        """Record progress. Raises LeaseLost when this attempt is no longer the current one."""
        answer = self.runtime.ledger.progress(self.run_id, self.step, self.token, fraction, message)
        if isinstance(answer, Refused):
            self._cancelled = True
            raise LeaseLost(f"attempt {self.token} of step '{self.step}' was replaced; the step is {answer.why}")
        self._cancelled = answer == "cancelling"

    def cancelled(self) -> bool:
        """Whether the run is being cancelled or this attempt was replaced. At most one round trip in half a second."""
        if not self._cancelled and monotonic() - self._asked_at >= ASK_SECONDS:
            self._asked_at = monotonic()
            self._cancelled = not is_current(self.runtime, self.run_id, self.step, self.token)
        return self._cancelled

    def publish(self, field: str, value: Any) -> None:
        """Show a draft to the steps that want this one. Raises LeaseLost when the attempt is not the current one."""
        text = canonical(value, limit=self.runtime.settings.engine.max_value_bytes, what=f"'{field}'")
        if not self.runtime.context.publish(self.run_id, self.step, self.token, {field: pack(text)}):
            self._cancelled = True
            raise LeaseLost(f"attempt {self.token} of step '{self.step}' was replaced; its draft is not shown")
        warn_early(self.runtime, self.run_id, self.definition, [field])

    def lock(self, section: str, write: bool, timeout: float | None) -> Lock:
        """Take a section's lock."""
        return self._locks.take(section, write, timeout)

    async def alock(self, section: str, write: bool, timeout: float | None) -> Lock:  # noqa: ASYNC109 - as above
        """The same, without holding up the event loop."""
        return await self._locks.take_async(section, write, timeout)

    def unlock(self, lock: Lock, wrote: bool) -> None:
        """Release a lock, unless something was written under it: then it is kept until that is committed."""
        self._locks.release(lock, wrote)

    def pattern(self, workflow: Workflow, items: Iterable[Any] | None) -> Iterator[Any]:
        """Run a pattern and wait for it; its results. The next attempt finds what this one has begun."""
        from orchestrator.engine import patterns

        self._patterns += 1
        key = f"pattern:{self.run_id}/{self.step}/{self._patterns}"
        return patterns.call(self._app, workflow, items, key, self.cancelled)

    @property
    def validates(self) -> bool:
        """Whether it looks at the work of others."""
        return "validates_as" in self.definition

    def access(self, agent: Agent) -> StepAccess:
        """What this attempt may read and write."""
        # Who validates reads what the definition says: what an agent declares is about its own work.
        lists = (None, None) if self.validates else (agent.reads, agent.writes)
        return step_access(self.runtime, self.run_id, self.definition, *lists)

    def context(self) -> AgentContext:
        """What the agent is called with."""
        definition = self.definition
        return AgentContext(
            run_id=self.run_id,
            step_id=self.step,
            agent=definition["agent"],
            attempt=self.token,
            params=definition.get("with", {}),
            inputs=self.inputs,
            snapshot=self.reader,
            link=self,
            access=self.access(find_agent(definition["agent"])),
            templates=self.runtime.rendering,
            validates=definition.get("validates", ()),
            validates_as=definition.get("validates_as", ""),
            post=RunPost(self.runtime, self.run_id, Speaker(step=self.step, token=self.token)),
        )

    def work(self) -> Written:
        """Call the agent; returns what it commits to the context, and its artifacts."""
        definition, context = self.definition, self.context()
        agent, access = find_agent(definition["agent"]), context.access
        served = self._app.amqp.queues.consume_from
        self.runtime.foresee(likely_templates(definition, _RENDERED, self.runtime.templates, served))
        result = agent.check(context) if self.validates else agent(context)
        self.talked = context.messages.used
        self.read = Reads(*map(frozenset, (self.reader.asked, self.inputs.asked, context.rendered)))
        if context.rendered:
            _RENDERED.setdefault(agent.name, set()).update(context.rendered)
        written = {**assemble(context.shared.items()), **context.writes, **result}
        missing = tuple(path for path in definition.get("outputs", ()) if not _has(written, path))
        document = access.place(result)
        context.check_artifacts(self.runtime.settings.engine.max_value_bytes)
        limit = self.runtime.settings.engine.max_value_bytes
        fields = split(self.step, {**context.writes, **document}, limit=limit)
        self.reader.fetch(list(context.shared))
        for field, value in context.shared.items():
            seen = self.reader.seen(field)
            text = canonical(value, limit=limit, what=f"'{field}'")
            complaint = schemas.complaint(field, text)
            if complaint:
                raise InvalidValue(f"step '{self.step}' may not write that: {complaint}")
            fields.append(FieldWrite(field, text, 0 if seen is None else seen.version))
        return Written(tuple(fields), context.artifacts, self._locks.tokens, missing)


def fields_ahead(runtime: Runtime, definition: Mapping[str, Any]) -> list[str]:
    """The fields that the plan, or else its agent, says a step reads: they are fetched with the first one that it asks
    for."""
    if not runtime.settings.caching_system.cache_optimization.prefetching.prefetch_context:
        return []
    agent = REGISTRY.get(definition["agent"])
    declared = definition.get("read", () if agent is None or agent.reads is None else agent.reads)
    return [path for path in declared if path.count(".") == 1]


def _has(document: object, path: str) -> bool:
    """Whether something stands at a path such as `ui_spec` or `ui_spec.screens`."""
    for key in path.split("."):
        if not isinstance(document, Mapping) or key not in document:
            return False
        document = document[key]
    return True


def execute(task: Task[Any, Any], run_id: str, step: str) -> dict[str, str]:
    """Claim a step, do its work, end it, publish what follows.

    Raises Ignore when the claim or the result is refused, Retry when there will be another attempt, and the agent's
    own error when there will be none, so that Celery and Flower show what happened.
    """
    runtime = runtime_of(task.app)
    lease = runtime.settings.engine.lease_seconds
    granted = runtime.ledger.claim(
        run_id, step, worker=runtime.hostname, owner=runtime.owner, lease=lease, pid=os.getpid()
    )
    if isinstance(granted, Refused):
        log.debug("run %s step %s: claim refused, it is %s", run_id, step, granted.why)
        raise Ignore(granted.why)
    if "lane" in granted.definition:
        return lane.work(task.app, run_id, step, granted)
    began = monotonic()
    try:
        outcome = _run(task, run_id, step, granted)
    except Exception:
        _sampled(runtime, granted, began, ok=False)
        raise
    if outcome["state"] == StepState.SUCCESS:
        _sampled(runtime, granted, began, ok=True)
    return outcome


def _sampled(runtime: Runtime, granted: Claimed, began: float, *, ok: bool) -> None:
    definition = granted.definition
    runtime.samples.put(definition["agent"], definition.get("size", 0), monotonic() - began, ok=ok)


def _run(task: Task[Any, Any], run_id: str, step: str, granted: Claimed) -> dict[str, str]:
    attempt = Attempt(task.app, run_id, step, granted)
    if "expand" in granted.definition and not attempt.validates:
        return _expand(task, attempt)
    memory = memory_of(attempt)
    if memory is None:
        return _carry_out(task, attempt, granted)
    with memory:
        return _carry_out(task, attempt, granted, memory)


def _expand(task: Task[Any, Any], attempt: Attempt) -> dict[str, str]:
    task.request.chain = None  # the next link waits until the items have ended
    try:
        mapping.expand(task.app, attempt)
    except Exception as error:  # there is no list, or the store is away
        _failed(task, attempt, error)
        raise
    return {"step": attempt.step, "state": "running"}


def _carry_out(
    task: Task[Any, Any], attempt: Attempt, granted: Claimed, memory: Memory | None = None
) -> dict[str, str]:
    runtime, run_id, step = attempt.runtime, attempt.run_id, attempt.step
    lines = AttemptLog(runtime, run_id, step, granted.token)
    try:
        with lines.capture():
            written = (memory.recall() if memory is not None else None) or attempt.work()
    except Exception as error:  # whatever an agent raises is its failure, never ours
        _failed(task, attempt, error)
        raise
    try:
        moved = complete(runtime, run_id, granted, attempt.reader, written)
    except (AgentError, Conflict) as error:  # what it wrote fits nowhere
        _failed(task, attempt, error)
        raise
    if isinstance(moved, Refused):
        log.warning("run %s step %s: attempt %d came late, the step is %s", run_id, step, attempt.token, moved.why)
        raise Ignore(moved.why)
    if runtime.ledger.posts:
        task.request.chain = None  # the next link is in its queue already
    follow(task.app, run_id, moved)
    warn_early(runtime, run_id, granted.definition, [write.field for write in written.fields])
    if written.source:
        return {"step": step, "state": StepState.CACHED}
    if memory is not None:
        memory.remember(written)
    return {"step": step, "state": StepState.SUCCESS}


def _failed(task: Task[Any, Any], attempt: Attempt, error: Exception) -> None:
    try:
        _end(task, attempt, error)
    finally:
        flush_left()


def _end(task: Task[Any, Any], attempt: Attempt, error: Exception) -> None:
    made = attempt.token - attempt.runtime.ledger.spent(attempt.run_id, attempt.step)
    verdict = _verdict(attempt.definition, Cause.ERROR, made, error)
    moved = attempt.runtime.ledger.finish(
        attempt.run_id,
        attempt.step,
        verdict.state,
        token=attempt.token,
        delay=verdict.delay,
        error=f"{type(error).__name__}: {error}",
        reason=verdict.reason,
    )
    if not isinstance(moved, Moved):
        raise Ignore(str(moved)) from error
    follow(task.app, attempt.run_id, moved)
    if verdict.state is StepState.RETRYING:
        look_soon(attempt.runtime, attempt.run_id, verdict.delay)
        raise Retry(str(error), exc=error, when=cast(Any, verdict.delay)) from error


def _verdict(definition: Any, cause: Cause, made: int, error: BaseException) -> Verdict:
    types = tuple(kind.__name__ for kind in type(error).__mro__)
    policy = RetryPolicy.model_validate(definition.get("retry", {}))
    return decide(policy, Ended(cause, made, types, chance=random.random()))  # noqa: S311 - jitter


def judged(error: BaseException) -> bool:
    """Whether the child itself has reported this error to the ledger; a killed child could not."""
    return not isinstance(error, _LOST)


def outcome(runtime: Runtime, run_id: str, step: str) -> str | None:
    """The final state of a step, or None while it has none."""
    with guarded():
        raw = cast("bytes | None", runtime.client.hget(keys.run_key(run_id, f"s:{step}"), "state"))
    state = "" if raw is None else raw.decode()
    return state if state in FINAL_STEP_STATES else None


def lost(app: Celery, run_id: str, step: str, error: BaseException) -> bool:
    """The parent reports that a child of its pool died while it ran a step. True when the step goes on without it.

    The dead one may have run an earlier attempt: only when the process of the current attempt is gone, it has ended.
    """
    runtime = runtime_of(app)
    with guarded():
        pipe = runtime.client.pipeline(transaction=False)
        pipe.hmget(keys.run_key(run_id, f"s:{step}"), "state", "token", "owner", "pid")
        pipe.hget(keys.run_key(run_id, "defs"), step)
        (state, token, owner, pid), text = pipe.execute()
    if text is None:
        return True
    ours = state == b"running" and owner is not None and owner.decode() == runtime.owner
    if ours and not is_running(int(pid or 0)):
        recovery.attempt_lost(app, run_id, step, definition=text, token=int(token), executed=True, error=error)
    return outcome(runtime, run_id, step) is None
