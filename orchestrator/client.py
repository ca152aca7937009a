"""The way in from any Python service: submit workflows, watch them, fetch what they made. Needs Redis URLs only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cached_property
from time import monotonic
from typing import Any, Self, TypeVar, cast

import redis
from celery import Celery

from orchestrator import keys
from orchestrator.connection import BLOCK_SECONDS, connect, connect_async, connect_blocking, guarded
from orchestrator.context.merge_models import ABSENT
from orchestrator.context.models import ContextConflict, Difference, Version
from orchestrator.context.store import ContextStore
from orchestrator.embedded.local import running_url
from orchestrator.engine import decisions, submission
from orchestrator.engine.app import create_app
from orchestrator.engine.registry import known_agents
from orchestrator.engine.runtime import context_store, ledger
from orchestrator.errors import OrchestratorError, RunStateError, StoreUnavailable, WaitTimeout
from orchestrator.run.models import FINAL_RUN_STATES, Event, LogLine, RunState, RunStatus, RunSummary
from orchestrator.run.reader import RunReader, parse_events
from orchestrator.run.replies import Refused
from orchestrator.run.store import Ledger
from orchestrator.settings import EngineSettings, Environment
from orchestrator.workflow.plan import Plan, make_plan

BLOCK_MS = int(BLOCK_SECONDS * 1000)
REFRESH_SECONDS = 30.0
"""What workers have announced is asked for again after this."""
EVENTS_AT_ONCE = 500
T = TypeVar("T")


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
        self._settings: tuple[float, EngineSettings] | None = None

    @property
    def redis(self) -> redis.Redis:
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
            self._agents, self._agents_at = known_agents(self.redis), monotonic()
        return self._agents

    @cached_property
    def app(self) -> Celery:
        """The Celery application that publishes; it does not become the current one."""
        return create_app(
            self.broker_url, self.store_url, self.settings, name="orchestrator-client", set_as_current=False
        )

    @property
    def _ledger(self) -> Ledger:
        return ledger(self.redis, self.settings)

    @property
    def reader(self) -> RunReader:
        """Reads of this store."""
        return RunReader(self.redis)

    @property
    def contexts(self) -> ContextStore:
        """The contexts of this store's runs."""
        return context_store(self.redis, self.settings)

    def plan(self, workflow: Any) -> Plan:
        """Analyse a workflow (in any form that `submit` takes) without running it."""
        return make_plan(submission.as_spec(workflow, submission.registered_workflow(self.redis), self.settings))

    def submit(
        self, workflow: Any, inputs: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> RunHandle:
        """Start a run. `workflow` is a `Workflow`, a mapping in the file's form, a path, or a registered name.

        Everything is validated first: InvalidWorkflow, with all problems, leaves nothing behind. The same
        `idempotency_key` gives the same run; Conflict when it is used again with other content.
        """
        spec = submission.as_spec(workflow, submission.registered_workflow(self.redis), self.settings)
        agents = self._known({step.agent for step in spec.steps})
        prepared = submission.prepare(spec, inputs or {}, agents, self.settings, self._compile)
        run_id = submission.reserve(self.redis, prepared, idempotency_key, self.settings.engine.retention)
        submission.start(self.app, self._ledger, prepared, run_id, self.settings)
        return RunHandle(self, run_id)

    def get(self, run_id: str) -> RunHandle:
        """The handle of a run that exists. Raises NotFound."""
        self.reader.state(run_id)
        return RunHandle(self, run_id)

    def list(self, *, state: str | None = None, workflow: str | None = None, limit: int = 50) -> list[RunSummary]:
        """The newest runs first."""
        return self.reader.list(state=state, workflow=workflow, limit=limit)

    def cancel(self, run_id: str, reason: str = "") -> RunState:
        """Cancel a run: what waits is cancelled now, what runs gets the grace period. Raises RunStateError."""
        self.reader.state(run_id)
        answer = self._ledger.stop(
            run_id, "cancelled", reason=reason or "cancelled by request", grace=self.settings.engine.cancel_grace
        )
        if isinstance(answer, Refused):
            raise RunStateError(f"run {run_id} has ended already: it is {answer.why}")
        with guarded():
            self.redis.zadd(keys.ACTIVE, {run_id: 0}, xx=True)
        return RunState(answer.run_state)

    def close(self) -> None:
        """Release the publisher's connections."""
        if "app" in self.__dict__:
            self.app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RunHandle:
    """One run. Every method asks the store; nothing is cached."""

    def __init__(self, client: Client, run_id: str) -> None:
        self._client = client
        self.id = run_id

    def __repr__(self) -> str:
        return f"RunHandle({self.id!r})"

    def status(self) -> RunStatus:
        """The run and all its steps."""
        return self._client.reader.status(self.id)

    def wait(self, timeout: float | None = None) -> RunStatus:
        """Block until the run has ended in any way; `timeout` in seconds. Raises WaitTimeout: the run goes on.

        Woken by Redis, it does not poll. Not for use inside an event loop: there `AsyncClient` waits.
        """
        _refuse_in_event_loop()
        deadline = None if timeout is None else time.monotonic() + timeout
        client = connect_blocking(self._client.store_url)
        try:
            while not self._ended(client, deadline):
                if deadline is not None and time.monotonic() >= deadline:
                    raise WaitTimeout(f"run {self.id} has not ended within {timeout:g} s")
        finally:
            client.close()
        return self.status()

    def _ended(self, client: redis.Redis, deadline: float | None) -> bool:
        left = BLOCK_MS if deadline is None else max(1, min(BLOCK_MS, int((deadline - time.monotonic()) * 1000)))
        with guarded():
            entry = client.xread({keys.run_key(self.id, "end"): "0"}, count=1, block=left)
        return bool(entry) or self._client.reader.state(self.id) in FINAL_RUN_STATES

    def result(self) -> dict[str, Any]:
        """Step id -> the document that it wrote. Complete when the run has ended."""
        return self._client.contexts.outputs(self.id)

    def context(self, version: int | str | None = None) -> dict[str, Any]:
        """Section -> document: the shared context as the latest version has it, or one by its number or by the name of
        its snapshot (`barrier:<group>`). Raises NotFound."""
        contexts = self._client.contexts
        self._client.reader.state(self.id)
        return contexts.documents(self.id, contexts.number(self.id, version))

    def history(self, limit: int = 100) -> list[Version]:
        """The versions of the context that are kept, the newest first."""
        self._client.reader.state(self.id)
        return self._client.contexts.history(self.id, limit)

    def diff(self, a: int | str, b: int | str) -> list[Difference]:
        """What changed in the context from one version to another. Raises NotFound."""
        contexts = self._client.contexts
        self._client.reader.state(self.id)
        return contexts.diff(self.id, contexts.number(self.id, a) or 0, contexts.number(self.id, b) or 0)

    def restore(self, version: int | str) -> int:
        """Make the context what it was, as a new version, whose number is returned. Running attempts go on reading what
        they have read. Raises NotFound."""
        contexts = self._client.contexts
        self._client.reader.state(self.id)
        return contexts.restore(self.id, contexts.number(self.id, version) or 0)

    def conflicts(self) -> list[ContextConflict]:
        """What the steps of the run wrote that could not be merged; those that are `open` wait for `resolve`."""
        self._client.reader.state(self.id)
        return self._client.contexts.conflicts(self.id)

    def resolve(self, conflict_id: str, choice: str | None = None, *, value: Any = ABSENT) -> ContextConflict:
        """Decide an open conflict: for the side `ours`, `theirs` or `base`, or for a value at its place. With the last
        open one the run goes on. Raises NotFound, InvalidValue, RunStateError."""
        client = self._client
        return decisions.resolve(
            client.app, client._ledger, client.contexts, self.id, conflict_id, choice, value=value
        )

    def artifacts(self) -> dict[str, bytes]:
        """`<step>/<name>` -> content of every file that the steps kept."""
        return self._client.reader.files(self.id)

    def logs(self, step: str, attempt: int | None = None) -> list[LogLine]:
        """What the attempts of a step logged, oldest first."""
        return self._client.reader.logs(self.id, step, attempt)

    def events(self, after: str = "0", *, follow: bool = True) -> Iterator[Event]:
        """Changes of the run, from the one behind `after` on; with `follow` until the run has ended."""
        _refuse_in_event_loop()
        client = connect_blocking(self._client.store_url)
        name = keys.run_key(self.id, "events")
        try:
            self._client.reader.state(self.id)
            while True:
                with guarded():
                    reply = cast(
                        Any, client.xread({name: after}, count=EVENTS_AT_ONCE, block=BLOCK_MS if follow else None)
                    )
                for event in parse_events(reply[0][1] if reply else ()):
                    after = event.id
                    yield event
                    if event.type == "run" and event.state in FINAL_RUN_STATES:
                        return
                if not reply and (not follow or self._client.reader.state(self.id) in FINAL_RUN_STATES):
                    return
        finally:
            client.close()

    def cancel(self, reason: str = "") -> RunState:
        """Cancel the run. Raises RunStateError when it has ended."""
        return self._client.cancel(self.id, reason)


class AsyncClient:
    """The same for asyncio: nothing blocks the event loop. Writes and one-off reads go through a thread; waiting
    and following do not hold one."""

    def __init__(self, store_url: str | None = None, *, broker_url: str | None = None) -> None:
        self.sync = Client(store_url, broker_url=broker_url)
        self._redis = connect_async(self.sync.store_url)

    async def _in_thread(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await asyncio.to_thread(call, *args, **kwargs)

    async def submit(
        self, workflow: Any, inputs: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> AsyncRunHandle:
        """As `Client.submit`."""
        handle = await self._in_thread(self.sync.submit, workflow, inputs, idempotency_key=idempotency_key)
        return AsyncRunHandle(self, handle)

    async def get(self, run_id: str) -> AsyncRunHandle:
        """As `Client.get`."""
        return AsyncRunHandle(self, await self._in_thread(self.sync.get, run_id))

    async def list(self, *, state: str | None = None, workflow: str | None = None, limit: int = 50) -> list[RunSummary]:
        """As `Client.list`."""
        return await self._in_thread(self.sync.list, state=state, workflow=workflow, limit=limit)

    async def close(self) -> None:
        """Release all connections."""
        await self._redis.aclose()
        await self._in_thread(self.sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncRunHandle:
    """One run, for asyncio."""

    def __init__(self, client: AsyncClient, handle: RunHandle) -> None:
        self._client = client
        self._handle = handle
        self.id = handle.id

    async def status(self) -> RunStatus:
        """As `RunHandle.status`."""
        return await asyncio.to_thread(self._handle.status)

    async def result(self) -> dict[str, Any]:
        """As `RunHandle.result`."""
        return await asyncio.to_thread(self._handle.result)

    async def context(self, version: int | str | None = None) -> dict[str, Any]:
        """As `RunHandle.context`."""
        return await asyncio.to_thread(self._handle.context, version)

    async def history(self, limit: int = 100) -> list[Version]:
        """As `RunHandle.history`."""
        return await asyncio.to_thread(self._handle.history, limit)

    async def diff(self, a: int | str, b: int | str) -> list[Difference]:
        """As `RunHandle.diff`."""
        return await asyncio.to_thread(self._handle.diff, a, b)

    async def restore(self, version: int | str) -> int:
        """As `RunHandle.restore`."""
        return await asyncio.to_thread(self._handle.restore, version)

    async def conflicts(self) -> list[ContextConflict]:
        """As `RunHandle.conflicts`."""
        return await asyncio.to_thread(self._handle.conflicts)

    async def resolve(self, conflict_id: str, choice: str | None = None, *, value: Any = ABSENT) -> ContextConflict:
        """As `RunHandle.resolve`."""
        return await asyncio.to_thread(self._handle.resolve, conflict_id, choice, value=value)

    async def artifacts(self) -> dict[str, bytes]:
        """As `RunHandle.artifacts`."""
        return await asyncio.to_thread(self._handle.artifacts)

    async def logs(self, step: str, attempt: int | None = None) -> list[LogLine]:
        """As `RunHandle.logs`."""
        return await asyncio.to_thread(self._handle.logs, step, attempt)

    async def cancel(self, reason: str = "") -> RunState:
        """As `RunHandle.cancel`."""
        return await asyncio.to_thread(self._handle.cancel, reason)

    async def wait(self, timeout: float | None = None) -> RunStatus:  # noqa: ASYNC109 - as the blocking one
        """As `RunHandle.wait`."""
        try:
            async with asyncio.timeout(timeout):
                while not await self._ended():
                    pass
        except TimeoutError as error:
            raise WaitTimeout(f"run {self.id} has not ended within {timeout:g} s") from error
        return await self.status()

    async def _ended(self) -> bool:
        with guarded():
            entry = await self._client._redis.xread({keys.run_key(self.id, "end"): "0"}, count=1, block=BLOCK_MS)
        return bool(entry) or (await self.status()).ended

    async def events(self, after: str = "0", *, follow: bool = True) -> AsyncIterator[Event]:
        """As `RunHandle.events`."""
        name = keys.run_key(self.id, "events")
        while True:
            with guarded():
                reply: Any = await self._client._redis.xread(
                    {name: after}, count=EVENTS_AT_ONCE, block=BLOCK_MS if follow else None
                )
            for event in parse_events(reply[0][1] if reply else ()):
                after = event.id
                yield event
                if event.type == "run" and event.state in FINAL_RUN_STATES:
                    return
            if not reply and (not follow or (await self.status()).ended):
                return


def _refuse_in_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise OrchestratorError("this call would block the running event loop; use orchestrator.AsyncClient here")
