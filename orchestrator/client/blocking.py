"""The client that blocks: submits runs, finds them, steers them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from time import monotonic
from typing import Any, Self, Unpack, cast

from celery import Celery
from redis import Redis

from orchestrator import keys
from orchestrator.batch import BatchLimits, BatchProcessor
from orchestrator.cache.levels import rules_of
from orchestrator.cache.store import Cache
from orchestrator.client.batches import Submission, submissions
from orchestrator.client.handle import RunHandle, refuse_in_event_loop
from orchestrator.connection import connect, connect_blocking, guarded
from orchestrator.context.store import ContextStore
from orchestrator.embedded.local import running_url
from orchestrator.engine import patterns, submission
from orchestrator.engine.app import create_app
from orchestrator.engine.patterns import PatternKeys
from orchestrator.engine.registry import known_agents
from orchestrator.engine.runtime import context_store, ledger, message_limits, runtime_of
from orchestrator.errors import InvalidValue, StoreUnavailable
from orchestrator.fleet.learning import Durations, durations, of_steps
from orchestrator.messages.channel import BLOCK_MS, Channel, look, newest
from orchestrator.messages.cursor import Cursor
from orchestrator.messages.models import Event
from orchestrator.run.models import RunSummary
from orchestrator.run.reader import RunReader
from orchestrator.run.store import Ledger
from orchestrator.settings import EngineSettings, Environment
from orchestrator.workflow.builder import Named, Workflow
from orchestrator.workflow.expansion import DEFAULT_CONCURRENCY
from orchestrator.workflow.plan import Plan, make_plan

SUBMITTED_AT_ONCE = 100
"""Runs that are created in one round trip."""

REFRESH_SECONDS = 30.0
"""What workers have announced is asked for again after this."""


class Client:
    """Submits and follows runs. `store_url` and `broker_url` default to ORCHESTRATOR_STORE_URL and
    ORCHESTRATOR_BROKER_URL, and these to the local stack that runs in this folder. Safe to use from several threads,
    and after a fork.

    Raises StoreUnavailable when no URL is known.
    """

    def __init__(
        self, store_url: str | None = None, *, broker_url: str | None = None, environment: Environment | None = None
    ) -> None:
        environment = environment or Environment.load()
        store = store_url or environment.store_url or broker_url or environment.broker_url
        store = store or running_url(environment.home.absolute())
        if not store:
            raise StoreUnavailable(
                "no Redis is configured: set ORCHESTRATOR_STORE_URL, such as redis://127.0.0.1:6379/0, "
                "or start `orchestrator up` in this folder"
            )
        self.store_url = store
        self.broker_url = broker_url or environment.broker_url or store
        self._compile = submission.Compiler()
        self._agents: Mapping[str, Mapping[str, Any]] = {}
        self._agents_at = 0.0
        self._durations: Durations = {}
        self._settings: tuple[float, EngineSettings] | None = None

    @property
    def redis(self) -> Redis:
        """This process' connections to the store."""
        return connect(self.store_url)

    @property
    def settings(self) -> EngineSettings:
        """The engine's settings as the workers published them; the defaults before any worker has started."""
        if self._settings is None or monotonic() - self._settings[0] > REFRESH_SECONDS:
            with guarded():
                text = cast("bytes | None", self.redis.get(keys.SETTINGS))
            found = EngineSettings() if text is None else EngineSettings.model_validate_json(text)
            self._settings = (monotonic() if text is not None else float("-inf"), found)
        return self._settings[1]

    def _known(self, names: set[str]) -> Mapping[str, Mapping[str, Any]]:
        """The declarations of the deployment's agents; asked for again when one is unknown or they are old."""
        if names - self._agents.keys() or monotonic() - self._agents_at > REFRESH_SECONDS:
            self._agents, self._durations = known_agents(self.redis), durations(self.redis)
            self._agents_at = monotonic()
        return self._agents

    @cached_property
    def app(self) -> Celery:
        """The Celery application that publishes; it does not become the current one."""
        return create_app(
            self.broker_url, self.store_url, self.settings, name="orchestrator-client", set_as_current=False
        )

    @property
    def _ledger(self) -> Ledger:
        return ledger(self.redis, self.settings, runtime_of(self.app).mail())

    @property
    def reader(self) -> RunReader:
        """Reads of this store."""
        return RunReader(self.redis)

    @cached_property
    def waiting(self) -> Redis:
        """A client for commands that wait on the server."""
        return connect_blocking(self.store_url)

    @property
    def messages(self) -> Channel:
        """The channel of the deployment: what services tell each other. `RunHandle.messages` is that of a run."""
        return Channel(self.waiting, limits=message_limits(self.settings))

    def events(self, after: str = "$", *, follow: bool = True) -> Iterator[Event]:
        """Changes of state of all runs, each a RunEvent with its `run`: those behind the id `after` ("0" is the oldest
        that is kept, "$" the newest), and with `follow` what comes, for ever. A MissedEvent stands for those that are
        not kept any more. Raises OrchestratorError inside an event loop: there `AsyncClient` has the same."""
        refuse_in_event_loop()
        cursor = Cursor(keys.NEWS, newest(self.waiting, keys.NEWS) if after == "$" else after)
        while (found := look(self.waiting, cursor, BLOCK_MS if follow else None)) or follow:
            yield from found

    @property
    def caches(self) -> Mapping[str, Cache]:
        """The caches of this deployment, by level: `agent_output`, `template_render`, `context_snapshot`, and
        `agent_output.reads`, which belongs to the first."""
        return {str(name): Cache(self.redis, rules) for name, rules in rules_of(self.settings).items()}

    @property
    def contexts(self) -> ContextStore:
        """The contexts of this store's runs."""
        return context_store(self.redis, self.settings)

    def plan(self, workflow: Any) -> Plan:
        """Analyse a workflow (in any form that `submit` takes) without running it; what its agents took lately replaces
        its estimates."""
        spec = submission.as_spec(workflow, submission.registered_workflow(self.redis), self.settings)
        learned = of_steps(durations(self.redis), spec, None if spec.inputs else 0)
        finds = self.settings.performance_monitoring.optimises("increase_parallelization_opportunities")
        return make_plan(spec, learned=learned, find_groups=finds)

    def submit(
        self,
        workflow: Any,
        inputs: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        sequential: bool | None = None,
    ) -> RunHandle:
        """Start a run. `workflow` is a `Workflow`, a mapping in the file's form, a path, or a registered name.
        `sequential`: its steps run one after another, groups too (None: as the deployment's settings say).

        Everything is validated first: InvalidWorkflow, with all problems, leaves nothing behind. The same
        `idempotency_key` gives the same run; Conflict when it is used again with other content.
        """
        return self.submit_many(workflow, [inputs or {}], idempotency_keys=[idempotency_key], sequential=sequential)[0]

    def submit_many(
        self,
        workflow: Any,
        inputs: Iterable[Mapping[str, Any]],
        *,
        idempotency_keys: Iterable[str | None] | None = None,
        sequential: bool | None = None,
    ) -> list[RunHandle]:
        """Start a run of a workflow for each of `inputs`, in a few round trips for a hundred of them; their handles, in
        the same order. `idempotency_keys`, as many as there are inputs, are as in `submit`.

        Everything is validated before the first one is started. When the store goes away in between, some have been
        started and some not: the same call with idempotency keys starts those that are missing.
        """
        spec = submission.as_spec(workflow, submission.registered_workflow(self.redis), self.settings)
        agents = self._known({name for step in spec.steps for name in step.agents})
        prepared = submission.prepare_many(
            spec, inputs, agents, self.settings, self._compile, sequential=sequential, durations=self._durations
        )
        given = [None] * len(prepared) if idempotency_keys is None else list(idempotency_keys)
        if len(given) != len(prepared):
            raise InvalidValue(f"{len(prepared)} inputs came with {len(given)} idempotency keys; write one for each")
        handles: list[RunHandle] = []
        for at in range(0, len(prepared), SUBMITTED_AT_ONCE):
            part = prepared[at : at + SUBMITTED_AT_ONCE]
            keys_of = given[at : at + SUBMITTED_AT_ONCE]
            ids, _ = submission.start_many(self.app, self._ledger, part, keys_of)
            handles += (RunHandle(self, run_id) for run_id in ids)
        return handles

    def batching(self, limits: BatchLimits | None = None) -> BatchProcessor[Submission, RunHandle]:
        """A processor that starts what is added to it as `submit`, a `Submission`, from any number of threads, in
        batches; what comes of each is its handle, or what `submit` would raise."""
        return BatchProcessor({"submit": submissions(self)}, limits=limits)

    def scatter_gather(
        self,
        items: Iterable[Any],
        agent: str | Named,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        idempotency_key: str | None = None,
        **keys: Unpack[PatternKeys],
    ) -> RunHandle:
        """Call an agent for each item (`ctx.item`), so many at a time. Further keys as a mapped step has.

        Returns when all items are fed, which takes as long as the agents need to keep up; `handle.wait()` then waits
        for the last, `handle.items()` gives the results in order. The same `idempotency_key` goes on with a run whose
        feeder has died.
        """
        return self._fed(patterns.scatter_gather(agent, concurrency=concurrency, **keys), items, idempotency_key)

    def pipeline(
        self,
        items: Iterable[Any],
        stages: Sequence[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
        **keys: Unpack[PatternKeys],
    ) -> RunHandle:
        """Send items through stages, each `{"map": agent}`, `{"filter": agent}` or, the last, `{"reduce": agent}`, with
        a `concurrency` of its own. Otherwise as `scatter_gather`."""
        return self._fed(patterns.pipeline(stages, **keys), items, idempotency_key)

    def fork_join(
        self,
        data: Sequence[Any],
        forks: int,
        agent: str | Named,
        merge: str | Named | None = None,
        *,
        idempotency_key: str | None = None,
        **keys: Unpack[PatternKeys],
    ) -> RunHandle:
        """Cut a list into so many slices, have an agent work on each (`ctx.item`), and another one merge what they
        return (none: lists are joined); `next(handle.items())` is the result."""
        return self.submit(patterns.fork_join(data, forks, agent, merge, **keys), idempotency_key=idempotency_key)

    def _fed(self, workflow: Workflow, items: Iterable[Any], idempotency_key: str | None) -> RunHandle:
        spec = workflow.spec(engine=self.settings)
        handle = self.submit(spec, idempotency_key=idempotency_key)
        patterns.feed(self.app, handle.id, items, spec)
        return handle

    def get(self, run_id: str) -> RunHandle:
        """The handle of a run that exists. Raises NotFound."""
        self.reader.state(run_id)
        return RunHandle(self, run_id)

    def list(self, *, state: str | None = None, workflow: str | None = None, limit: int = 50) -> list[RunSummary]:
        """The newest runs first."""
        return self.reader.list(state=state, workflow=workflow, limit=limit)

    def close(self) -> None:
        """Release the publisher's connections, and those that wait."""
        if "waiting" in self.__dict__:
            self.waiting.close()
        if "app" in self.__dict__:
            self.app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
