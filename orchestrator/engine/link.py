"""The link through which an agent at work reports: progress, drafts, locks, patterns, and what it has written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from time import monotonic
from typing import Any

from celery import Celery

from orchestrator.context.codec import pack
from orchestrator.context.fields import FieldWrite, assemble, split
from orchestrator.context.lock_models import Lock
from orchestrator.context.reader import ContextReader, Inputs
from orchestrator.context.values import canonical
from orchestrator.engine import schemas
from orchestrator.engine.access import StepAccess, step_access
from orchestrator.engine.agent import Agent, find_agent
from orchestrator.engine.agent_context import AgentContext
from orchestrator.engine.agent_messages import RunPost
from orchestrator.engine.attempt_locks import AttemptLocks
from orchestrator.engine.commits import Written
from orchestrator.engine.foresight import warn_early
from orchestrator.engine.prefetching import fields_ahead, learn_reads, likely_templates, read_ahead
from orchestrator.engine.remembering import Reads
from orchestrator.engine.runtime import is_current, runtime_of
from orchestrator.errors import InvalidValue, LeaseLost
from orchestrator.run.replies import Claimed, Refused
from orchestrator.workflow.builder import Workflow

ASK_SECONDS = 0.5
_RENDERED: dict[str, set[str]] = {}
"""Agent -> the templates that it has rendered in this process."""


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
            post=RunPost(self.runtime, self.run_id, self.step, self.token),
        )

    def work(self) -> Written:
        """Call the agent; returns what it commits to the context, and its artifacts."""
        definition, context = self.definition, self.context()
        agent, access = find_agent(definition["agent"]), context.access
        served = self._app.amqp.queues.consume_from
        self.runtime.foresee(likely_templates(definition, _RENDERED, self.runtime.templates, served))
        read_ahead(self.runtime, definition, self.reader, served)
        result = agent.check(context) if self.validates else agent(context)
        self.talked = context.messages.used
        self.read = Reads(*map(frozenset, (self.reader.asked, self.inputs.asked, context.rendered)))
        learn_reads(definition, self.reader)
        if context.rendered:
            _RENDERED.setdefault(agent.name, set()).update(context.rendered)
        document, limit = access.place(result), self.runtime.settings.engine.max_value_bytes
        context.check_artifacts(limit)
        fields = split(self.step, {**context.writes, **document}, limit=limit)
        if context.shared:
            fields += self._shared(context.shared, limit)
        return Written(tuple(fields), context.artifacts, self._locks.tokens, self._missing(context, result))

    def _missing(self, context: AgentContext, result: Mapping[str, Any]) -> tuple[str, ...]:
        declared = self.definition.get("outputs", ())
        written = {**assemble(context.shared.items()), **context.writes, **result} if declared else {}
        return tuple(path for path in declared if not _has(written, path))

    def _shared(self, values: Mapping[str, Any], limit: int) -> Iterator[FieldWrite]:
        self.reader.fetch(list(values))
        for field, value in values.items():
            seen = self.reader.seen(field)
            text = canonical(value, limit=limit, what=f"'{field}'")
            complaint = schemas.complaint(field, text)
            if complaint:
                raise InvalidValue(f"step '{self.step}' may not write that: {complaint}")
            yield FieldWrite(field, text, 0 if seen is None else seen.version)


def _has(document: object, path: str) -> bool:
    """Whether something stands at a path such as `ui_spec` or `ui_spec.screens`."""
    for key in path.split("."):
        if not isinstance(document, Mapping) or key not in document:
            return False
        document = document[key]
    return True
